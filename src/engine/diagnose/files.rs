//! Evidence from this machine's files: permissions along a path, processes with a file open, MTUs of bridges.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::following;
use foundry_core::text::escape_unseen;
use foundry_host::diagnosis::{Barrier, Holder};
use foundry_host::local::{Accounts, UnixPermissions, User, permissions_along};

/// Limit of file descriptors to look at in /proc; a busy host has some ten thousand open files.
const MOST_ENTRIES: usize = 200_000;
/// Limit of processes to name.
const MOST_HOLDERS: usize = 4;

/// Finds the first directory on the path to a file that a user may not enter; or the file itself, if libvirt does not
/// make guests' files readable. An access control list may permit more than the mode, so a path with one is not judged.
pub(super) fn find_barrier(
    root: &Path,
    path: &str,
    user: impl Fn(&Accounts) -> Option<User>,
) -> Option<Barrier> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let accounts = Accounts::load(root);
    let user = user(&accounts)?;
    let there = root.join(path.trim_start_matches('/'));
    // libvirtd may run in another mount namespace: a file that does not exist here is not judged.
    if matches!(there.symlink_metadata(), Err(e) if e.kind() == std::io::ErrorKind::NotFound) {
        return None;
    }
    let there = there.ancestors().find_map(|part| part.canonicalize().ok())?;
    let steps = permissions_along(root, &there)?;
    let is_file = there.is_file();
    let (file, directories) = if is_file { steps.split_last()? } else { (steps.last()?, steps.as_slice()) };
    let barred = |(path, rights): &(String, UnixPermissions), is_directory| {
        let may = if is_directory { user.may_pass(rights) } else { user.may_read(rights) };
        (!may && !rights.has_acl).then(|| Barrier {
            path: path.clone(),
            is_directory,
            mode: rights.mode,
            class: user.class_of(rights),
            user: accounts.name_of(user.uid),
        })
    };
    let first = directories.iter().find_map(|step| barred(step, true));
    first
        .or_else(|| (is_file && keeps_owners(&text("etc/libvirt/qemu.conf"))).then(|| barred(file, false))?)
}

/// Returns whether libvirt leaves the owners of guests' files as they are (`dynamic_ownership` in qemu.conf).
fn keeps_owners(qemu_conf: &str) -> bool {
    qemu_conf.lines().any(|line| line.split('=').map(str::trim).eq(["dynamic_ownership", "0"]))
}

/// Finds the processes that have a file open, as far as this user may see them; writers come first. Only the links in
/// /proc are read, not the file, so a network file system that hangs does no harm. `pid_files` is the directory with
/// the PID files of libvirt's guests.
pub(super) fn find_holders(root: &Path, path: &str, pid_files: &Path) -> Vec<Holder> {
    let real = fs::canonicalize(root.join(path.trim_start_matches('/')));
    let Ok(real) = real else { return Vec::new() };
    let accounts = Accounts::load(root);
    let pid_files = root.join(pid_files.strip_prefix("/").unwrap_or(pid_files));
    let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::process::id();
    let mut left = MOST_ENTRIES;
    let mut holders: Vec<Holder> = pids
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let process = root.join(format!("proc/{pid}"));
            let writes = has_open(&process, &real, &mut left)?;
            let user = fs::metadata(&process).map(|process| accounts.name_of(process.uid())).ok();
            let vm = vm_of(&process).filter(|vm| is_libvirt_guest(&pid_files, vm, pid));
            Some(Holder { pid, name: name_of(&process), user, vm, writes })
        })
        .collect();
    holders.sort_by_key(|holder| (!holder.writes, holder.pid));
    holders.truncate(MOST_HOLDERS);
    holders
}

/// Returns whether a process has a file open for writing; `None` if it has not opened it.
fn has_open(process: &Path, file: &Path, left: &mut usize) -> Option<bool> {
    let mut found = None;
    for entry in fs::read_dir(process.join("fd")).into_iter().flatten().flatten().take(*left) {
        *left -= 1;
        if fs::read_link(entry.path()).is_ok_and(|to| to == file) {
            let writes = is_writable(&process.join("fdinfo").join(entry.file_name()));
            found = Some(writes || found == Some(true));
        }
    }
    found
}

/// Reads the flags of open(2), in octal (proc_pid_fdinfo(5)).
fn is_writable(descriptor: &Path) -> bool {
    let told = fs::read_to_string(descriptor).unwrap_or_default();
    let flags = told.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 3 != 0)
}

/// The name of a process, which it can choose itself.
pub(crate) fn name_of(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    Some(escape_unseen(name.trim())).filter(|name| !name.is_empty()).unwrap_or_else(|| "a process".into())
}

/// Returns whether libvirt's PID file names this process as the domain's QEMU. Anybody can forge a command line.
fn is_libvirt_guest(pid_files: &Path, vm: &str, pid: u32) -> bool {
    let is_name = !vm.contains('/') && !vm.starts_with('.');
    let written = following::read_tail(&pid_files.join(format!("{vm}.pid")), 0, 32).filter(|_| is_name);
    written.is_some_and(|text| text.trim() == pid.to_string())
}

/// The domain name in a QEMU command line: `-name guest=web,debug-threads=on`. A comma in the name is doubled.
fn vm_of(process: &Path) -> Option<String> {
    let line = fs::read_to_string(process.join("cmdline")).ok()?;
    let mut words = line.split('\0').skip_while(|word| *word != "-name").skip(1);
    let options = words.next()?.strip_prefix("guest=")?.replace(",,", "\0");
    Some(escape_unseen(&options.split(',').next()?.replace('\0', ","))).filter(|name| !name.is_empty())
}

/// Reads the MTU of each bridge; missing bridges are left out.
pub(super) fn read_mtus(root: &Path, bridges: &[String]) -> Vec<(String, u32)> {
    let mtu = |name: &String| {
        let is_name = !name.contains('/') && !name.starts_with('.');
        let text =
            fs::read_to_string(root.join("sys/class/net").join(name).join("mtu")).ok().filter(|_| is_name)?;
        Some((name.clone(), text.trim().parse().ok()?))
    };
    bridges.iter().filter_map(mtu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn make_tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        root
    }

    fn set_mode(root: &tempfile::TempDir, path: &str, mode: u32) {
        fs::set_permissions(root.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Nobody's user, in none of the groups of these files.
    fn other_user(_: &Accounts) -> Option<User> {
        Some(User { uid: 64055, groups: BTreeSet::from([64055]) })
    }

    #[test]
    fn the_first_directory_that_a_user_may_not_pass_is_the_barrier() {
        let root = make_tree(&[
            ("srv/vms/deep/web_boot", ""),
            ("etc/passwd", "libvirt-qemu:x:64055:64055::/:/bin/false\n"),
        ]);
        for path in ["srv", "srv/vms", "srv/vms/deep"] {
            set_mode(&root, path, 0o711);
        }
        let found = |path| find_barrier(root.path(), path, other_user);
        assert_eq!(found("/srv/vms/deep/web_boot"), None);
        set_mode(&root, "srv/vms", 0o700);
        symlink("srv/vms/deep", root.path().join("link")).unwrap();
        assert_eq!(found("/srv/vms/deep/not/there"), None);
        for path in ["/srv/vms/deep/web_boot", "/link/web_boot"] {
            let barrier = found(path).unwrap();
            assert_eq!(
                (barrier.path.as_str(), barrier.user.as_str()),
                ("/srv/vms", "libvirt-qemu"),
                "{path}"
            );
            assert!(barrier.is_directory && barrier.mode & 0o777 == 0o700);
        }
        assert_eq!(find_barrier(root.path(), "/srv/vms/deep/web_boot", |_| None), None);
    }

    /// Of the group's members, what everybody else may do opens nothing.
    #[test]
    fn the_bits_that_count_for_the_user_are_named() {
        let root = make_tree(&[("srv/vms/web_boot", "")]);
        set_mode(&root, "srv", 0o755);
        set_mode(&root, "srv/vms", 0o701);
        let owner = fs::metadata(root.path().join("srv/vms")).unwrap();
        let barred = |user: User| find_barrier(root.path(), "/srv/vms/web_boot", |_| Some(user.clone()));
        let member = User { uid: owner.uid() + 1, groups: BTreeSet::from([owner.gid()]) };
        assert_eq!(barred(member).map(|found| found.class), Some('g'));
        set_mode(&root, "srv/vms", 0o710);
        assert_eq!(barred(other_user(&Accounts::default()).unwrap()).map(|found| found.class), Some('o'));
    }

    /// libvirt gives a file to QEMU's user before a start, and takes it back after one that failed.
    #[test]
    fn the_file_itself_counts_only_where_libvirt_leaves_it_as_it_is() {
        let root = make_tree(&[("srv/web_boot", ""), ("etc/libvirt/qemu.conf", "#dynamic_ownership = 0\n")]);
        set_mode(&root, "srv", 0o755);
        set_mode(&root, "srv/web_boot", 0o600);
        assert_eq!(find_barrier(root.path(), "/srv/web_boot", other_user), None);
        fs::write(root.path().join("etc/libvirt/qemu.conf"), "user = \"x\"\ndynamic_ownership = 0\n")
            .unwrap();
        let found = find_barrier(root.path(), "/srv/web_boot", other_user).unwrap();
        assert!(!found.is_directory && found.path == "/srv/web_boot", "{found:?}");
    }

    #[test]
    fn who_has_a_file_open_is_found_by_its_descriptors() {
        let root = make_tree(&[
            ("srv/image", ""),
            ("proc/11/comm", "qemu-system-x86\n"),
            ("proc/11/cmdline", "qemu-system-x86_64\0-name\0guest=a,,b,debug-threads=on\0-S\0"),
            ("proc/11/fdinfo/3", "pos:\t0\nflags:\t02100000\n"),
            ("proc/12/comm", "qemu-nbd\n"),
            ("proc/12/fdinfo/3", "pos:\t0\nflags:\t02100002\n"),
            ("proc/13/comm", "cat\n"),
            ("proc/x/comm", ""),
            // Anybody can call a program so.
            ("proc/14/comm", "python3\n"),
            ("proc/14/cmdline", "python3\0-name\0guest=zz\0"),
            ("proc/14/fdinfo/3", "pos:\t0\nflags:\t02100000\n"),
            ("run/libvirt/qemu/a,b.pid", "11\n"),
            ("run/libvirt/qemu/zz.pid", "4711\n"),
        ]);
        let user = fs::metadata(root.path()).unwrap().uid();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), format!("mallory:x:{user}:1::/:/bin/sh\n")).unwrap();
        let holders = |path: &str| find_holders(root.path(), path, Path::new("/run/libvirt/qemu"));
        for (pid, file) in
            [("11", "srv/image"), ("12", "srv/image"), ("13", "srv/other"), ("14", "srv/image")]
        {
            fs::create_dir_all(root.path().join(format!("proc/{pid}/fd"))).unwrap();
            let real = root.path().canonicalize().unwrap().join(file);
            symlink(real, root.path().join(format!("proc/{pid}/fd/3"))).unwrap();
        }
        let user = Some("mallory".to_owned());
        let writer = Holder { pid: 12, name: "qemu-nbd".into(), user: user.clone(), vm: None, writes: true };
        let name = "qemu-system-x86".into();
        let reader = Holder { pid: 11, name, user: user.clone(), vm: Some("a,b".into()), writes: false };
        let forger = Holder { pid: 14, name: "python3".into(), user, vm: None, writes: false };
        assert_eq!(holders("/srv/image"), [writer, reader, forger]);
        assert_eq!(holders("/srv/gone"), []);
    }

    #[test]
    fn mtus_are_those_of_bridges_and_of_no_other_file() {
        let root = make_tree(&[("sys/class/net/br0/mtu", "65535\n"), ("sys/class/mtu", "7\n")]);
        let names = ["br0", "br9", "../../class", ".."].map(str::to_owned);
        assert_eq!(read_mtus(root.path(), &names), [("br0".to_owned(), 65535)]);
    }
}
