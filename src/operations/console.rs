//! The log of a VM's serial console, on the host.

use super::session::is_session;
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::text::{io_cause, printable};

/// Where the console of a VM is logged: in libvirt's own log directory, where virtlogd may write
/// (its page "Drivers", QEMU). `None` where that directory cannot be known.
pub fn log_path(uri: &str, vm: &str) -> Option<String> {
    let directory = if !is_session(uri) {
        "/var/log/libvirt/qemu".to_owned()
    } else {
        let cache = std::env::var("XDG_CACHE_HOME").ok().filter(|d| !d.is_empty());
        let cache = cache.or_else(|| std::env::var("HOME").ok().map(|home| format!("{home}/.cache")))?;
        format!("{cache}/libvirt/qemu/log")
    };
    Some(format!("{directory}/{vm}-console.log"))
}

/// Makes the directory of the log where it is this user's own: a session's libvirtd does not make it before
/// its first VM starts, and then cannot open the log in it.
pub(super) fn prepare(host: &dyn Host, path: &str) -> Result<(), Error> {
    if !(host.is_local() && is_session(host.uri())) {
        return Ok(());
    }
    let directory = std::path::Path::new(path).parent().unwrap_or(std::path::Path::new("/"));
    std::fs::create_dir_all(directory).map_err(|e| {
        Error::new(Kind::Vm, format!("cannot make {}", directory.display())).because(io_cause(&e))
    })
}

/// The last lines of a console log, without the escape sequences of a terminal. Empty where the log
/// cannot be read from here.
pub fn tail(host: &dyn Host, path: Option<&str>, lines: usize) -> Vec<String> {
    let text = read(host, path).unwrap_or_default();
    let mut last: Vec<String> =
        text.lines().map(printable).filter(|line| !line.trim().is_empty()).rev().take(lines).collect();
    last.reverse();
    last
}

/// The whole log, if it can be read from here.
pub fn read(host: &dyn Host, path: Option<&str>) -> Option<String> {
    let path = path.filter(|_| host.is_local())?;
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Removes the log and what virtlogd rotated out of it. Says what is left where that cannot be done from here.
pub fn remove(host: &dyn Host, path: &str) -> Result<(), String> {
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

/// Whether there was such a file.
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
    use crate::host::memory::MemoryHost;

    #[test]
    fn what_virtlogd_rotated_goes_too_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for name in ["web-console.log", "web-console.log.0", "web-console.log.1", "web-console.log.old"] {
            std::fs::write(file(name), "text\n").unwrap();
        }
        let log = file("web-console.log").display().to_string();
        let elsewhere = remove(&MemoryHost::new(), &log).unwrap_err();
        assert!(elsewhere.contains(&log) && file("web-console.log.0").exists());
        remove(&MemoryHost::new().local(), &log).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["web-console.log.old"]);
        remove(&MemoryHost::new().local(), &log).unwrap();
    }

    #[test]
    fn the_log_is_in_libvirts_own_directory() {
        assert_eq!(
            log_path("qemu:///system", "web").as_deref(),
            Some("/var/log/libvirt/qemu/web-console.log")
        );
    }
}
