//! Writes trees as YAML text: block style, with one way to write each value.
//!
//! The target reader is PyYAML (cloud-init's), in Python and in C. It reads back the same value as from the original
//! text. A scalar that was written plain and may be more than a string is repeated unchanged. Everything else is a
//! string: plain if it cannot be misread, a `|` literal if it has several lines, otherwise double-quoted.

use std::ops::{Deref, DerefMut};

use super::node::{Mapping, Node, NodeContent};
use super::scalar::{Meaning, Scalar, is_open};
use crate::text::is_unseen;

/// The longest key that is written as `key:`. PyYAML does not accept simple keys longer than 1,024 characters.
const MAX_SIMPLE_KEY: usize = 120;

impl Node {
    /// Writes the tree as one YAML document that ends with a line break.
    pub fn to_yaml(&self) -> String {
        self.write_document(true)
    }

    /// Like [`to_yaml`](Self::to_yaml), with each string on one line, so no string can start a line.
    pub(super) fn to_lines(&self) -> String {
        self.write_document(false)
    }

    fn write_document(&self, literals: bool) -> String {
        let mut out = YamlOutput { text: String::new(), literals };
        write_block(&mut out, self, 0);
        out.text
    }
}

/// The text so far, and whether strings of several lines are written as literals.
struct YamlOutput {
    text: String,
    literals: bool,
}

impl Deref for YamlOutput {
    type Target = String;

    fn deref(&self) -> &String {
        &self.text
    }
}

impl DerefMut for YamlOutput {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.text
    }
}

/// Writes a node; its first line is already indented.
fn write_block(out: &mut YamlOutput, node: &Node, indent: usize) {
    match node.content() {
        NodeContent::Mapping(mapping) if !mapping.is_empty() => write_entries(out, mapping, indent),
        NodeContent::Sequence(items) if !items.is_empty() => write_sequence(out, items, indent),
        _ => {
            // The lines of a literal must be indented by at least one column, even at the top level.
            write_inline(out, node, indent.max(2));
            out.push('\n');
        }
    }
}

fn write_sequence(out: &mut YamlOutput, items: &[Node], indent: usize) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            write_indent(out, indent);
        }
        out.push_str("- ");
        write_block(out, item, indent + 2);
    }
}

fn write_entries(out: &mut YamlOutput, mapping: &Mapping, indent: usize) {
    for (i, (key, value)) in mapping.iter().enumerate() {
        if i > 0 {
            write_indent(out, indent);
        }
        write_key(out, key, indent);
        if is_nested(value) {
            out.push('\n');
            write_indent(out, indent + 2);
            write_block(out, value, indent + 2);
        } else {
            out.push(' ');
            write_inline(out, value, indent + 2);
            out.push('\n');
        }
    }
}

/// Writes `key:`, or `? key` and `:` if the key is long.
fn write_key(out: &mut YamlOutput, key: &Scalar, indent: usize) {
    let text = format!("{}{}", tag_prefix(key), one_line(key));
    if text.chars().count() > MAX_SIMPLE_KEY {
        out.push_str("? ");
        out.push_str(&text);
        out.push('\n');
        write_indent(out, indent);
    } else {
        out.push_str(&text);
    }
    out.push(':');
}

fn is_nested(node: &Node) -> bool {
    match node.content() {
        NodeContent::Scalar(_) => false,
        NodeContent::Sequence(items) => !items.is_empty(),
        NodeContent::Mapping(mapping) => !mapping.is_empty(),
    }
}

/// Writes a value on the line of its key or dash; `indent` is for the lines of a literal.
fn write_inline(out: &mut YamlOutput, node: &Node, indent: usize) {
    match node.content() {
        NodeContent::Sequence(_) => out.push_str("[]"),
        NodeContent::Mapping(_) => out.push_str("{}"),
        NodeContent::Scalar(scalar) => {
            out.push_str(&tag_prefix(scalar));
            if out.literals && scalar.meaning() != Meaning::Open && reads_as_literal(scalar.text()) {
                write_literal(out, scalar.text(), indent);
            } else {
                out.push_str(&one_line(scalar));
            }
        }
    }
}

fn tag_prefix(scalar: &Scalar) -> String {
    match scalar.meaning() {
        Meaning::Tagged(tag) => format!("{tag} "),
        Meaning::Open | Meaning::String => String::new(),
    }
}

fn one_line(scalar: &Scalar) -> String {
    match (scalar.meaning(), scalar.text()) {
        (Meaning::Open, "") => "null".to_owned(),
        (Meaning::Open, text) if !has_mime_marker(text) => text.to_owned(),
        (Meaning::String, text) if is_plainly_a_string(text) => text.to_owned(),
        (_, text) => double_quoted(text),
    }
}

/// Whether a string needs no quotes in any YAML version: it consists of letters, digits and harmless characters, begins
/// like a word, an address or a path, and no reader takes it for another type.
fn is_plainly_a_string(text: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./@+=,- ".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '/')
        && text.chars().all(harmless)
        && !text.ends_with(' ')
        && !is_open(text)
        && !has_mime_marker(text)
}

/// Whether a string of several lines can be written as a `|` literal that PyYAML and libyaml read alike: the first line
/// shows the indentation, and no character needs an escape.
fn reads_as_literal(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text.chars().all(|c| c == '\n' || c == '\t' || !needs_escape(c))
        && !has_mime_marker(text)
}

fn write_literal(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    let breaks = text.len() - body.len();
    out.push_str(match breaks {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            write_indent(out, indent);
            out.push_str(line);
        }
    }
    // The caller ends the last line; further breaks are empty lines.
    out.extend(std::iter::repeat_n('\n', breaks.saturating_sub(1)));
}

fn double_quoted(text: &str) -> String {
    let marked = has_mime_marker(text);
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // The same string for a YAML reader, and no marker for cloud-init.
            '-' if marked => out.push_str("\\x2d"),
            c if needs_escape(c) => out.push_str(&escape_character(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writes an escape that YAML 1.1 and 1.2 share.
fn escape_character(c: char) -> String {
    match u32::from(c) {
        code @ 0..=0xff => format!("\\x{code:02x}"),
        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// Whether a character must be escaped: control characters, line breaks of YAML 1.1 (U+0085, U+2028, U+2029),
/// characters that YAML forbids (U+FFFE, U+FFFF) and invisible ones.
fn needs_escape(c: char) -> bool {
    is_unseen(c) || matches!(c, '\u{fff0}'..='\u{ffff}')
}

/// Whether a text contains `mime-version`. cloud-init takes the whole user-data for a MIME message if `mime-version:`
/// occurs in the first 4,096 bytes (`convert_string` in its `user_data.py`), and then corrupts all non-ASCII letters.
/// This would affect a cloud-config that writes an e-mail to a file.
fn has_mime_marker(text: &str) -> bool {
    text.to_ascii_lowercase().contains("mime-version")
}

fn write_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}
