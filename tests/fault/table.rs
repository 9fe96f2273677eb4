//! Which faults are run at which calls, and the table of what came of them.

use std::collections::BTreeMap;

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

/// For the process outside to read.
pub(crate) fn tell(verdict: &Verdict) {
    println!("{MARK}{}", serde_json::to_string(verdict).unwrap());
}

/// What a worker's line says, if it is a verdict.
pub(crate) fn told(line: &str) -> Option<Verdict> {
    serde_json::from_str(line.split_once(MARK)?.1).ok()
}

/// Calls that change something.
const CHANGING: [&str; 22] = [
    "virDomainDefineXMLFlags",
    "virDomainSetMetadata",
    "virDomainSetAutostart",
    "virDomainCreate",
    "virDomainDestroy",
    "virDomainShutdown",
    "virDomainUndefineFlags",
    "virDomainAttachDeviceFlags",
    "virDomainDetachDeviceFlags",
    "virDomainBlockResize",
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
/// Of the others, a sample takes one of so many.
const STRIDE: usize = 11;

/// The runs for a command that makes these calls: all of them, or the same sample in every run.
pub(crate) fn chosen(calls: &[String], full: bool) -> Vec<(usize, Fault)> {
    let all =
        (1..).zip(calls).flat_map(|(n, call)| Fault::ALL.into_iter().map(move |fault| (n, call, fault)));
    if full {
        return all.map(|(n, _, fault)| (n, fault)).collect();
    }
    let mut chosen = Vec::new();
    let mut kinds = Fault::ALL.into_iter().cycle();
    for (n, call) in (1..).zip(calls) {
        if CHANGING.contains(&call.as_str()) || n % STRIDE == 0 {
            chosen.extend(kinds.next().map(|fault| (n, fault)));
        }
    }
    chosen
}

/// The table: a line for each command and fault.
pub(crate) fn table(verdicts: &[Verdict]) -> String {
    let mut rows: BTreeMap<(usize, usize), (String, String, BTreeMap<Class, usize>)> = BTreeMap::new();
    let order = |names: &[String], name: &str| names.iter().position(|n| n == name).unwrap_or(names.len());
    let commands: Vec<String> = super::commands::all().iter().map(|c| c.name.to_owned()).collect();
    let faults: Vec<String> = Fault::ALL.iter().map(|f| f.name().to_owned()).collect();
    for v in verdicts {
        let key = (order(&commands, &v.command), order(&faults, &v.fault));
        let row = rows.entry(key).or_insert_with(|| (v.command.clone(), v.fault.clone(), BTreeMap::new()));
        *row.2.entry(v.class).or_default() += 1;
    }
    let mut text = format!(
        "{:<24} {:<22} {:>5}   {:>8} {:>8} {:>10} {:>6} {:>5}\n",
        "command", "fault", "calls", "survived", "at once", "by command", "leaked", "lost"
    );
    for (command, fault, counts) in rows.values() {
        text.push_str(&line(command, fault, counts));
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
