//! Describes what is wrong with a document, and where.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::scalar::{PlainValue, is_open};
use crate::error::Code;
use crate::names::find_nearest;
pub use crate::text::escape_unseen;

/// A position in a text. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One segment of a path into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// A field of a mapping.
    Key(String),
    /// An element of a list.
    Index(usize),
}

/// Why a document or one of its fields is wrong.
///
/// It is created without a path where reading fails. Each mapping and list around it adds its own segment on the way
/// out, so nothing has to be tracked as long as there are no errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Position; `None` until the surrounding node sets it.
    pub at: Option<Position>,
    /// Segments of the path, innermost first.
    segments: Vec<PathSegment>,
    /// What is wrong and what would be right.
    pub message: String,
    /// The broken rule; by default a wrong type.
    pub code: Code,
    /// The known field that an unknown one was probably meant to be.
    meant: Option<String>,
}

impl FieldError {
    /// Makes an error with a position and a message.
    pub fn new(at: impl Into<Option<Position>>, message: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            segments: Vec::new(),
            message: message.into(),
            code: Code::WrongType,
            meant: None,
        }
    }

    /// Sets the broken rule.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Adds the segment to the surrounding node. The position of the innermost node is kept.
    pub fn add_segment(mut self, segment: PathSegment, at: impl Into<Option<Position>>) -> Self {
        self.at = self.at.or(at.into());
        self.segments.push(segment);
        self
    }

    /// Returns the path from the document's root; empty for the root itself.
    pub fn path_text(&self) -> String {
        format_path(self.segments.iter().rev())
    }

    /// Returns the segments to the wrong field, outermost first. Segments into a list end at the list, because removing
    /// one element would renumber the others. Empty for the whole document.
    pub fn field_segments(&self) -> Vec<&PathSegment> {
        let mut segments: Vec<&PathSegment> = self.segments.iter().rev().collect();
        while segments.pop_if(|last| matches!(last, PathSegment::Index(_))).is_some() {}
        segments
    }

    /// Returns the paths of fields about which nothing more can be said: the wrong field, and the field that was meant.
    pub fn unread_fields(&self) -> Vec<String> {
        let path = format_path(self.field_segments().into_iter());
        let above = path.rsplit_once('.').map(|(above, _)| format!("{above}.")).unwrap_or_default();
        let meant = self.meant.as_ref().map(|meant| format!("{above}{meant}"));
        // A size has two names; a missing size is reported under the older one.
        let older = |path: &String| path.strip_suffix("sizeGiB").map(|above| format!("{above}sizeGB"));
        let mut paths: Vec<String> = [path].into_iter().chain(meant).collect();
        paths.extend(paths.iter().filter_map(older).collect::<Vec<_>>());
        paths
    }

    /// Makes an error for a field that is not in `known`.
    pub fn unknown_field(at: Option<Position>, field: &str, known: &[&str]) -> Self {
        // Of two names of a field, suggest the newer one, unless the older one was typed in another case.
        let fitting = |name: &&&str| !OLDER_NAMES.contains(*name) || field.eq_ignore_ascii_case(name);
        let is_word = NO_MISSPELLING.contains(&field);
        let near = find_nearest(field, known.iter().filter(fitting).copied()).filter(|_| !is_word);
        let guess = match near {
            Some(near) => did_you_mean(field, near),
            None => format!("known fields are {}", known.join(", ")),
        };
        let fault =
            Self { meant: near.map(str::to_owned), ..Self::new(at, format!("unknown field; {guess}")) };
        fault.with_code(Code::FieldUnknown).add_segment(PathSegment::Key(field.to_owned()), at)
    }
}

/// Fields that also have a newer name.
const OLDER_NAMES: &[&str] = &["sizeGB", "sshPwauth"];
/// Words that are similar to a field but mean something else: `user` is not a misspelt `userData`.
const NO_MISSPELLING: &[&str] = &["user"];

/// Formats segments as a path.
fn format_path<'a>(segments: impl Iterator<Item = &'a PathSegment>) -> String {
    segments.fold(String::new(), |path, segment| match segment {
        PathSegment::Index(index) => format!("{path}[{index}]"),
        PathSegment::Key(key) if path.is_empty() => escape_unseen(&shorten_key(key)),
        PathSegment::Key(key) => format!("{path}.{}", escape_unseen(&shorten_key(key))),
    })
}

/// Returns the question that follows an unknown word.
pub fn did_you_mean(word: &str, near: &str) -> String {
    let case = if word.eq_ignore_ascii_case(near) { " (only the case differs)" } else { "" };
    format!("did you mean '{near}'?{case}")
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(None, message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        let wanted = match wanted.to_string() {
            // serde's own name for the type.
            rust if rust == "u64" => "a whole number".to_owned(),
            words => words,
        };
        let found = hide_secret(found, &wanted);
        let hint = match found {
            Unexpected::Str(text) if wanted.contains("number") && PlainValue::interpret(text).is_number() => {
                " (write numbers without quotes)".to_owned()
            }
            Unexpected::Str(text) if wanted.contains("number") => suggest_gib(text),
            Unexpected::Unit if wanted == "text" => " (write '' for an empty text)".to_owned(),
            _ => String::new(),
        };
        Self::custom(format_args!("expected {wanted}, got {}{hint}", describe_type(found)))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(found, wanted)
    }
}

/// Hides a found text that may be a secret in the wrong place. It is quoted only if a number is expected, or if it
/// looks like a boolean.
fn hide_secret<'a>(found: Unexpected<'a>, wanted: &str) -> Unexpected<'a> {
    match found {
        Unexpected::Str(text) if !(wanted.contains("number") || is_open(text)) => Unexpected::Other("text"),
        other => other,
    }
}

/// Suggests a value for a size with a unit, as Kubernetes accepts it: the fields that end in GiB have the unit in their
/// name.
fn suggest_gib(text: &str) -> String {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = text[..text.len() - unit.len()].parse::<f64>().ok();
    let gib = number.and_then(|number| match unit.trim() {
        "Gi" | "GiB" | "G" | "GB" => Some(number),
        "Mi" | "MiB" | "M" | "MB" => Some(number / 1024.0),
        "Ti" | "TiB" | "T" | "TB" => Some(number * 1024.0),
        _ => None,
    });
    gib.map(|gib| format!(" (the unit is GiB: write {gib})")).unwrap_or_default()
}

/// Describes a found value in YAML's terms.
fn describe_type(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("the text {:?}", shorten(text)),
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// Shortens a text for a message, to 60 characters.
pub fn shorten(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Shortens a key to the part that looks like a name. If the space after a colon is missing, as in `passwordHash:$6$…`,
/// the secret becomes part of the key.
pub fn shorten_key(key: &str) -> String {
    let shown = shorten(key);
    match shown.find([':', '$', '=', ' ']) {
        Some(end) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_grows_outwards_and_keeps_innermost_position() {
        let (inner, outer) = (Position { line: 3, column: 7 }, Position { line: 1, column: 1 });
        let fault = <FieldError as de::Error>::custom("no")
            .add_segment(PathSegment::Key("ip".into()), inner)
            .add_segment(PathSegment::Index(1), outer)
            .add_segment(PathSegment::Key("networkInterfaces".into()), outer)
            .add_segment(PathSegment::Key("spec".into()), outer);
        assert_eq!(fault.path_text(), "spec.networkInterfaces[1].ip");
        assert_eq!(fault.at, Some(inner));
    }

    #[test]
    fn keys_are_escaped_in_paths() {
        let at = Position { line: 1, column: 1 };
        let fault = FieldError::new(at, "no").add_segment(PathSegment::Key("a\u{1b}[2J".into()), at);
        assert_eq!(fault.path_text(), "a\\u{1b}[2J");
        let fault = FieldError::new(at, "no").add_segment(PathSegment::Key("a\u{202e}b".into()), at);
        assert_eq!(fault.path_text(), "a\\u{202e}b");
    }

    #[test]
    fn possible_secrets_are_not_quoted() {
        let message = |text, wanted: &str| {
            <FieldError as de::Error>::invalid_type(Unexpected::Str(text), &wanted).message
        };
        assert_eq!(message("hunter2", "a mapping"), "expected a mapping, got text");
        assert_eq!(message("hunter2", "true or false"), "expected true or false, got text");
        assert_eq!(message("yes", "true or false"), "expected true or false, got the text \"yes\"");
        assert_eq!(message("two", "a number"), "expected a number, got the text \"two\"");
        assert_eq!(shorten_key("passwordHash:$6$salt"), "passwordHash…");
        assert_eq!(shorten_key("sshKeys"), "sshKeys");
    }

    #[test]
    fn long_texts_are_shortened_between_characters() {
        assert_eq!(shorten("short"), "short");
        let long = shorten(&"é".repeat(100));
        assert_eq!(long.chars().count(), 61);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn types_unknown_to_yaml_are_described() {
        assert_eq!(describe_type(Unexpected::Char('x')), "character `x`");
        assert_eq!(describe_type(Unexpected::Unsigned(3)), "the number 3");
    }
}
