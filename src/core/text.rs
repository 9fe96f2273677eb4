//! Escapes foreign text for a terminal, and quotes it for a command to be copied.
//!
//! A guest writes its console, any domain has a name, a record can be anybody's: what comes from there
//! may hold sequences that a terminal obeys.

use std::borrow::Cow;
use std::io::{self, ErrorKind};

/// A value of somebody else's as it is shown within a line of foundry's: what a terminal would obey, what ends a line and
/// what nobody sees is written out (`\n`, `\u{202e}`), and nothing is left out. So two names that look alike are seen to
/// be two, and no value makes a line of its own. What is written out stays as it is when this is done again.
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

/// Whether a character chooses between the text and the picture of the sign before it (U+FE0E, U+FE0F), which is seen.
fn is_emoji_style(before: Option<char>, c: char) -> bool {
    let is_sign = |c: char| !c.is_ascii() && !c.is_alphanumeric() && !is_unseen(c);
    matches!(c, '\u{fe0e}' | '\u{fe0f}') && before.is_some_and(is_sign)
}

/// Lines of foundry's own, the values in which are [`escape_unseen`] already: for what was forgotten all but the ends of
/// lines is written out.
pub fn escape_unseen_lines(text: &str) -> String {
    text.split('\n').map(escape_unseen).collect::<Vec<_>>().join("\n")
}

/// Why the system refused something, in the words that all messages have for it: its own carry an error number.
pub fn describe_io_error(error: &io::Error) -> String {
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

/// A line of what was written for a terminal, a guest's console, without the sequences that it obeys (ECMA-48) and with a
/// blank for a tab; anything else of the kind is written out.
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

/// Whether a character is not seen as what it is: control characters of ASCII and of ISO 8859 (C0, DEL, C1), blanks but
/// for the plain one, what ends lines and paragraphs, what turns the direction of writing (UAX #9), what has no width
/// (Unicode's `Default_Ignorable_Code_Point`), what annotates, tags, and what is no character (U+FFFE, U+FFFF).
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
        || matches!(c, '\u{fdd0}'..='\u{fdef}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}')
        || matches!(c, '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// JSON whose texts show everything: its own escapes (RFC 8259, section 7) in place of what a terminal would obey and
/// what nobody sees. A program reads the same.
pub fn escape_unseen_in_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // A line's end stands between the texts only: within them JSON has it escaped.
        if is_unseen(c) && c != '\n' {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// A word as a shell takes it: quoted where it holds anything that a shell could act upon, and with escapes (bash's and
/// zsh's `$'…'`) where it holds what nobody sees.
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

/// One character within `$'…'`.
fn ansi_c(c: char) -> String {
    match c {
        '\\' | '\'' => format!("\\{c}"),
        c if is_unseen(c) && u32::from(c) < 0x80 => format!("\\x{:02x}", u32::from(c)),
        c if is_unseen(c) => format!("\\U{:08x}", u32::from(c)),
        c => c.into(),
    }
}

/// The words of a text in lines of at most so many columns.
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
            ("a\u{202e}b\tc\u{8}", "a\\u{202e}b c\\u{8}"),
            ("täst ✓", "täst ✓"),
        ] {
            assert_eq!(strip_terminal_sequences(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_value_is_shown_with_all_that_nobody_would_see() {
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
    fn json_reads_the_same_and_shows_what_is_in_it() {
        let value = serde_json::json!({"a\u{202e}": "\u{9b}31m\u{e0041}\n ✓"});
        let text = escape_unseen_in_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.contains(r"\u202e") && text.contains(r"\u009b") && text.contains('✓'), "{text}");
        assert!(!text.contains(|c| is_unseen(c) && c != '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
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
            ("t1\u{202e}'\n", r"$'t1\U0000202e\'\x0a'"),
        ] {
            assert_eq!(quote_for_shell(word), quoted);
        }
    }
}
