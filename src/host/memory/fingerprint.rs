//! The whole state of the host as a value that can be compared and printed.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{File, HostState, MemoryDomain, MemoryHost, PoolCell};

/// Everything on a host, one line for each thing.
///
/// It excludes what only libvirt remembers (which files it has seen, and when) and how often something was read: these
/// may change without any difference.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(BTreeSet<String>);

impl Fingerprint {
    /// The differences to a later one: removed lines with `-`, added lines with `+`.
    pub fn changes_to(&self, later: &Self) -> Vec<String> {
        let gone = self.0.difference(&later.0).map(|line| format!("- {line}"));
        gone.chain(later.0.difference(&self.0).map(|line| format!("+ {line}"))).collect()
    }

    /// The lines, sorted, one per object.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Debug for Fingerprint {
    /// One line per object, so a failed `assert_eq!` is readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl MemoryHost {
    /// The current state of the host. Faults do not affect this.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(state_lines(&self.lock_inside().state))
    }

    /// The changes since then; empty if there are none.
    pub fn changes_since(&self, before: &Fingerprint) -> Vec<String> {
        before.changes_to(&self.fingerprint())
    }
}

fn state_lines(state: &HostState) -> BTreeSet<String> {
    let machines = state.machines.iter().map(|(uuid, machine)| domain_line(*uuid, machine));
    let pools = state.pools.iter().map(|(name, pool)| pool_line(name, pool));
    let files = state.files.iter().map(|(path, file)| file_line(path, file));
    let directories = state.directories.iter().map(|path| format!("directory {path}"));
    let networks = state.networks.iter().map(|(name, on)| format!("network {name}: active {on}"));
    machines.chain(pools).chain(files).chain(directories).chain(networks).collect()
}

fn domain_line(uuid: Uuid, machine: &MemoryDomain) -> String {
    let MemoryDomain { name, definition, live, autostart, nvram, saved, why_off: _, snapshots: _ } = machine;
    let digest = |xml: &String| short_digest(xml.as_bytes());
    format!(
        "domain {name} {uuid}: {}{}, definition {}, live {}, autostart {autostart}, nvram {nvram}",
        machine.state(),
        if saved.is_some() { " (saved)" } else { "" },
        definition.as_ref().map_or_else(|| "none".into(), digest),
        live.as_ref().map_or_else(|| "none".into(), |live| digest(&live.xml)),
    )
}

fn pool_line(name: &str, pool: &PoolCell) -> String {
    let PoolCell { kind, target, source: _, active, autostart, known: _, others_seen: _ } = pool;
    format!("pool {name}: {} at {target}, active {active}, autostart {autostart}", kind.as_str())
}

fn file_line(path: &str, file: &File) -> String {
    // The real content, even if libvirt has not seen it yet.
    let mut file = file.clone();
    file.probe_file();
    let File { format, capacity, allocation, length, content, backing, mode, written: _ } = &file;
    format!(
        "file {path}: {format}, capacity {capacity}, allocation {allocation}, length {length}, \
         backing {}, mode {mode:o}, content {}",
        backing.as_deref().unwrap_or("none"),
        short_digest(content),
    )
}

/// A shortened SHA-256, enough to distinguish contents.
fn short_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
