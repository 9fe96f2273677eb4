//! Escapes foreign text for a terminal, and quotes it for a shell.
//!
//! Guests write their consoles, domains can have any name, and records can be forged. Text from there may contain
//! terminal control sequences.

use std::borrow::Cow;
use std::io::{self, ErrorKind};

/// Escapes a foreign value for output within one line. Control characters, line breaks and invisible characters are
/// replaced by escapes (`\n`, `\u{202e}`); nothing is removed. So two names that look alike are shown as different, and
/// no value can start a new line. Escaping an escaped text again does not change it.
pub fn escape_unseen(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut before = None;
    for c in value.chars() {
        if is_unseen(c) && !is_emoji_style(before, c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        before = Some(c);
    }
    out
}

/// Whether a character is a variation selector (U+FE0E, U+FE0F) after a symbol. Such a selector has a visible effect.
fn is_emoji_style(before: Option<char>, c: char) -> bool {
    let is_sign = |c: char| !c.is_ascii() && !c.is_alphanumeric() && !is_unseen(c);
    matches!(c, '\u{fe0e}' | '\u{fe0f}') && before.is_some_and(is_sign)
}

/// Escapes a text of several lines. Its values are already escaped ([`escape_unseen`]); this catches those that were
/// forgotten, and keeps line breaks.
pub fn escape_unseen_lines(text: &str) -> String {
    text.split('\n').map(escape_unseen).collect::<Vec<_>>().join("\n")
}

/// Describes an error of the operating system in the words that all messages use. Its own text would include an error
/// number.
pub fn describe_io_error(error: &io::Error) -> String {
    let text = error.to_string();
    // An error with its own text is more specific than its kind.
    if error.get_ref().is_some() {
        return text;
    }
    match error.kind() {
        ErrorKind::NotFound => "no such file".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => text.split(" (os error ").next().unwrap_or_default().to_owned(),
    }
}

/// Removes terminal control sequences (ECMA-48) from a line of a guest's console, and replaces tabs by spaces. All
/// other invisible characters are escaped.
pub fn strip_terminal_sequences(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.trim_end_matches('\r').chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    escape_unseen(&out)
}

/// Whether a character is invisible or misleading: control characters (C0, DEL, C1), white space except the plain
/// space, line and paragraph separators, characters that change the direction of writing (UAX #9), characters without
/// width (Unicode's `Default_Ignorable_Code_Point`), annotations, tags and non-characters (U+FFFE, U+FFFF).
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || matches!(c, '\u{fdd0}'..='\u{fdef}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}')
        || matches!(c, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Escapes invisible characters in JSON with JSON's own escapes (RFC 8259, section 7). The parsed value stays the same.
pub fn escape_unseen_in_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // A raw line break occurs only between strings: within them, JSON escapes it.
        if is_unseen(c) && c != '\n' {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// Quotes a word for a shell if it contains special characters. If it contains invisible ones, it is written with
/// escapes, as `$'…'` of bash and zsh.
pub fn quote_for_shell(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && !word.starts_with('-') && word.chars().all(plain) {
        return Cow::Borrowed(word);
    }
    if word.chars().any(is_unseen) {
        return Cow::Owned(format!("$'{}'", word.chars().map(ansi_c).collect::<String>()));
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Escapes one character for `$'…'`.
fn ansi_c(c: char) -> String {
    match c {
        '\\' | '\'' => format!("\\{c}"),
        c if is_unseen(c) && u32::from(c) < 0x80 => format!("\\x{:02x}", u32::from(c)),
        c if is_unseen(c) => format!("\\U{:08x}", u32::from(c)),
        c => c.into(),
    }
}

/// Wraps the words of a text into lines of at most `columns` bytes.
pub fn wrap_words(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= columns) {
            Some(line) => *line = format!("{line} {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Skips the rest after an ESC: a control sequence, a control string or one character.
fn skip_sequence(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => skip_csi(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        _ => {}
    }
}

/// Skips a control string. OSC, DCS, SOS, PM and APC end with ST (ESC \), or in xterm with BEL.
fn skip_string(chars: &mut std::str::Chars<'_>) {
    if chars.by_ref().find(|c| matches!(c, '\u{7}' | '\u{1b}' | '\u{9c}')) == Some('\u{1b}') {
        chars.next();
    }
}

/// Skips a control sequence, which ends with a character from @ to ~.
fn skip_csi(chars: &mut std::str::Chars<'_>) {
    chars.by_ref().find(|c| ('@'..='~').contains(c));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_removed_from_lines() {
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}[01;01H[  OK  ] done\r", "[  OK  ] done"),
            ("\u{1b}", ""),
            ("\u{1b}[31", ""),
            ("a\u{9b}31mb", "ab"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]8;;http://x\u{1b}\\b", "ab"),
            ("a\u{202e}b\tc\u{8}", "a\\u{202e}b c\\u{8}"),
            ("täst ✓", "täst ✓"),
        ] {
            assert_eq!(strip_terminal_sequences(text), shown, "{text:?}");
        }
    }

    #[test]
    fn invisible_characters_are_escaped() {
        for (value, shown) in [
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}[31m\u{9b}1m\u{7f}", r"\u{1b}[31m\u{9b}1m\u{7f}"),
            ("t1\u{202e}\u{2066}\u{200e}\u{61c}", r"t1\u{202e}\u{2066}\u{200e}\u{61c}"),
            (
                "\u{200b}\u{200d}\u{feff}\u{2060}\u{2028}\u{e0041}",
                r"\u{200b}\u{200d}\u{feff}\u{2060}\u{2028}\u{e0041}",
            ),
            ("täst ✓ 名前 🖥️ e\u{301} it's \\ \"", "täst ✓ 名前 🖥️ e\u{301} it's \\ \""),
            ("a\u{a0}b\u{3000}c\u{fe0f}", r"a\u{a0}b\u{3000}c\u{fe0f}"),
        ] {
            assert_eq!(escape_unseen(value), shown, "{value:?}");
            assert_eq!(escape_unseen(shown), shown, "it was done already");
        }
        assert_eq!(escape_unseen_lines("a\u{1b}[1m\n\tb\n"), "a\\u{1b}[1m\n\\tb\n");
    }

    #[test]
    fn escaped_json_parses_to_the_same_value() {
        let value = serde_json::json!({"a\u{202e}": "\u{9b}31m\u{e0041}\n ✓"});
        let text = escape_unseen_in_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains(r"\u202e") && text.contains(r"\u009b") && text.contains('✓'), "{text}");
        assert!(!text.contains(|c| is_unseen(c) && c != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        for (word, quoted) in [
            ("web-1_x.qcow2", "web-1_x.qcow2"),
            ("my vm", "'my vm'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("-rf", "'-rf'"),
            ("t1\u{202e}'\n", r"$'t1\U0000202e\'\x0a'"),
        ] {
            assert_eq!(quote_for_shell(word), quoted);
        }
    }
}
