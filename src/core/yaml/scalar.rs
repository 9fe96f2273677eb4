//! Scalars as they were written, and what an unquoted one means: two questions that have different answers.
//!
//! * What does *foundry* take it for, in a manifest? [`PlainValue::of`] gives the one answer.
//! * May *some* reader take it for more than a string? [`is_open`] errs on the side of yes, and so of
//!   quotes: PyYAML, which is cloud-init's reader, follows YAML 1.1, where `on` is a boolean, `1:30` is
//!   ninety and `2024-01-01` is a date (its `resolver.py`). Others follow YAML 1.2, where `0o17` and `1e3`
//!   are numbers.
//!
//! Text, to a manifest, may well be open: `yes`, `0755`.

/// A leaf: its text, and what its notation says about the text's meaning.
#[derive(Debug, Clone)]
pub struct Scalar {
    text: String,
    /// Neither quoted nor a block scalar nor `!!str`.
    plain: bool,
    /// A tag other than `!!str`.
    tag: Option<String>,
}

/// Who decides what the text of a scalar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'s> {
    /// The reader, from the text: it was written plain and is not a string to all.
    Open,
    /// Nobody: it is a string.
    String,
    /// A tag.
    Tagged(&'s str),
}

impl Scalar {
    /// A scalar that was written plain.
    pub(super) fn from_plain(text: impl Into<String>) -> Self {
        Self::from_source(text, true, None)
    }

    /// A string.
    pub fn from_string(text: impl Into<String>) -> Self {
        Self::from_source(text, false, None)
    }

    /// A scalar as it was written, with its tag unless that is `!!str`.
    pub(super) fn from_source(text: impl Into<String>, plain: bool, tag: Option<String>) -> Self {
        Self { text: text.into(), plain, tag }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its tag, if it has one that is not `!!str`.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What foundry takes it for, whatever its tag.
    pub(super) fn to_foundry(&self) -> PlainValue {
        if self.plain { PlainValue::interpret(&self.text) } else { PlainValue::Text }
    }

    /// Whether it is, as a key, the one that merges: plain and untagged.
    pub(super) fn is_merge(&self) -> bool {
        self.plain && self.tag.is_none() && self.text == "<<"
    }

    /// By what a reader tells scalars apart, together with the text: a plain word that nobody takes for
    /// anything but a string is the same as the quoted one.
    pub(super) fn meaning(&self) -> Meaning<'_> {
        match &self.tag {
            Some(tag) => Meaning::Tagged(tag),
            None if self.plain && is_open(&self.text) => Meaning::Open,
            None => Meaning::String,
        }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.meaning() == other.meaning()
    }
}

/// A plain scalar by YAML 1.2's core schema (section 10.3.2).
///
/// Two things are stricter, because other readers of the same file (PyYAML, Go's yaml) take them
/// differently: only `true` and `false` are booleans, and digits after a leading 0 are not a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PlainValue {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Whole(i64),
    /// Any other number, `.inf` and `.nan` included: a wrong value is not a wrong type.
    Real(f64),
    /// Anything else.
    Text,
}

impl PlainValue {
    /// Decides what `text` means where it is not quoted.
    pub(super) fn interpret(text: &str) -> Self {
        match text {
            null if is_null(null) => Self::Null,
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => parse_whole(text).or_else(|| parse_real(text)).unwrap_or(Self::Text),
        }
    }

    /// Whether it is a number of any kind.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Whole(_) | Self::Real(_))
    }
}

/// Whole numbers, decimal, `0x` and `0o`; one beyond 64 bits is left to [`real`] where it is decimal.
fn parse_whole(text: &str) -> Option<PlainValue> {
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(PlainValue::Whole);
    let unsigned = |digits: &str| digits.bytes().all(|b| b.is_ascii_alphanumeric());
    match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) if unsigned(digits) => radix(digits, 16),
        (_, Some(digits)) if unsigned(digits) => radix(digits, 8),
        _ if has_leading_zero(text) => None,
        _ => text.parse().ok().map(PlainValue::Whole),
    }
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, infinity and not-a-number.
fn parse_real(text: &str) -> Option<PlainValue> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
            return Some(PlainValue::Real(f64::INFINITY * sign));
        }
        ".nan" | ".NaN" | ".NAN" => return Some(PlainValue::Real(f64::NAN)),
        _ => {}
    }
    // Rust's own parser takes the same numbers and the words "inf" and "nan", which YAML does not.
    let numeric = unsigned.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let begun = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (numeric && begun && !has_leading_zero(text)).then(|| text.parse().ok().map(PlainValue::Real)).flatten()
}

fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    matches!(digits, [b'0', b'0'..=b'9', ..])
}

/// Whether an unquoted scalar with this text says "nothing" (YAML 1.1 and 1.2 agree).
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Words with a meaning of their own, compared without regard to case.
const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan"];

/// Whether an unquoted scalar with this text is open to interpretation.
pub(super) fn is_open(text: &str) -> bool {
    text.is_empty() || text == "~" || is_word(text) || is_number_like(text)
}

fn is_word(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    WORDS.iter().any(|w| unsigned.eq_ignore_ascii_case(w))
}

/// Numbers to any base, with `_`, sexagesimal ones and dates with times: they begin with a digit, after a
/// sign or a point, and hold nothing but letters, digits and a few signs.
fn is_number_like(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-' | ':' | ' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_core_schema() {
        for (text, value) in [("0", 0), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15)] {
            assert_eq!(PlainValue::interpret(text), PlainValue::Whole(value), "{text}");
        }
        for (text, value) in [("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1e3), ("-1.5E-1", -0.15)] {
            assert_eq!(PlainValue::interpret(text), PlainValue::Real(value), "{text}");
        }
        assert_eq!(PlainValue::interpret("99999999999999999999"), PlainValue::Real(1e20));
        assert_eq!(PlainValue::interpret("-.inf"), PlainValue::Real(f64::NEG_INFINITY));
        assert!(matches!(PlainValue::interpret(".nan"), PlainValue::Real(n) if n.is_nan()));
        assert_eq!(PlainValue::interpret("1e999"), PlainValue::Real(f64::INFINITY));
    }

    #[test]
    fn what_readers_disagree_on_is_text() {
        for text in ["yes", "no", "on", "off", "True", "0755", "1_000", "12:30:45", "inf", "nan", "0x", "1e"]
        {
            assert_eq!(PlainValue::interpret(text), PlainValue::Text, "{text}");
        }
        for text in ["e5", ".", "+", "-", "1.2.3", "0x-1", "0xg", "--1"] {
            assert_eq!(PlainValue::interpret(text), PlainValue::Text, "{text}");
        }
    }

    #[test]
    fn nothing_is_null_and_only_two_words_are_booleans() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(PlainValue::interpret(text), PlainValue::Null);
        }
        assert_eq!(PlainValue::interpret("true"), PlainValue::Bool(true));
        assert_eq!(PlainValue::interpret("false"), PlainValue::Bool(false));
    }

    #[test]
    fn words_and_numbers_of_both_yaml_versions_are_open() {
        for open in [
            "",
            "~",
            "null",
            "Yes",
            "OFF",
            "y",
            "N",
            "true",
            "-.inf",
            ".NaN",
            "0",
            "-1",
            "+1_000",
            "0755",
            "0o17",
            "0x1F",
            "0b11",
            "1.5",
            ".5",
            "1e3",
            "12:30:45",
            "52:54:00:12:34:56",
            "2024-01-01",
            "2001-12-14 21:59:43.10 -5",
        ] {
            assert!(is_open(open), "{open}");
        }
    }

    #[test]
    fn everything_else_is_a_string() {
        for text in [
            "web",
            "10.0.0.1/24",
            "yes please",
            "-",
            "--",
            "---",
            "...",
            "=",
            "<<",
            "a1",
            "1\t2",
            "é1",
            "nil",
        ] {
            assert!(!is_open(text), "{text}");
        }
    }
}
