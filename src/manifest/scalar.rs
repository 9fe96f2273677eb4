//! What an unquoted YAML scalar means.

/// A plain scalar by YAML 1.2's core schema (section 10.3.2).
///
/// Two things are stricter, because other readers of the same file (PyYAML, Go's yaml) take them
/// differently: only `true` and `false` are booleans, and digits after a leading 0 are not a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Plain {
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

impl Plain {
    /// Decides what `text` means where it is not quoted.
    pub(super) fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" => Self::Bool(true),
            "false" => Self::Bool(false),
            _ => whole(text).or_else(|| real(text)).unwrap_or(Self::Text),
        }
    }

    /// Whether it is a number of any kind.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Whole(_) | Self::Real(_))
    }
}

/// Whole numbers, decimal, `0x` and `0o`; one beyond 64 bits is left to [`real`] where it is decimal.
fn whole(text: &str) -> Option<Plain> {
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(Plain::Whole);
    let unsigned = |digits: &str| digits.bytes().all(|b| b.is_ascii_alphanumeric());
    match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) if unsigned(digits) => radix(digits, 16),
        (_, Some(digits)) if unsigned(digits) => radix(digits, 8),
        _ if has_leading_zero(text) => None,
        _ => text.parse().ok().map(Plain::Whole),
    }
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, infinity and not-a-number.
fn real(text: &str) -> Option<Plain> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => {
            let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
            return Some(Plain::Real(f64::INFINITY * sign));
        }
        ".nan" | ".NaN" | ".NAN" => return Some(Plain::Real(f64::NAN)),
        _ => {}
    }
    // Rust's own parser takes the same numbers and the words "inf" and "nan", which YAML does not.
    let numeric = unsigned.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let begun = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    (numeric && begun && !has_leading_zero(text)).then(|| text.parse().ok().map(Plain::Real)).flatten()
}

fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    matches!(digits, [b'0', b'0'..=b'9', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_core_schema() {
        for (text, value) in [("0", 0), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15)] {
            assert_eq!(Plain::of(text), Plain::Whole(value), "{text}");
        }
        for (text, value) in [("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1e3), ("-1.5E-1", -0.15)] {
            assert_eq!(Plain::of(text), Plain::Real(value), "{text}");
        }
        assert_eq!(Plain::of("99999999999999999999"), Plain::Real(1e20));
        assert_eq!(Plain::of("-.inf"), Plain::Real(f64::NEG_INFINITY));
        assert!(matches!(Plain::of(".nan"), Plain::Real(n) if n.is_nan()));
        assert_eq!(Plain::of("1e999"), Plain::Real(f64::INFINITY));
    }

    #[test]
    fn what_readers_disagree_on_is_text() {
        for text in ["yes", "no", "on", "off", "True", "0755", "1_000", "12:30:45", "inf", "nan", "0x", "1e"]
        {
            assert_eq!(Plain::of(text), Plain::Text, "{text}");
        }
        for text in ["e5", ".", "+", "-", "1.2.3", "0x-1", "0xg", "--1"] {
            assert_eq!(Plain::of(text), Plain::Text, "{text}");
        }
    }

    #[test]
    fn nothing_is_null_and_only_two_words_are_booleans() {
        for text in ["", "~", "null", "Null", "NULL"] {
            assert_eq!(Plain::of(text), Plain::Null);
        }
        assert_eq!(Plain::of("true"), Plain::Bool(true));
        assert_eq!(Plain::of("false"), Plain::Bool(false));
    }
}
