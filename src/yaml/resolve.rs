//! Which words a YAML reader may take for something other than a string.
//!
//! PyYAML, which is cloud-init's reader, follows YAML 1.1: `on` is a boolean, `1:30` is ninety and
//! `2024-01-01` is a date (its `resolver.py`). Other readers follow YAML 1.2, where `0o17` and `1e3` are
//! numbers. What is asked here is only whether *some* reader could; that errs on the side of quotes.

/// Words with a meaning of their own, compared without regard to case.
const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan"];

/// Whether an unquoted scalar with this text is open to interpretation.
pub(super) fn is_open(text: &str) -> bool {
    text.is_empty() || text == "~" || is_word(text) || is_number_like(text)
}

/// Whether an unquoted scalar with this text says "nothing" (YAML 1.1 and 1.2 agree).
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
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
