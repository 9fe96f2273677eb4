//! Lists the processes that have a file open.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::accounts::Accounts;
use super::log_position::read_tail;
use super::process_status::process_name;
use crate::diagnosis::Holder;
use foundry_core::text::escape_unseen;

/// The most descriptors that are looked at; a busy host has some ten thousand open files.
const MOST_ENTRIES: usize = 200_000;
/// The most processes that are named.
const MOST_HOLDERS: usize = 4;

/// The processes that have a file open, as far as this user may see, writers first. The names of descriptors say so: no
/// access to the file is needed, so a dead file server does not block this.
/// `pid_files` is the directory in which libvirt writes the process ids of its guests.
pub fn find_holders(root: &Path, path: &str, pid_files: Option<&Path>) -> Vec<Holder> {
    let real = fs::canonicalize(root.join(path.trim_start_matches('/')));
    let Ok(real) = real else { return Vec::new() };
    let accounts = Accounts::load(root);
    let pid_files = pid_files.map(|path| root.join(path.strip_prefix("/").unwrap_or(path)));
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
            let vm = vm_of(&process)
                .filter(|vm| pid_files.as_ref().is_some_and(|files| is_libvirt_guest(files, vm, pid)));
            Some(Holder { pid, name: process_name(&process), user, vm, writes })
        })
        .collect();
    // Writers first: they are the ones that block others.
    holders.sort_by_key(|holder| (!holder.writes, holder.pid));
    holders.truncate(MOST_HOLDERS);
    holders
}

/// Whether a process may write to a file that it has open; `None` if it has not.
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

/// Reads the flags of open(2), which are octal (proc_pid_fdinfo(5)).
fn is_writable(descriptor: &Path) -> bool {
    let told = fs::read_to_string(descriptor).unwrap_or_default();
    let flags = told.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 3 != 0)
}

/// Whether libvirt recorded that process as the domain's QEMU. Any process can have such a command line.
fn is_libvirt_guest(pid_files: &Path, vm: &str, pid: u32) -> bool {
    let is_name = !vm.contains('/') && !vm.starts_with('.');
    let written = read_tail(&pid_files.join(format!("{vm}.pid")), 0, 32).filter(|_| is_name);
    written.is_some_and(|text| text.trim() == pid.to_string())
}

/// The domain that QEMU's command line names: `-name guest=web,debug-threads=on`. A comma in the name is doubled.
fn vm_of(process: &Path) -> Option<String> {
    let line = fs::read_to_string(process.join("cmdline")).ok()?;
    let mut words = line.split('\0').skip_while(|word| *word != "-name").skip(1);
    let options = words.next()?.strip_prefix("guest=")?.replace(",,", "\0");
    Some(escape_unseen(&options.split(',').next()?.replace('\0', ","))).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::make_root;
    use std::os::unix::fs::symlink;

    #[test]
    fn holders_are_found_by_their_descriptors() {
        let root = make_root(&[
            ("srv/image", ""),
            ("proc/11/comm", "qemu-system-x86\n"),
            ("proc/11/cmdline", "qemu-system-x86_64\0-name\0guest=a,,b,debug-threads=on\0-S\0"),
            ("proc/11/fdinfo/3", "pos:\t0\nflags:\t02100000\n"),
            ("proc/12/comm", "qemu-nbd\n"),
            ("proc/12/fdinfo/3", "pos:\t0\nflags:\t02100002\n"),
            ("proc/13/comm", "cat\n"),
            ("proc/x/comm", ""),
            // Any process can have such a command line.
            ("proc/14/comm", "python3\n"),
            ("proc/14/cmdline", "python3\0-name\0guest=zz\0"),
            ("proc/14/fdinfo/3", "pos:\t0\nflags:\t02100000\n"),
            ("run/libvirt/qemu/a,b.pid", "11\n"),
            ("run/libvirt/qemu/zz.pid", "4711\n"),
        ]);
        let user = fs::metadata(root.path()).unwrap().uid();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), format!("mallory:x:{user}:1::/:/bin/sh\n")).unwrap();
        let holders = |path: &str| find_holders(root.path(), path, Some(Path::new("/run/libvirt/qemu")));
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
}
