//! Markers, and the places where they might be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::deadline::CommandInTime as _;

/// No file that foundry would write by itself is larger.
const LARGEST: u64 = 64 << 20;

/// Words that are secrets of this run and of no other.
pub(crate) struct Markers {
    pub(crate) hash: String,
    pub(crate) plain: String,
    pub(crate) private: String,
}

impl Markers {
    pub(crate) fn new() -> Self {
        let word = |_| uuid::Uuid::new_v4().simple().to_string();
        let [salt, hash, plain, private] = [0, 1, 2, 3].map(word);
        let digest = format!("{hash}{hash}{hash}");
        Self { hash: format!("$6${}${}", &salt[..16], &digest[..86]), plain, private }
    }

    /// What is looked for: of the hash what no escaping changes.
    fn all(&self) -> [&str; 3] {
        [self.hash.rsplit('$').next().unwrap(), &self.plain, &self.private]
    }

    pub(crate) fn all_in(&self, bytes: &[u8]) -> bool {
        self.all().iter().all(|marker| contains(bytes, marker))
    }

    #[track_caller]
    pub(crate) fn none_in(&self, text: &str, place: &str) {
        self.none_in_bytes(text.as_bytes(), place);
    }

    #[track_caller]
    pub(crate) fn none_in_bytes(&self, bytes: &[u8], place: &str) {
        for marker in self.all() {
            assert!(!contains(bytes, marker), "{marker} is in {place}:\n{}", String::from_utf8_lossy(bytes));
        }
    }

    /// The files in some directories that were written since `stamp` was and hold a marker.
    pub(crate) fn files(&self, stamp: &Path, directories: &[&Path]) -> Vec<PathBuf> {
        let there = directories.iter().filter(|directory| directory.exists());
        let mut command = Command::new("find");
        command.args(there).args(["-type", "f", "-newer"]).arg(stamp);
        command.args(["-exec", "grep", "--files-with-matches", "--text", "--fixed-strings"]);
        command.args(self.all().iter().flat_map(|marker| ["-e", marker]));
        // Its code is grep's, which finds nothing in most of them, and files of others come and go.
        let output = command.args(["{}", "+"]).output_in_time().unwrap();
        let mut found: Vec<PathBuf> =
            String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect();
        found.sort();
        found
    }
}

fn contains(bytes: &[u8], marker: &str) -> bool {
    let first = marker.as_bytes()[0];
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        if rest[at..].starts_with(marker.as_bytes()) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

/// Command line and environment of a process and of its children.
pub(crate) fn process_texts(pid: u32) -> Vec<(String, String)> {
    let family = [vec![pid], children(pid)].concat();
    family.into_iter().flat_map(texts_of).collect()
}

/// The same of all QEMUs on the machine.
pub(crate) fn qemu_texts() -> Vec<(String, String)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_qemu = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("qemu-system"))
    };
    pids.filter(is_qemu).flat_map(texts_of).collect()
}

fn texts_of(pid: u32) -> Vec<(String, String)> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        let bytes = fs::read(&path).unwrap_or_default();
        (path, String::from_utf8_lossy(&bytes).into_owned())
    };
    vec![read("cmdline"), read("environ")]
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// What is in the files that a process and its children have open, those without a name among them, outside of
/// a directory.
pub(crate) fn open_files(pid: u32, outside: &Path) -> Vec<(String, Vec<u8>)> {
    let family = [vec![pid], children(pid)].concat();
    let open =
        family.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten());
    open.filter_map(|entry| {
        let file = fs::read_link(entry.path()).ok()?;
        let metadata = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
        let is_known = file.starts_with(outside) || metadata.len() > LARGEST;
        (!is_known).then(|| (file.display().to_string(), fs::read(entry.path()).unwrap_or_default()))
    })
    .collect()
}
