//! Which faults are run at which calls, and the table of what came of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::judge::Class;
use super::proxy::Fault;

/// Before each line of a worker's that is a verdict.
const MARK: &str = "verdict: ";

/// What came of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) command: String,
    pub(crate) fault: String,
    pub(crate) n: usize,
    pub(crate) procedure: String,
    pub(crate) class: Class,
    pub(crate) note: String,
    /// The daemon hung afterwards and was started anew.
    pub(crate) revived: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, command, fault, n, procedure, note, .. } = self;
        writeln!(f, "{class:?}: {command}, {fault} at call {n} ({procedure})\n{note}")
    }
}

/// For the process outside to read.
pub(crate) fn tell(verdict: &Verdict) {
    println!("{MARK}{}", serde_json::to_string(verdict).unwrap());
}

/// What a worker's line says, if it is a verdict.
pub(crate) fn told(line: &str) -> Option<Verdict> {
    serde_json::from_str(line.split_once(MARK)?.1).ok()
}

/// Calls that change something.
const CHANGING: [&str; 26] = [
    "virDomainDefineXMLFlags",
    "virDomainRename",
    "virDomainSetMetadata",
    "virDomainSetAutostart",
    "virDomainCreate",
    "virDomainCreateWithFlags",
    "virDomainDestroy",
    "virDomainShutdownFlags",
    "virDomainUndefineFlags",
    "virDomainAttachDeviceFlags",
    "virDomainDetachDeviceFlags",
    "virDomainBlockResize",
    "virDomainSnapshotCreateXML",
    "virDomainSnapshotDelete",
    "virStorageVolCreateXML",
    "virStorageVolDelete",
    "virStorageVolResize",
    "virStorageVolUpload",
    "virStorageVolUpload, end of its stream",
    "virStoragePoolDefineXML",
    "virStoragePoolBuild",
    "virStoragePoolCreate",
    "virStoragePoolDestroy",
    "virStoragePoolUndefine",
    "virStoragePoolSetAutostart",
    "virStoragePoolRefresh",
];
/// As many faults does a sample take for a command.
const SAMPLE: usize = 3;

/// The runs for a command that makes these calls: all of them, or a sample, the same in every run: some of the faults,
/// each at one of the calls that change something, from the first to the last, and one at another call.
pub(crate) fn chosen(calls: &[String], full: bool) -> Vec<(usize, Fault)> {
    if full {
        return (1..=calls.len()).flat_map(|n| Fault::ALL.map(|fault| (n, fault))).collect();
    }
    let is_changing = |call: &str| CHANGING.contains(&call);
    let (changing, others): (Vec<usize>, Vec<usize>) =
        (1..=calls.len()).partition(|n| is_changing(&calls[n - 1]));
    let faults = shuffled(calls.len());
    let spread = |(index, fault)| (changing[index * (changing.len() - 1) / (SAMPLE - 1)], fault);
    let mut chosen: Vec<_> = (0..SAMPLE).zip(faults).map(spread).collect();
    chosen.push((others[others.len() * 2 / 3], faults[SAMPLE]));
    chosen
}

/// The faults in another order for each command, so that each meets every kind of call.
fn shuffled(by: usize) -> [Fault; 8] {
    let mut faults = Fault::ALL;
    faults.rotate_left(by % Fault::ALL.len());
    faults
}

/// The table: a line for each command and fault.
pub(crate) fn table(verdicts: &[Verdict]) -> String {
    let mut rows: BTreeMap<(usize, usize), BTreeMap<Class, usize>> = BTreeMap::new();
    let commands: Vec<&str> = super::commands::all().iter().map(|c| c.name).collect();
    let faults = Fault::ALL.map(Fault::name);
    let place =
        |names: &[&str], name: &str| names.iter().position(|n| *n == name).expect("it is one of them");
    for v in verdicts {
        let row = rows.entry((place(&commands, &v.command), place(&faults, &v.fault))).or_default();
        *row.entry(v.class).or_default() += 1;
    }
    let mut text = format!(
        "{:<24} {:<22} {:>5}   {:>8} {:>8} {:>10} {:>6} {:>5}\n",
        "command", "fault", "calls", "survived", "at once", "by command", "leaked", "lost"
    );
    for ((command, fault), counts) in &rows {
        text.push_str(&line(commands[*command], faults[*fault], counts));
    }
    let mut sum = BTreeMap::new();
    for verdict in verdicts {
        *sum.entry(verdict.class).or_default() += 1;
    }
    text + &line("all", "", &sum)
}

fn line(command: &str, fault: &str, counts: &BTreeMap<Class, usize>) -> String {
    let of = |class: Class| counts.get(&class).copied().unwrap_or(0);
    let all: usize = counts.values().sum();
    let [survived, at_once, by_command, leaked, lost] = Class::ALL.map(of);
    format!(
        "{command:<24} {fault:<22} {all:>5}   {survived:>8} {at_once:>8} {by_command:>10} {leaked:>6} {lost:>5}\n"
    )
}
