//! Reads denials from the kernel's log, `/dev/kmsg`, and from the logs of auditd and rsyslog.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::log_position::LogPosition;
use crate::diagnosis::Denial;

/// The files of auditd and rsyslog with the kernel's messages. The log of all programs is left out, because anyone can
/// write to it.
const FILES: [&str; 2] = ["var/log/audit/audit.log", "var/log/kern.log"];
/// At most this many bytes are read from the end of a file.
const FILE_BYTES: u64 = 256 << 10;
/// The kernel's buffer holds some thousands of records.
const MOST_RECORDS: usize = 10_000;
/// Longest record that the kernel gives (its CONSOLE_EXT_LOG_MAX).
const RECORD: usize = 8192;

/// The kernel's log from some moment on. It is empty if this user may not read it.
pub struct KernelLog {
    /// `/dev/kmsg`, in which each reader has a position of its own (the kernel's Documentation/ABI/testing/dev-kmsg).
    messages: Option<File>,
    files: Vec<LogPosition>,
}

impl KernelLog {
    /// The log from now on.
    pub fn at_end(root: &Path) -> Self {
        Self {
            messages: open_messages(root),
            files: FILES.iter().map(|path| LogPosition::at_end(&root.join(path))).collect(),
        }
    }

    /// The denials since then, each once.
    pub fn read_denials(&mut self) -> Vec<Denial> {
        let mut found: Vec<Denial> = Vec::new();
        let files: Vec<String> = self.files.iter().filter_map(|mark| mark.read_since(FILE_BYTES)).collect();
        let records = self.messages.as_mut().map(read_records).unwrap_or_default();
        for denial in records
            .iter()
            .map(String::as_str)
            .chain(files.iter().flat_map(|text| text.lines()))
            .filter_map(Denial::parse_line)
        {
            if !found.iter().any(|known| known.is_same(&denial)) {
                found.push(denial);
            }
        }
        found
    }
}

fn open_messages(root: &Path) -> Option<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(root.join("dev/kmsg")).ok()?;
    file.seek(SeekFrom::End(0)).ok()?;
    Some(file)
}

/// Each read returns one record, and fails with EAGAIN after the last. EPIPE means that records were overwritten
/// meanwhile.
fn read_records(messages: &mut File) -> Vec<String> {
    let mut found = Vec::new();
    let mut record = [0_u8; RECORD];
    for _ in 0..MOST_RECORDS {
        match messages.read(&mut record) {
            Ok(length) if length > 0 => found.push(text_of(&String::from_utf8_lossy(&record[..length]))),
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            _ => break,
        }
    }
    found.retain(|record| record.contains("DENIED") || record.contains("denied"));
    found
}

/// The text of a record, after its numbers: `5,1234,4711,-;audit: …`
fn text_of(record: &str) -> String {
    record.split_once(';').map_or(record, |(_, text)| text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const DENIED: &str = "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"libvirt-x\" name=\"/srv/a\" pid=1\n";

    #[test]
    fn denials_since_the_position_are_found_in_all_logs_and_once() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/log/audit")).unwrap();
        let log = |name: &str, text: &str| {
            let path = root.path().join("var/log").join(name);
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        };
        log("kern.log", &DENIED.replace("/srv/a", "/srv/old"));
        let mut kernel = KernelLog::at_end(root.path());
        assert_eq!(kernel.read_denials(), []);
        log("kern.log", DENIED);
        log("kern.log", &format!("Nov 21 host kernel: {DENIED}"));
        // Any program can write anything there.
        log("syslog", &format!("Nov 21 host kernel: {}", DENIED.replace("/srv/a", "/srv/forged")));
        log(
            "audit/audit.log",
            "avc:  denied  { read } for name=\"b\" scontext=u:r:svirt_t:s0 tcontext=u:o:nfs_t:s0 permissive=0\n",
        );
        let files: Vec<String> = kernel.read_denials().into_iter().map(|denial| denial.file).collect();
        assert_eq!(files, ["b", "/srv/a"]);
    }

    #[test]
    fn a_machine_without_logs_has_no_denials() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(KernelLog::at_end(root.path()).read_denials(), []);
    }

    /// The real log, if this user may read it: a read returns at once if there is nothing new.
    #[test]
    fn reading_the_kernels_log_does_not_wait() {
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut kernel = KernelLog::at_end(Path::new("/"));
            ended.send([kernel.read_denials().len(), kernel.read_denials().len()]).unwrap();
        });
        // A read that waits ends with the kernel's next line, which may never come.
        let found = end.recv_timeout(std::time::Duration::from_secs(60)).expect("it does not wait");
        assert!(found.iter().all(|count| *count <= MOST_RECORDS), "{found:?}");
    }
}
