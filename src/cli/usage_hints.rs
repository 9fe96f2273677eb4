//! Suggestions for a command line that clap rejects.
//!
//! A verb of another tool is answered with the line to type. A misspelled verb is answered with the nearest command, but
//! a command that deletes something is suggested only for a near miss.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use strsim::osa_distance;

use crate::words::hints::{DESTROY_ALL, get_vm};
use crate::words::other_tools::{COMMANDS_BY_SUBVERB, COMMANDS_BY_VERB};
use foundry_core::text::quote_for_shell;

/// Commands that delete something. They are suggested only if the typed word differs in one letter.
const DESTRUCTIVE: &[&str] = &["destroy", "delete", "rm", "gc", "prune", "detach", "eject", "uninstall"];

/// The goals of `create --wait`, which users of kubectl separate with a space.
const GOALS: &[&str] = &["ssh", "ip", "agent", "cloud-init"];

/// Resource kinds, which users of kubectl type between verb and name.
pub(super) const KINDS: &[&str] = &["vm", "vms", "virtualmachine", "virtualmachines", "domain", "domains"];

/// Turns `--wait ssh` into `--wait=ssh`, unless a file has that name. The goal is optional, so clap would take the word
/// for one more manifest.
pub(super) fn join_wait_goal(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
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

/// Replaces the similar commands that clap suggests by what to type instead.
pub(super) fn suggest_commands(usage: &mut clap::Error, command: &clap::Command, arguments: &[OsString]) {
    let commands = match usage.kind() {
        ErrorKind::InvalidSubcommand => commands_for_verb(usage, command, arguments),
        ErrorKind::UnknownArgument => commands_for_argument(usage, arguments),
        _ => return,
    };
    if usage.kind() == ErrorKind::InvalidSubcommand {
        usage.remove(ContextKind::SuggestedSubcommand);
        usage.remove(ContextKind::Suggested);
    }
    if !commands.is_empty() {
        usage.remove(ContextKind::SuggestedArg);
        let tips = commands.into_iter().map(StyledStr::from).collect();
        usage.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
}

fn commands_for_verb(usage: &clap::Error, command: &clap::Command, arguments: &[OsString]) -> Vec<String> {
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
        None => COMMANDS_BY_VERB
            .iter()
            .find(|(verbs, _)| verbs.contains(&lowered.as_str()))
            .map(|(_, commands)| *commands),
        Some(group) => COMMANDS_BY_SUBVERB
            .iter()
            .find(|(of, verbs, _)| *of == group.get_name() && verbs.contains(&lowered.as_str()))
            .map(|(_, _, commands)| *commands),
    };
    match known {
        Some(commands) => commands.iter().map(|command| insert_vm_name(command, name)).collect(),
        None => suggest_similar(&lowered, within.unwrap_or(command)).into_iter().collect(),
    }
}

fn insert_vm_name(command: &str, name: Option<&str>) -> String {
    command.replace("{vm}", &name.map_or_else(|| "VM".into(), quote_for_shell))
}

/// Suggests the command whose name is most similar to the word, if any is similar enough.
fn suggest_similar(word: &str, command: &clap::Command) -> Option<String> {
    let names = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_visible_aliases()));
    let find_nearest =
        names.map(|name| (osa_distance(word, name), name)).min_by_key(|(distance, _)| *distance);
    let (distance, name) = find_nearest?;
    let max_distance = if DESTRUCTIVE.contains(&name) { 1 } else { 2 };
    // In a short word, two different letters make another word.
    (distance <= max_distance && distance * 3 <= name.len()).then(|| format!("did you mean '{name}'?"))
}

fn commands_for_argument(usage: &clap::Error, arguments: &[OsString]) -> Vec<String> {
    let Some(ContextValue::String(argument)) = usage.get(ContextKind::InvalidArg) else { return Vec::new() };
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    let verb = words.find(|word| !word.starts_with('-')).unwrap_or_default();
    match (verb, argument.as_str()) {
        ("get" | "describe", name) if !name.starts_with('-') => {
            vec![get_vm(name)]
        }
        ("destroy" | "delete" | "rm", "--all" | "-a") => vec![DESTROY_ALL.into()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_goal_after_space_is_joined() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (typed, meant) in [
            ("create a.yaml --wait ssh", "create a.yaml --wait=ssh"),
            ("create --wait cloud-init a.yaml", "create --wait=cloud-init a.yaml"),
            ("create --wait a.yaml", "create --wait a.yaml"),
            ("create --wait=ip ssh", "create --wait=ip ssh"),
        ] {
            assert_eq!(join_wait_goal(words(typed).into_iter()), words(meant), "{typed}");
        }
    }

    /// Each verb is listed once, and no command of foundry is listed as a verb.
    #[test]
    fn verbs_are_unique_and_foreign() {
        let command = crate::command();
        let mut seen = std::collections::BTreeSet::new();
        for verb in COMMANDS_BY_VERB.iter().flat_map(|(verbs, _)| *verbs) {
            assert!(seen.insert(verb), "{verb} is listed twice");
            assert!(command.find_subcommand(verb).is_none(), "{verb} is a command");
        }
    }

    /// Each suggested command can be typed.
    #[test]
    fn suggested_commands_parse() {
        let suggested = COMMANDS_BY_VERB
            .iter()
            .flat_map(|(_, commands)| *commands)
            .chain(COMMANDS_BY_SUBVERB.iter().flat_map(|(_, _, commands)| *commands));
        let mut tried = 0;
        for command in suggested.filter_map(|command| command.strip_prefix("foundry ")) {
            let line = command
                .split(" # ")
                .next()
                .unwrap_or_default()
                .split(&['|', '>'][..])
                .next()
                .unwrap_or_default();
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
