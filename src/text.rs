//! Words of others in foundry's own lines: on a terminal, and in a command to be copied.
//!
//! A guest writes its console, any domain has a name, a record can be anybody's: what comes from there
//! may hold sequences that a terminal obeys.

use std::borrow::Cow;
use std::io::{self, ErrorKind};

/// One line of text without what a terminal would obey: escape sequences (ECMA-48) and control characters,
/// and the marks that turn the direction of writing, with which a line reads other than it is.
pub fn printable(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            '\t' => out.push(c),
            c if c.is_control() || turns_direction(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// As [`printable`], for a text of several lines, which stay lines.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Why the system refused something, in the words that all messages have for it: its own carry an error number.
pub fn io_cause(error: &io::Error) -> String {
    let said = error.to_string();
    // What has a text of its own says more than its sort.
    if error.get_ref().is_some() {
        return said;
    }
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => said.split(" (os error ").next().unwrap_or_default().to_owned(),
    }
}

/// A word as a shell takes it: quoted where it holds anything that a shell could act upon.
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// The words of a text in lines of at most so many columns.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= columns) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What follows an ESC: a control sequence, a control string, or one character.
fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => skip_csi(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        _ => {}
    }
}

/// OSC, DCS, SOS, PM and APC end with ST (ESC \), or as xterm has it with BEL.
fn skip_string(chars: &mut std::str::Chars<'_>) {
    if chars.by_ref().find(|c| matches!(c, '\u{7}' | '\u{1b}' | '\u{9c}')) == Some('\u{1b}') {
        chars.next();
    }
}

/// A control sequence ends with a character from @ to ~.
fn skip_csi(chars: &mut std::str::Chars<'_>) {
    chars.by_ref().find(|c| ('@'..='~').contains(c));
}

/// Unicode's bidirectional embeddings, overrides and isolates (UAX #9).
pub(crate) fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_what_a_terminal_would_obey() {
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}[01;01H[  OK  ] done\r", "[  OK  ] done"),
            ("\u{1b}", ""),
            ("\u{1b}[31", ""),
            ("a\u{9b}31mb", "ab"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]8;;http://x\u{1b}\\b", "ab"),
            ("a\u{202e}b\tc\u{8}", "ab\tc"),
            ("täst ✓", "täst ✓"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
        }
        assert_eq!(printable_lines("a\u{1b}[1m\nb\n"), "a\nb\n");
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (word, quoted) in [
            ("web-1_x.qcow2", "web-1_x.qcow2"),
            ("my vm", "'my vm'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("-rf", "'-rf'"),
        ] {
            assert_eq!(shell_word(word), quoted);
        }
    }
}
