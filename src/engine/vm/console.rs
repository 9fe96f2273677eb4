//! The log of a VM's serial console, on the host.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use foundry_core::error::{Error, Kind};
use foundry_core::text::{describe_io_error, strip_terminal_sequences};
use foundry_host::Host;
use foundry_host::local::{LibvirtInstance, is_session, read_tail_if};

/// The path of a VM's console log, in libvirt's log directory, where virtlogd may write (libvirt's page "Drivers",
/// QEMU). `None` if the directory is unknown.
pub fn log_path(uri: &str, vm: &str) -> Option<String> {
    let directory = LibvirtInstance::of(uri).logs()?.into_os_string().into_string().ok()?;
    Some(format!("{directory}/{vm}-console.log"))
}

/// Creates the log directory of a session. The session's libvirtd creates it only with the first VM, too late for that
/// VM's console log.
pub(crate) fn make_log_directory(host: &dyn Host, path: &str) -> Result<(), Error> {
    if !(host.is_local() && is_session(host.uri())) {
        return Ok(());
    }
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory).map_err(|e| {
        Error::new(Kind::Vm, format!("cannot make {}", directory.display())).because(describe_io_error(&e))
    })
}

/// Bytes of a console log that are read at most, because a guest can write any amount.
const MOST: u64 = 256 << 10;

/// The last lines of a VM's console log, without terminal escape sequences; empty if the log cannot be read.
pub fn last_lines(host: &dyn Host, vm: &str, path: Option<&str>, lines: usize) -> Vec<String> {
    let text = read_log(host, vm, path).unwrap_or_default();
    let mut last: Vec<String> = text
        .lines()
        .map(strip_terminal_sequences)
        .filter(|line| !line.trim().is_empty())
        .rev()
        .take(lines)
        .collect();
    last.reverse();
    last
}

/// Reads the end of a VM's log, if it is readable from here. Only a regular file is read: no link, pipe or device.
pub fn read_log(host: &dyn Host, vm: &str, path: Option<&str>) -> Option<String> {
    let path = path.filter(|_| host.is_local())?;
    read_tail_if(Path::new(path), 0, MOST, may_read_log(host, vm, path))
}

/// Decides whether a VM's console log is read.
///
/// The path is from the record, which others can write. If it is not the path that foundry would give (the VM was
/// renamed, or the cache directory is another one), the file is read only if this user owns it and no other user can
/// write it.
pub(crate) fn may_read_log(host: &dyn Host, vm: &str, path: &str) -> Box<dyn Fn(&Metadata) -> bool> {
    let is_own_path = log_path(host.uri(), vm).as_deref() == Some(path);
    let user = rustix::process::geteuid().as_raw();
    let is_own_file =
        move |file: &Metadata| file.uid() == user && file.mode() & 0o022 == 0 && file.nlink() == 1;
    Box::new(move |file| is_own_path || is_own_file(file))
}

/// The path of a VM's QEMU log (libvirt's page "Drivers", QEMU: location of configuration files). `None` if the
/// directory is unknown, or the name cannot be that of a file.
pub(crate) fn qemu_log_path(uri: &str, vm: &str) -> Option<String> {
    let is_name = !vm.is_empty() && !vm.contains('/') && !vm.starts_with('.');
    let directory =
        LibvirtInstance::of(uri).logs().filter(|_| is_name)?.into_os_string().into_string().ok()?;
    Some(format!("{directory}/{vm}.log"))
}

/// Deletes the log and its rotated backups. If that is impossible, the error names what is left.
pub fn remove_logs(host: &dyn Host, path: &str) -> Result<(), String> {
    if !host.is_local() {
        return Err(format!("the console log {path} on the host"));
    }
    remove_file(path)?;
    // virtlogd(8): PATH.0 is the newest backup, max_backups says how many there are.
    (0..)
        .map(|n| remove_file(&format!("{path}.{n}")))
        .find(|removed| *removed != Ok(true))
        .map_or(Ok(()), |r| r.map(drop))
}

/// Renames the log and its rotated backups. A log that exists under the new name is an earlier VM's, and is replaced: the
/// next start would empty it. If that is impossible, the error names what is left.
pub(crate) fn move_logs(host: &dyn Host, from: &str, to: &str) -> Result<(), String> {
    if !host.is_local() {
        return Err(format!("the console log {from} on the host"));
    }
    let moved = |end: &str| match std::fs::rename(format!("{from}{end}"), format!("{to}{end}")) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(format!("the console log {from}{end} ({e})")),
    };
    moved("")?;
    (0..).map(|n| moved(&format!(".{n}"))).find(|moved| *moved != Ok(true)).map_or(Ok(()), |r| r.map(drop))
}

/// Deletes a file and returns whether it existed.
fn remove_file(path: &str) -> Result<bool, String> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(format!("the console log {path} ({e})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foundry_host::memory::MemoryHost;

    #[test]
    fn what_virtlogd_rotated_goes_too_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["web-console.log", "web-console.log.0", "web-console.log.1", "web-console.log.old"] {
            std::fs::write(file(name), "text\n").unwrap();
        }
        let log = file("web-console.log").display().to_string();
        let elsewhere = remove_logs(&MemoryHost::new(), &log).unwrap_err();
        assert!(elsewhere.contains(&log) && file("web-console.log.0").exists());
        remove_logs(&MemoryHost::new().local(), &log).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["web-console.log.old"]);
        remove_logs(&MemoryHost::new().local(), &log).unwrap();
    }

    #[test]
    fn logs_move_with_their_backups() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["web.log", "web.log.0", "web.log.1", "db.log", "web.log.old"] {
            std::fs::write(file(name), name).unwrap();
        }
        let (from, to) = (file("web.log").display().to_string(), file("db.log").display().to_string());
        let elsewhere = move_logs(&MemoryHost::new(), &from, &to).unwrap_err();
        assert!(elsewhere.contains(&from), "{elsewhere}");
        let host = MemoryHost::new().local();
        move_logs(&host, &from, &to).unwrap();
        for (name, content) in [("db.log", "web.log"), ("db.log.0", "web.log.0"), ("db.log.1", "web.log.1")] {
            assert_eq!(std::fs::read_to_string(file(name)).unwrap(), content);
        }
        assert!(!file("web.log").exists() && file("web.log.old").exists());
        move_logs(&host, &from, &to).unwrap();
        std::fs::create_dir(file("web.log")).unwrap();
        let left = move_logs(&host, &from, &to).unwrap_err();
        assert!(left.starts_with(&format!("the console log {from} (")), "{left}");
    }

    #[test]
    fn remove_logs_names_what_it_cannot_delete() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web-console.log");
        let log = file.display().to_string();
        // unlink(2) deletes no directory, not even for root.
        std::fs::create_dir(format!("{log}.0")).unwrap();
        std::fs::write(&file, "text\n").unwrap();
        let left = remove_logs(&MemoryHost::new().local(), &log).unwrap_err();
        assert!(left.starts_with(&format!("the console log {log}.0 (")) && !file.exists(), "{left}");
        std::fs::create_dir(&file).unwrap();
        let left = remove_logs(&MemoryHost::new().local(), &log).unwrap_err();
        assert!(left.starts_with(&format!("the console log {log} (")), "{left}");
    }

    /// The path in a record may point anywhere.
    #[test]
    fn what_is_no_plain_file_of_ones_own_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let host = MemoryHost::new().local();
        std::fs::write(path("log"), "x".repeat(1 << 20)).unwrap();
        assert_eq!(read_log(&host, "web", Some(&path("log"))).unwrap().len(), 256 << 10);
        std::os::unix::fs::symlink(path("log"), path("link")).unwrap();
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), pipe, 0o600.into(), 0).unwrap();
        std::fs::write(path("shared"), "x").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(path("shared"), mode).unwrap();
        for foreign in [path("link"), path("pipe"), path("shared"), "/dev/zero".into(), path(".")] {
            assert_eq!(read_log(&host, "web", Some(&foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn the_log_is_in_libvirts_own_directory() {
        assert_eq!(
            log_path("qemu:///system", "web").as_deref(),
            Some("/var/log/libvirt/qemu/web-console.log")
        );
    }
}
