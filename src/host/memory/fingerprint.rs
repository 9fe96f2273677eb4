//! Everything on the host in one value that compares and prints.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{File, MemoryDomain, MemoryHost, PoolCell, State};

/// Everything on a host, one line for each thing.
///
/// What only libvirt keeps in its head (which files it has seen, and when) and how often somebody looked are
/// not in it: they may change without anything being different.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(BTreeSet<String>);

impl Fingerprint {
    /// What is different in a later one: lines that went with `-`, lines that came with `+`.
    pub fn changes_to(&self, later: &Self) -> Vec<String> {
        let gone = self.0.difference(&later.0).map(|line| format!("- {line}"));
        gone.chain(later.0.difference(&self.0).map(|line| format!("+ {line}"))).collect()
    }

    /// The lines, sorted.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Debug for Fingerprint {
    /// One thing a line, so that a failed `assert_eq!` can be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl MemoryHost {
    /// Everything that is on the host now; faults do not touch this look.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(state_lines(&self.lock_inside().state))
    }

    /// What is different since then; empty where the host is as it was.
    pub fn changes_since(&self, before: &Fingerprint) -> Vec<String> {
        before.changes_to(&self.fingerprint())
    }
}

fn state_lines(state: &State) -> BTreeSet<String> {
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
    // As it is, whether libvirt has noticed or not.
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

/// Enough of a SHA-256 to tell two contents apart.
fn short_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
