//! Changes one line of a configuration file. Comments, order and spelling of the rest are kept.

use std::io;
use std::path::Path;

use super::file::{self, CURRENT};
use super::{ConfigFile, ContextName, parse_config};
use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;
use foundry_core::yaml::node::Node;
use foundry_core::yaml::{Position, read_manifests};
use foundry_fetch::atomic_write::replace_text;

/// Sets the current context in a file, which is created if missing.
///
/// # Errors
/// [`foundry_core::error::Kind::Configuration`] if the file cannot be read, is invalid for [`parse_config`], cannot be
/// changed in one line, or cannot be written. Then nothing was changed.
pub fn save_current_context(path: &Path, name: &ContextName) -> Result<(), Error> {
    let unwritable = |e: &io::Error| {
        Error::new(Code::FileUnwritable, format!("cannot write {}", path.display()))
            .because(describe_io_error(e))
            .unchanged()
    };
    let before = match file::read_text(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|e| unwritable(&e))?,
    };
    let after = with_current_context(&before, name, path)?;
    replace_text(path, &after).map_err(|e| unwritable(&e))
}

/// The text of a file with another current context. `path` names it in messages.
///
/// # Errors
/// As [`save_current_context`].
pub fn with_current_context(text: &str, name: &ContextName, path: &Path) -> Result<String, Error> {
    let before = parse_config(text, path)?;
    let word = Node::from_string(name.as_str()).to_yaml();
    let after = set_key(text, word.trim_end());
    // YAML has ways to write a value that a line edit breaks, so the result is parsed and compared.
    let is_right = |after: &str| {
        parse_config(after, path).is_ok_and(|changed| differs_only_in_current(&changed, &before, name))
    };
    after.filter(|after| is_right(after)).ok_or_else(|| {
        Error::new(Code::FileUnwritable, format!("cannot change {CURRENT} in {}", path.display()))
            .because("its value is not a word on the key's line")
            .hint(format!("write '{CURRENT}: {name}' there"))
            .unchanged()
    })
}

fn differs_only_in_current(after: &ConfigFile, before: &ConfigFile, name: &ContextName) -> bool {
    after.current.as_ref().is_some_and(|current| current.text == name.as_str())
        && after.settings == before.settings
        && after.contexts == before.contexts
}

fn set_key(text: &str, word: &str) -> Option<String> {
    match key_position(text)? {
        Some(at) => replace_value(text, at, word),
        None => {
            let line_break = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            Some(format!("{text}{line_break}{CURRENT}: {word}\n"))
        }
    }
}

/// The position of the key; `None` inside if the file does not have it.
fn key_position(text: &str) -> Option<Option<Position>> {
    let documents = read_manifests(text).ok()?;
    let mapping = documents.nodes.iter().find_map(Node::as_mapping);
    let entry = mapping.and_then(|m| m.entries().iter().find(|entry| entry.key.text() == CURRENT));
    match entry {
        Some(entry) => entry.at.map(Some),
        None => Some(None),
    }
}

fn replace_value(text: &str, at: Position, word: &str) -> Option<String> {
    let start: usize = text.split_inclusive('\n').take(at.line - 1).map(str::len).sum();
    let line = text[start..].lines().next()?;
    let (key, _) = line.char_indices().nth(at.column - 1)?;
    let colon = key + line[key..].find(':')? + 1;
    let rest = line[colon..].trim_start();
    let value = line.len() - rest.len();
    let (begin, end, blank) = match scalar_length(rest)? {
        // A key without a value gets a space and the name.
        0 => (colon, colon, " "),
        length => (value, value + length, ""),
    };
    Some([&text[..start + begin], blank, word, &text[start + end..]].concat())
}

/// The length in bytes of the first scalar in the rest of a line.
fn scalar_length(rest: &str) -> Option<usize> {
    match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => Some(rest[1..].find(quote)? + 2),
        None | Some('#') => Some(0),
        Some(_) => Some(rest.find([' ', '\t', ',', '}']).unwrap_or(rest.len())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;
    use crate::words;

    fn edit_text(text: &str) -> Result<String, Error> {
        with_current_context(text, &"lab".parse().unwrap(), Path::new("c.yaml"))
    }

    #[test]
    fn only_the_word_changes() {
        for (before, after) in [
            ("", "currentContext: lab\n"),
            ("# mine\n", "# mine\ncurrentContext: lab\n"),
            ("output: wide", "output: wide\ncurrentContext: lab\n"),
            ("currentContext: old\n", "currentContext: lab\n"),
            (
                "currentContext:   old   # why\noutput: wide\n",
                "currentContext:   lab   # why\noutput: wide\n",
            ),
            (
                "currentContext: \"old\" # x\r\noutput: wide\r\n",
                "currentContext: lab # x\r\noutput: wide\r\n",
            ),
            ("currentContext: 'old'\n", "currentContext: lab\n"),
            ("'currentContext': old\n", "'currentContext': lab\n"),
            ("{currentContext: old, output: wide}\n", "{currentContext: lab, output: wide}\n"),
            ("currentContext:\noutput: wide\n", "currentContext: lab\noutput: wide\n"),
            ("currentContext: # none\n", "currentContext: lab # none\n"),
            ("output: &o wide\ncurrentContext: *o\n", "output: &o wide\ncurrentContext: lab\n"),
            ("currentContext: ~\n", "currentContext: lab\n"),
            (
                "---\ncontexts:\n  a: {connect: x}\n",
                "---\ncontexts:\n  a: {connect: x}\ncurrentContext: lab\n",
            ),
        ] {
            assert_eq!(edit_text(before).unwrap(), after, "{before:?}");
        }
    }

    #[test]
    fn what_is_no_word_on_its_line_is_left_alone() {
        for text in [
            "currentContext: >-\n  old\n",
            "currentContext:\n  old\n",
            "currentContext: &c old\ncontexts: {a: {bridge: *c}}\n",
            "{output: wide}\n",
            "output: wide\n...\n",
        ] {
            let error = edit_text(text).unwrap_err();
            assert_eq!(words::render_outcomes(&error), ["nothing was changed"], "{text:?}");
            assert_eq!(words::render_hint(&error).as_deref(), Some("write 'currentContext: lab' there"));
        }
    }

    #[test]
    fn a_name_that_yaml_takes_for_something_else_is_quoted() {
        let null = with_current_context("", &"null".parse().unwrap(), Path::new("c.yaml")).unwrap();
        assert_eq!(null, "currentContext: \"null\"\n");
    }
}
