//! Maps the verbs of virsh, kubectl, incus and terraform to commands that do the same here.
//!
//! A verb that foundry does not have is answered with the line to type, and never with a neighbour that deletes
//! something.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use strsim::osa_distance;

use foundry_core::text::quote_for_shell;

/// Verbs that foundry does not have, with what does it. `{vm}` is the name that was typed behind the verb.
const WAYS: &[(&[&str], &[&str])] = &[
    (
        &["stop", "shutdown", "halt", "poweroff", "down"],
        &["virsh shutdown {vm}   # asks the guest to shut down"],
    ),
    (&["start", "boot", "wake"], &["virsh start {vm}"]),
    (&["restart", "reboot", "reload"], &["virsh reboot {vm}   # asks the guest to start anew"]),
    (&["reset"], &["virsh reset {vm}   # as the button on the case does"]),
    (&["pause", "suspend", "freeze"], &["virsh suspend {vm}"]),
    (&["resume", "unpause", "unfreeze"], &["virsh resume {vm}"]),
    (&["save", "hibernate"], &["virsh managedsave {vm}   # puts its memory on disk and ends QEMU"]),
    (&["console", "serial", "attach", "tty"], &["virsh console {vm}   # ^] leaves it"]),
    (&["vnc", "view", "screen"], &["virsh console {vm}   # its VMs have a serial console and no screen"]),
    (
        &["ssh", "shell", "login", "enter", "connect"],
        &["foundry get {vm}   # shows the address", "ssh root@ADDRESS"],
    ),
    (&["exec"], &["foundry get {vm}   # shows the address", "ssh root@ADDRESS COMMAND"]),
    (&["cp", "copy", "scp", "push"], &["foundry get {vm}   # shows the address", "scp FILE root@ADDRESS:"]),
    (&["logs", "log"], &["foundry get {vm}   # shows where the log of its console is"]),
    (&["wait"], &["foundry create FILE --wait   # waits until SSH answers"]),
    (&["apply", "up", "run", "deploy", "define"], &["foundry create FILE --wait"]),
    (&["launch", "new", "quickstart"], &["foundry init   # writes a manifest", "foundry create FILE --wait"]),
    (
        &["plan", "validate", "check", "lint", "verify", "test"],
        &["foundry create FILE --dry-run", "foundry doctor FILE"],
    ),
    (&["diff"], &["foundry get {vm} -o yaml | diff - FILE"]),
    (
        &["edit", "set", "scale", "modify", "update", "patch"],
        &[
            "virsh edit {vm}   # changes CPUs and memory from the next start on",
            "foundry disk --help   # grows, attaches and detaches disks",
        ],
    ),
    (
        &["label", "annotate"],
        &["foundry explain metadata.labels   # a VM has the labels that its manifest gave it"],
    ),
    (&["autostart"], &["virsh autostart {vm}"]),
    (&["snapshot", "checkpoint"], &["virsh snapshot-create-as {vm} SNAPSHOT --disk-only --atomic"]),
    (
        &["restore", "revert", "rollback"],
        &["virsh snapshot-list {vm}", "virsh snapshot-revert {vm} SNAPSHOT"],
    ),
    (
        &["clone"],
        &[
            "foundry get {vm} -o yaml > NEW.yaml   # then another name and address in it",
            "foundry create NEW.yaml",
        ],
    ),
    (&["rename"], &["virsh domrename {vm} NEW   # its disks keep their names"]),
    (&["migrate"], &["virsh migrate {vm} URI"]),
    (&["adopt"], &["foundry list --all   # shows the VMs that foundry did not make, too"]),
    (
        &["undefine"],
        &[
            "virsh undefine {vm} --nvram   # forgets the VM and leaves its disks",
            "foundry destroy {vm}   # takes its disks, too",
        ],
    ),
    (&["kill"], &["virsh destroy {vm}   # pulls the plug and deletes nothing"]),
    (&["remove", "terminate", "purge"], &["foundry destroy {vm}   # deletes it with its disks"]),
    (
        &["uninstall"],
        &["foundry list --all", "foundry gc --help", "README, under Uninstall, says how all of it goes"],
    ),
    (&["vms", "ps", "domains"], &["foundry list --all"]),
    (&["info", "show", "inspect", "status", "dominfo", "domstate"], &["foundry get {vm}"]),
    (&["dumpxml"], &["virsh dumpxml {vm}", "foundry get {vm}"]),
    (&["ip", "domifaddr", "whois"], &["foundry get {vm}"]),
    (&["top", "stats"], &["virsh domstats {vm}"]),
    (&["events"], &["virsh event --all --loop", "foundry list --watch"]),
    (&["images"], &["foundry image list"]),
    (&["pull", "download", "fetch"], &["foundry image pull NAME"]),
    (&["import", "upload"], &["foundry image import FILE"]),
    (&["export"], &["foundry image export IMAGE FILE", "foundry get {vm} -o yaml"]),
    (&["disks", "volume", "volumes", "domblklist"], &["foundry disk list"]),
    (&["vol-list"], &["foundry image list", "foundry disk list"]),
    (&["pools", "pool-list", "pool-info"], &["foundry pool list"]),
    (&["network", "networks", "net", "net-list"], &["virsh net-list --all"]),
    (&["df", "usage"], &["foundry storage status"]),
    (&["prune", "cleanup", "clean"], &["foundry gc --dry-run", "foundry image prune --dry-run"]),
    (&["inventory"], &["foundry list --all -o json"]),
    (&["context", "contexts", "use-context"], &["foundry config --help"]),
    (&["version"], &["foundry --version"]),
];

/// What else a verb below a command is called.
const WAYS_BELOW: &[(&str, &[&str], &[&str])] = &[
    ("image", &["ls", "show", "get"], &["foundry image info IMAGE"]),
    ("image", &["remove", "rmi"], &["foundry image delete IMAGE"]),
    ("image", &["download", "fetch", "get"], &["foundry image pull NAME"]),
    ("image", &["add", "create", "upload"], &["foundry image import FILE"]),
    ("disk", &["add", "create"], &["foundry disk attach VM SIZE"]),
    ("disk", &["remove", "rm", "delete"], &["foundry disk detach VM DISK"]),
    ("disk", &["grow", "extend"], &["foundry disk resize VM DISK SIZE"]),
    ("pool", &["create", "define"], &["foundry pool add --help"]),
    ("pool", &["remove", "undefine"], &["foundry pool delete POOL"]),
    ("pool", &["info", "show"], &["foundry pool list -o wide"]),
    ("storage", &["list", "df", "show"], &["foundry storage status"]),
    ("seed", &["delete", "remove", "rm"], &["foundry seed eject VM"]),
    ("config", &["set-context", "set"], &["foundry config view --origin   # shows the file to edit"]),
];

/// Commands after which something is gone. None of them is guessed from a word that is not nearly its name.
const DESTRUCTIVE: &[&str] = &["destroy", "delete", "rm", "gc", "prune", "detach", "eject"];

/// Words for a goal of `create --wait`, which kubectl's users put behind a blank.
const GOALS: &[&str] = &["ssh", "ip", "agent", "cloud-init"];

/// Kinds, as kubectl's users put them between verb and name.
pub(super) const KINDS: &[&str] = &["vm", "vms", "virtualmachine", "virtualmachines", "domain", "domains"];

/// `--wait ssh` means `--wait=ssh`, unless a file has that name: the goal is optional, so clap takes the word for one
/// more manifest.
pub(super) fn join_goals(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for argument in arguments {
        match joined.last_mut() {
            Some(last) if last == "--wait" && is_goal(&argument) => {
                last.push("=");
                last.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

fn is_goal(word: &OsStr) -> bool {
    GOALS.iter().any(|goal| word == *goal) && !Path::new(word).exists()
}

/// Puts what to type into clap's error, in the place of the neighbours that it guesses.
pub(super) fn add_ways(usage: &mut clap::Error, command: &clap::Command, arguments: &[OsString]) {
    let ways = match usage.kind() {
        ErrorKind::InvalidSubcommand => ways_of_verb(usage, command, arguments),
        ErrorKind::UnknownArgument => ways_of_argument(usage, arguments),
        _ => return,
    };
    if usage.kind() == ErrorKind::InvalidSubcommand {
        usage.remove(ContextKind::SuggestedSubcommand);
        usage.remove(ContextKind::Suggested);
    }
    if !ways.is_empty() {
        usage.remove(ContextKind::SuggestedArg);
        let tips = ways.into_iter().map(StyledStr::from).collect();
        usage.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
}

fn ways_of_verb(usage: &clap::Error, command: &clap::Command, arguments: &[OsString]) -> Vec<String> {
    let Some(ContextValue::String(verb)) = usage.get(ContextKind::InvalidSubcommand) else {
        return Vec::new();
    };
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let place = words.iter().position(|word| word == verb).unwrap_or(words.len());
    let above = words.get(1..place).unwrap_or_default();
    let within = above.iter().find_map(|word| command.find_subcommand(word));
    let name =
        words.iter().skip(place + 1).copied().find(|word| !word.starts_with('-') && !KINDS.contains(word));
    let lowered = verb.to_lowercase();
    let known = match within {
        None => WAYS.iter().find(|(verbs, _)| verbs.contains(&lowered.as_str())).map(|(_, ways)| *ways),
        Some(group) => WAYS_BELOW
            .iter()
            .find(|(of, verbs, _)| *of == group.get_name() && verbs.contains(&lowered.as_str()))
            .map(|(_, _, ways)| *ways),
    };
    match known {
        Some(ways) => ways.iter().map(|way| with_name(way, name)).collect(),
        None => nearly(&lowered, within.unwrap_or(command)).into_iter().collect(),
    }
}

fn with_name(way: &str, name: Option<&str>) -> String {
    way.replace("{vm}", &name.map_or_else(|| "VM".into(), quote_for_shell))
}

/// The command whose name is nearly the word, if there is one.
fn nearly(word: &str, command: &clap::Command) -> Option<String> {
    let names = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_visible_aliases()));
    let near = names.map(|name| (osa_distance(word, name), name)).min_by_key(|(distance, _)| *distance);
    let (distance, name) = near?;
    let most = if DESTRUCTIVE.contains(&name) { 1 } else { 2 };
    // Of a short word, two other letters are another word.
    (distance <= most && distance * 3 <= name.len()).then(|| format!("did you mean '{name}'?"))
}

fn ways_of_argument(usage: &clap::Error, arguments: &[OsString]) -> Vec<String> {
    let Some(ContextValue::String(argument)) = usage.get(ContextKind::InvalidArg) else { return Vec::new() };
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    let verb = words.find(|word| !word.starts_with('-')).unwrap_or_default();
    match (verb, argument.as_str()) {
        ("get" | "describe", name) if !name.starts_with('-') => {
            vec![format!("foundry get {}", quote_for_shell(name))]
        }
        ("destroy" | "delete" | "rm", "--all" | "-a" | "-l" | "--selector") => {
            vec!["foundry destroy $(foundry list --all -l KEY=VALUE -o name)   # the names are shown before anything goes".into()]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_behind_a_blank_is_a_goal() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (typed, meant) in [
            ("create a.yaml --wait ssh", "create a.yaml --wait=ssh"),
            ("create --wait cloud-init a.yaml", "create --wait=cloud-init a.yaml"),
            ("create --wait a.yaml", "create --wait a.yaml"),
            ("create --wait=ip ssh", "create --wait=ip ssh"),
        ] {
            assert_eq!(join_goals(words(typed).into_iter()), words(meant), "{typed}");
        }
    }

    /// Each verb has one way, and none that foundry has is in the list.
    #[test]
    fn each_verb_stands_once_and_is_none_of_foundrys() {
        let command = crate::command();
        let mut seen = std::collections::BTreeSet::new();
        for verb in WAYS.iter().flat_map(|(verbs, _)| *verbs) {
            assert!(seen.insert(verb), "{verb} stands twice");
            assert!(command.find_subcommand(verb).is_none(), "{verb} is a command");
        }
    }

    /// Each suggested command can be typed.
    #[test]
    fn each_way_of_foundrys_is_a_command() {
        let told =
            WAYS.iter().flat_map(|(_, ways)| *ways).chain(WAYS_BELOW.iter().flat_map(|(_, _, ways)| *ways));
        let mut tried = 0;
        for way in told.filter_map(|way| way.strip_prefix("foundry ")) {
            let line =
                way.split(" # ").next().unwrap_or_default().split(&['|', '>'][..]).next().unwrap_or_default();
            let words = line.split_whitespace().map(|word| match word {
                "{vm}" => "web",
                "SIZE" => "1GiB",
                word => word,
            });
            let parsed = crate::command().try_get_matches_from(std::iter::once("foundry").chain(words));
            let is_shown = |error: &clap::Error| {
                matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
            };
            assert!(
                parsed.as_ref().map_or_else(is_shown, |_| true),
                "foundry {line}: {}",
                parsed.unwrap_err()
            );
            tried += 1;
        }
        assert!(tried > 30, "only {tried} were tried");
    }
}
