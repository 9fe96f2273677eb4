//! The host as somebody else sees it: through virsh and the file system, not through foundry.

use std::path::Path;

use super::ran::{Ran, program};

/// virsh on the host under test.
#[derive(Debug, Clone)]
pub(crate) struct Virsh {
    pub(super) uri: String,
}

impl Virsh {
    /// Runs virsh, whatever comes of it.
    pub(crate) fn tries(&self, arguments: &[&str]) -> Ran {
        let mut all = vec!["-q", "-c", &self.uri];
        all.extend(arguments);
        program("virsh", &all)
    }

    /// Runs virsh, which must succeed; its stdout.
    #[track_caller]
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        self.tries(arguments).exits(0).stdout
    }

    /// The names in a listing (`list`, `pool-list`, `net-list`) that begin so.
    #[track_caller]
    pub(crate) fn names(&self, listing: &str, prefix: &str) -> Vec<String> {
        beginning(&self.does(&[listing, "--all", "--name"]), prefix)
    }

    /// As [`Self::names`], for cleaning up: a panic there would hide the one that it follows.
    pub(super) fn names_if_any(&self, listing: &str, prefix: &str) -> Vec<String> {
        beginning(&self.tries(&[listing, "--all", "--name"]).stdout, prefix)
    }

    /// What virsh calls the state of a domain.
    #[track_caller]
    pub(crate) fn state(&self, domain: &str) -> String {
        self.does(&["domstate", domain]).trim().to_owned()
    }

    /// Waits until a domain is in that state; for what the hypervisor does in its own time.
    #[track_caller]
    pub(crate) fn waits_for(&self, domain: &str, state: &str) {
        for _ in 0..100 {
            if self.state(domain) == state {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{domain} is {} and not {state}", self.state(domain));
    }

    /// The description of a domain as it starts next.
    #[track_caller]
    pub(crate) fn definition(&self, domain: &str) -> String {
        self.does(&["dumpxml", "--inactive", domain])
    }

    /// Defines something by its XML, from a file as virsh wants it.
    #[track_caller]
    pub(crate) fn defines(&self, command: &str, xml: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), xml).unwrap();
        self.does(&[command, file.path().to_str().unwrap()])
    }

    /// The volumes that a pool has after another look, in order.
    #[track_caller]
    pub(crate) fn volumes(&self, pool: &str) -> Vec<String> {
        self.does(&["pool-refresh", pool]);
        let text = self.does(&["vol-list", pool]);
        let mut names: Vec<String> =
            text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
        names.sort();
        names
    }
}

fn beginning(list: &str, prefix: &str) -> Vec<String> {
    list.lines().map(str::trim).filter(|n| n.starts_with(prefix)).map(str::to_owned).collect()
}

/// Names of the files of a directory that begin so; none where there is no directory.
pub(crate) fn files_in(directory: impl AsRef<Path>, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}
