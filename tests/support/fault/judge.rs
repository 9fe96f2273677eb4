//! What came of a run, by what is on the host.

use serde::{Deserialize, Serialize};

use super::commands::{Command, Start, VMS};
use super::look::Picture;
use super::proxy::Fault;
use super::run::{Foundry, Ran};

/// What came of it, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Class {
    /// The command succeeded all the same, or what it was to do is done.
    Survived,
    /// It failed, and the host is as it was before.
    AtOnce,
    /// It failed, and the one command that foundry names brings the host to the state before or the one asked for.
    ByCommand,
    /// Something is left that nobody tells of, or that the named command leaves.
    Leaked,
    /// Something is gone or another that was none of the command's business.
    Lost,
}

impl Class {
    pub(crate) const ALL: [Self; 5] =
        [Self::Survived, Self::AtOnce, Self::ByCommand, Self::Leaked, Self::Lost];
}

/// What the host was, and what it is to be.
pub(crate) struct Case<'a> {
    pub(crate) command: &'a Command,
    pub(crate) fault: Fault,
    pub(crate) before: &'a Picture,
    pub(crate) asked: &'a Picture,
}

/// The verdict, and what speaks for a bad one.
pub(crate) fn judge(case: &Case<'_>, foundry: &Foundry, ran: &Ran, turn: usize) -> (Class, String) {
    let now = Picture::take();
    let (class, why) = classify(case, foundry, ran, &now, turn);
    match wrong_end(case.fault, ran) {
        Some(wrong) if class < Class::Leaked => (Class::Leaked, wrong),
        _ => (class, why),
    }
}

fn classify(case: &Case<'_>, foundry: &Foundry, ran: &Ran, now: &Picture, turn: usize) -> (Class, String) {
    let bystanders = case.before.bystanders();
    if now.bystanders() != bystanders {
        return (Class::Lost, bystanders.differences(&now.bystanders()));
    }
    if ran.code == 0 {
        return match now == case.asked {
            true => (Class::Survived, String::new()),
            false => (Class::Lost, format!("not as asked:\n{}", case.asked.differences(now))),
        };
    }
    let is_good = |now: &Picture| now.is_made_of(case.before, case.asked, case.command.replaces);
    if now == case.before || (now != case.asked && is_good(now) && case.command.replaces.is_none()) {
        return (Class::AtOnce, String::new());
    }
    let mut named = named_commands(case.command, foundry, ran);
    if named.is_empty() && now == case.asked {
        return (Class::Survived, String::new());
    }
    if named.is_empty() {
        named.extend(case.command.documented.map(|line| line.split(' ').map(str::to_owned).collect()));
    }
    if named.is_empty() && (case.before.is_but_for_pools(now) || is_good(now)) {
        named.push(again(case.command));
    }
    if named.is_empty() {
        let left = case.before.differences(now);
        return (Class::Leaked, format!("left, and no command named:\n{left}"));
    }
    let chosen = &named[turn % named.len()];
    finish(case, foundry, now, chosen)
}

/// Runs the command that was named; the state before and the one asked for are both good.
fn finish(case: &Case<'_>, foundry: &Foundry, left: &Picture, named: &[String]) -> (Class, String) {
    let arguments: Vec<&str> = named.iter().map(String::as_str).collect();
    let finished = match arguments.as_slice() {
        ["virsh", rest @ ..] => virsh(rest),
        _ => foundry.run("qemu:///system", &arguments, &case.command.input, None),
    };
    // `gc` completes one step of several, such as an attach; the same command again does the others.
    if case.command.arguments[0] == "apply" && named != again(case.command) {
        foundry.run("qemu:///system", &case.command.arguments, &case.command.input, None);
    }
    let now = Picture::take();
    if now.bystanders() != case.before.bystanders() {
        return (Class::Lost, case.before.bystanders().differences(&now.bystanders()));
    }
    if now.is_made_of(case.before, case.asked, case.command.replaces) {
        return (Class::ByCommand, String::new());
    }
    let why = format!(
        "left:\n{}  foundry {} ({}):\n{}\n  to the state before:\n{}  to the state asked for:\n{}",
        case.before.differences(left),
        named.join(" "),
        finished.code,
        finished.stderr,
        case.before.differences(&now),
        case.asked.differences(&now),
    );
    (Class::Leaked, why)
}

fn virsh(arguments: &[&str]) -> Ran {
    let mut virsh = std::process::Command::new("virsh");
    super::host::does(virsh.args(["-c", "qemu:///system"]).args(arguments));
    Ran { code: 0, stdout: String::new(), stderr: String::new(), hung: false }
}

/// An end that does not fit the fault.
fn wrong_end(fault: Fault, ran: &Ran) -> Option<String> {
    if ran.hung {
        return Some("it hung".to_owned());
    }
    let fits = match fault {
        Fault::Delayed => ran.code == 0,
        Fault::Refused => matches!(ran.code, 0 | 3 | 4 | 5),
        Fault::FoundryKilledBefore | Fault::FoundryKilledAfter => matches!(ran.code, 0 | 137),
        _ => matches!(ran.code, 0 | 3),
    };
    (!fits).then(|| format!("exit code {}", ran.code))
}

/// The commands that foundry names: in its error, and else in its listings, as who comes later sees them.
fn named_commands(command: &Command, foundry: &Foundry, ran: &Ran) -> Vec<Vec<String>> {
    let named = commands_in(&ran.stderr, command);
    if !named.is_empty() {
        return named;
    }
    let listed = foundry.run("qemu:///system", &["list", "--all", "-o", "json"], "", None).stdout;
    let mut named = commands_in(&listed, command);
    let makes_vm = matches!(command.start, Start::Bare | Start::Images);
    named.retain(|words| makes_vm && words.iter().any(|word| VMS.contains(&word.as_str())));
    let remains = foundry.run("qemu:///system", &["gc", "--dry-run", "-o", "json"], "", None).stdout;
    let remains: Vec<serde_json::Value> = serde_json::from_str(&remains).unwrap();
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    if remains.iter().any(|r| r["fate"] == "goes") {
        named.push(words(&["gc", "--yes"]));
    }
    let unnamed = remains.iter().filter(|r| r["fate"] == "when-named").filter_map(|r| r["name"].as_str());
    let images = unnamed.filter(|name| name.ends_with("new.qcow2") || name.ends_with("old.qcow2"));
    named.extend(images.map(|name| words(&["gc", name, "--yes"])));
    named
}

fn again(command: &Command) -> Vec<String> {
    command.arguments.iter().map(|a| (*a).to_owned()).collect()
}

/// `foundry destroy web removes it`, and its like.
fn commands_in(text: &str, command: &Command) -> Vec<Vec<String>> {
    const ENDS: [&str; 6] =
        [" removes it", " finishes it", " replaces it", " starts it", " writes it", " deletes it"];
    let mut found = Vec::new();
    if text.contains("the same command again") {
        found.push(again(command));
    }
    let text = text.replace("virsh start ", "foundry virsh start ");
    for behind in text.split("foundry ").skip(1) {
        let Some(end) = ENDS.iter().filter_map(|end| behind.find(end)).min() else { continue };
        let line = &behind[..end];
        // Which boot disk stays after a repave is a decision, and no remedy.
        if line.contains(['\n', ';', ',']) || line.contains("--accept") {
            continue;
        }
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let is_again = words.last().is_some_and(|word| word == "again");
        let words = if is_again { again(command) } else { words };
        if !found.contains(&words) {
            found.push(words);
        }
    }
    found
}
