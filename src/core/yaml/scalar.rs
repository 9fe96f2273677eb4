//! Scalars as they were written, and the meaning of unquoted ones. The meaning has two different answers:
//!
//! * [`PlainValue::interpret`] gives foundry's reading, for manifests.
//! * [`is_open`] says whether *some* reader may take it for more than a string. In doubt it says yes, and the text gets
//!   quotes: PyYAML, the YAML reader of cloud-init, follows YAML 1.1, where `on` is a boolean, `1:30` is ninety and
//!   `2024-01-01` is a date (its `resolver.py`). Others follow YAML 1.2, where `0o17` and `1e3` are numbers.
//!
//! A text that is a string in a manifest may still be open, such as `yes` and `0755`.

/// A single value: its text, and what its notation says about its meaning.
#[derive(Debug, Clone)]
pub struct Scalar {
    text: String,
    /// Whether it is neither quoted nor a block scalar nor `!!str`.
    plain: bool,
    /// A tag other than `!!str`.
    tag: Option<String>,
}

/// How the meaning of a scalar is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'s> {
    /// By the reader: it was written plain, and some readers do not take it for a string.
    Open,
    /// It is a string to every reader.
    String,
    /// By its tag.
    Tagged(&'s str),
}

impl Scalar {
    /// Makes a scalar that was written plain.
    pub(super) fn from_plain(text: impl Into<String>) -> Self {
        Self::from_source(text, true, None)
    }

    /// Makes a string that every reader takes for one.
    pub fn from_string(text: impl Into<String>) -> Self {
        Self::from_source(text, false, None)
    }

    /// Makes a scalar as it was written, with its tag unless that is `!!str`.
    pub(super) fn from_source(text: impl Into<String>, plain: bool, tag: Option<String>) -> Self {
        Self { text: text.into(), plain, tag }
    }

    /// Returns the text after unfolding and escapes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns its tag, if it has one other than `!!str`.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns foundry's interpretation, whatever the tag.
    pub(super) fn to_foundry(&self) -> PlainValue {
        if self.plain { PlainValue::interpret(&self.text) } else { PlainValue::Text }
    }

    /// Whether it is the merge key: `<<`, plain and untagged.
    pub(super) fn is_merge(&self) -> bool {
        self.plain && self.tag.is_none() && self.text == "<<"
    }

    /// Returns what, together with the text, distinguishes scalars. A plain word that every reader takes for a string
    /// equals the quoted one.
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

/// The value of a plain scalar by YAML 1.2's core schema (section 10.3.2).
///
/// Two rules are stricter, because other readers of the same file (PyYAML, Go's yaml) differ: only `true` and `false`
/// are booleans, and digits after a leading 0 are not a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum PlainValue {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Whole(i64),
    /// Any other number, including `.inf` and `.nan`: they are wrong values, not wrong types.
    Real(f64),
    /// Any other text.
    Text,
}

impl PlainValue {
    /// Interprets an unquoted text.
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

/// Parses whole numbers: decimal, `0x` and `0o`. A decimal number beyond 64 bits is left to [`parse_real`].
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

/// Parses `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, infinity and not-a-number.
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
    // Rust's parser accepts the same numbers and also "inf" and "nan", which YAML does not.
    let numeric = unsigned.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let begun = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (numeric && begun && !has_leading_zero(text)).then(|| text.parse().ok().map(PlainValue::Real)).flatten()
}

fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    matches!(digits, [b'0', b'0'..=b'9', ..])
}

/// Whether an unquoted scalar with this text means null (YAML 1.1 and 1.2 agree).
fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Words with a special meaning, compared without regard to case.
const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan"];

/// Whether an unquoted scalar with this text may be more than a string to some reader.
pub(super) fn is_open(text: &str) -> bool {
    text.is_empty() || text == "~" || is_word(text) || is_number_like(text)
}

fn is_word(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    WORDS.iter().any(|w| unsigned.eq_ignore_ascii_case(w))
}

/// Whether a text looks like a number in any base, with `_`, in base 60, or like a date: it begins with a digit, after
/// an optional sign or point, and contains only letters, digits and a few signs.
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
    fn numbers_of_core_schema_are_parsed() {
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
    fn ambiguous_words_are_text() {
        for text in ["yes", "no", "on", "off", "True", "0755", "1_000", "12:30:45", "inf", "nan", "0x", "1e"]
        {
            assert_eq!(PlainValue::interpret(text), PlainValue::Text, "{text}");
        }
        for text in ["e5", ".", "+", "-", "1.2.3", "0x-1", "0xg", "--1"] {
            assert_eq!(PlainValue::interpret(text), PlainValue::Text, "{text}");
        }
    }

    #[test]
    fn null_and_boolean_words_are_parsed() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(PlainValue::interpret(text), PlainValue::Null);
        }
        assert_eq!(PlainValue::interpret("true"), PlainValue::Bool(true));
        assert_eq!(PlainValue::interpret("false"), PlainValue::Bool(false));
    }

    #[test]
    fn special_words_and_numbers_of_both_versions_are_open() {
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
    fn other_texts_are_not_open() {
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
