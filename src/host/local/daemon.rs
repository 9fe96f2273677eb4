//! Checks whether the daemon at the other end of a socket runs on this machine and sees the same files as foundry.
//!
//! A socket of this machine may lead to another one (`ssh -L`, socat), or into a container: then bridges, locks, logs
//! and /proc of this machine say nothing about that host.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

const PROC: &str = "/proc";
/// libvirt's daemons, and systemd, which opens their sockets for them.
const DAEMONS: [&str; 4] = ["libvirtd", "virtqemud", "virtproxyd", "systemd"];

/// Whether the process `peer` is one of libvirt's daemons, in this mount namespace. The namespace of another user's
/// process is not shown (namespaces(7)); then `has_same_name` decides.
pub(crate) fn is_local_daemon(peer: i32, has_same_name: impl FnOnce() -> bool) -> bool {
    is_daemon_in(Path::new(PROC), peer, has_same_name)
}

fn is_daemon_in(proc: &Path, peer: i32, has_same_name: impl FnOnce() -> bool) -> bool {
    let process = proc.join(peer.to_string());
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    // The name of a wrapper contains the daemon's.
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

/// Whether libvirt's name for its host is this machine's; the domains after the first dot are not compared.
pub(crate) fn is_own_host_name(name: &str) -> bool {
    is_host_name_in(Path::new(PROC), name)
}

fn is_host_name_in(proc: &Path, name: &str) -> bool {
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
    fn a_daemon_that_sees_the_same_files_is_local() {
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
        let here = |peer| is_daemon_in(root.path(), peer, || panic!("the namespaces can be read"));
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
            assert_eq!(is_host_name_in(root.path(), name), is_own, "{name}");
        }
    }

    /// This process is real, and none of libvirt's daemons.
    #[test]
    fn a_peer_that_is_no_daemon_is_not_local() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_local_daemon(own, || true));
    }
}
