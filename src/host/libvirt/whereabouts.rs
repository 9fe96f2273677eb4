//! Whether the daemon at the other end of a socket runs on this machine, with the files that foundry sees.
//!
//! A socket of this machine may lead to another one (`ssh -L`, socat), or into a container: then bridges, locks, logs
//! and /proc of this machine say nothing of that host.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// libvirt's daemons, and systemd, which opens their sockets for them.
const DAEMONS: [&str; 4] = ["libvirtd", "virtqemud", "virtproxyd", "systemd"];

/// By the process that listens at the socket: one of libvirt's, in the same mount namespace. Those of another user are
/// not shown (namespaces(7)): then the names of the hosts have to be the same.
pub(super) fn is_here(proc: &Path, peer: i32, has_same_name: impl FnOnce() -> bool) -> bool {
    let process = proc.join(peer.to_string());
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    // A wrapper's name has it in it.
    let is_daemon = peer == 1 || DAEMONS.iter().any(|daemon| name.contains(daemon));
    if peer <= 0 || !is_daemon {
        return false;
    }
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt"));
    match (namespace(&process), namespace(&proc.join("self"))) {
        (Ok(theirs), Ok(own)) => theirs == own,
        (Err(e), _) if e.kind() == ErrorKind::PermissionDenied => has_same_name(),
        _ => false,
    }
}

/// Whether libvirt's name of its host is this machine's: with a domain behind it or without.
pub(super) fn is_own_name(proc: &Path, name: &str) -> bool {
    let own = fs::read_to_string(proc.join("sys/kernel/hostname")).unwrap_or_default();
    let first = |name: &str| name.trim().split('.').next().unwrap_or_default().to_lowercase();
    !first(name).is_empty() && first(name) == first(&own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Processes with their names and mount namespaces.
    fn proc(processes: &[(&str, &str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (pid, name, namespace) in processes {
            let process = root.path().join(pid);
            fs::create_dir_all(process.join("ns")).unwrap();
            fs::write(process.join("comm"), format!("{name}\n")).unwrap();
            symlink(format!("mnt:[{namespace}]"), process.join("ns/mnt")).unwrap();
        }
        root
    }

    #[test]
    fn a_daemon_is_here_where_it_sees_the_same_files() {
        let root = proc(&[
            ("self", "foundry", "7"),
            ("1", "init", "7"),
            ("10", "libvirtd", "7"),
            ("11", "libvirtd", "8"),
            ("12", "ssh", "7"),
            ("13", "socat", "7"),
            ("14", "virtqemud", "7"),
            ("15", ".libvirtd-wrapp", "7"),
        ]);
        let here = |peer| is_here(root.path(), peer, || panic!("the namespaces can be read"));
        let found: Vec<i32> = (0..20).filter(|peer| here(*peer)).collect();
        assert_eq!(found, [1, 10, 14, 15]);
        assert!(!here(-1));
    }

    #[test]
    fn a_host_is_known_by_the_first_part_of_its_name() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/kernel")).unwrap();
        fs::write(root.path().join("sys/kernel/hostname"), "Hv1\n").unwrap();
        for (name, is_own) in [("hv1", true), ("hv1.lan.example", true), ("hv10", false), ("", false)] {
            assert_eq!(is_own_name(root.path(), name), is_own, "{name}");
        }
    }

    /// The one real thing: this process, which is no daemon of libvirt's.
    #[test]
    fn a_stranger_behind_a_socket_is_another_machine() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_here(Path::new("/proc"), own, || true));
    }
}
