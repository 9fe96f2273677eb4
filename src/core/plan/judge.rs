//! Collects problems, and contains the checks that several fields share.

use std::fmt::Display;
use std::str::FromStr;

use super::{Problem, Problems};
use crate::error::{Advice, Code};
use crate::manifest::{Number, shorten};
use crate::names::{NameError, find_nearest};

/// Maximum length in bytes of a text field without its own limit, that of a path (PATH_MAX, limits.h).
pub(super) const MAX_TEXT: usize = 4096;

/// Proof that a value was refused and that the judge has recorded the problem.
///
/// Only [`Judge`] creates one, together with a problem. So if a part of the plan is missing, there is always a problem
/// that says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rejected(());

/// A part of the plan, or proof that its problem is recorded.
pub(super) type Judged<T> = Result<T, Rejected>;

/// Collects the problems of one manifest in the order in which they are found.
#[derive(Debug, Default)]
pub(super) struct Judge {
    problems: Vec<Problem>,
}

impl Judge {
    /// Records a wrong value; `message` continues the sentence that begins with it ("must be …").
    pub(super) fn reject_value(
        &mut self,
        code: Code,
        path: impl Into<String>,
        value: impl Display,
        message: impl Into<String>,
    ) -> Rejected {
        let value = Some(shorten(&value.to_string()));
        self.record_problem(Problem { path: path.into(), value, message: message.into(), code, advice: None })
    }

    /// Records a problem with a value that must not be shown or is too long to be shown.
    pub(super) fn reject_unshown(
        &mut self,
        code: Code,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Rejected {
        self.record_problem(Problem {
            path: path.into(),
            value: None,
            message: message.into(),
            code,
            advice: None,
        })
    }

    /// Adds advice to the problem that was recorded last.
    pub(super) fn set_advice(&mut self, advice: Advice) {
        if let Some(problem) = self.problems.last_mut() {
            problem.advice = Some(advice);
        }
    }

    /// Records a missing value.
    pub(super) fn reject_missing(&mut self, path: impl Into<String>, message: impl Into<String>) -> Rejected {
        self.reject_unshown(Code::ValueMissing, path, message)
    }

    fn record_problem(&mut self, problem: Problem) -> Rejected {
        self.problems.push(problem);
        Rejected(())
    }

    /// Returns the plan if no problem was recorded, otherwise all problems.
    pub(super) fn into_result<T>(self, plan: Judged<T>, subject: String) -> Result<T, Problems> {
        match plan {
            Ok(plan) if self.problems.is_empty() => Ok(plan),
            _ => Err(Problems { subject, list: self.problems }),
        }
    }

    /// Checks a text of one line and at most [`MAX_TEXT`] bytes.
    pub(super) fn check_line<'a>(&mut self, path: &str, text: &'a str) -> Judged<&'a str> {
        self.check_line_within(path, text, MAX_TEXT)
    }

    /// Checks a text of one line and at most `limit` bytes.
    pub(super) fn check_line_within<'a>(
        &mut self,
        path: &str,
        text: &'a str,
        limit: usize,
    ) -> Judged<&'a str> {
        if let Some(stray) = text.chars().find(|c| is_unprintable(*c)) {
            return Err(self.reject_value(
                Code::TextUnfit,
                path,
                text,
                format!("must not contain {}", describe_character(stray)),
            ));
        }
        if text.len() > limit {
            return Err(self.reject_value(
                Code::TextUnfit,
                path,
                text,
                format!("has {} bytes; the maximum is {limit}", text.len()),
            ));
        }
        Ok(text)
    }

    /// Parses a name that has its own type.
    pub(super) fn parse_name<T: FromStr<Err = NameError>>(&mut self, path: &str, text: &str) -> Judged<T> {
        let text = self.check_line(path, text)?;
        text.parse()
            .map_err(|error: NameError| self.reject_value(Code::NameUnfit, path, text, error.to_string()))
    }

    /// Finds a word among the known ones, or returns the default if none is given.
    pub(super) fn choose_word<T: Copy>(
        &mut self,
        path: &str,
        text: Option<&str>,
        known: &[(&str, T)],
        default: T,
    ) -> Judged<T> {
        let Some(text) = text else { return Ok(default) };
        if let Some((_, meaning)) = known.iter().find(|(word, _)| *word == text) {
            return Ok(*meaning);
        }
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let guess = find_nearest(text, words.iter().copied()).map(|near| format!("; did you mean '{near}'?"));
        let message = format!("must be {}{}", words.join(" or "), guess.unwrap_or_default());
        Err(self.reject_value(Code::WordUnknown, path, text, message))
    }

    /// Checks a whole number from `least` to `most`; `unit` completes the message.
    pub(super) fn check_whole_number(
        &mut self,
        path: &str,
        number: Number,
        (least, most): (u64, u64),
        unit: &str,
    ) -> Judged<u64> {
        match number.to_u64().filter(|n| (least..=most).contains(n)) {
            Some(whole) => Ok(whole),
            None => {
                let message = format!("must be a whole number{unit} from {least} to {most}");
                Err(self.reject_value(Code::NumberUnfit, path, number, message))
            }
        }
    }
}

/// Collects all elements, or returns a refusal after every element was judged.
pub(super) fn collect_all<T>(parts: impl Iterator<Item = Judged<T>>) -> Judged<Vec<T>> {
    // Collecting directly into a Result would stop at the first refusal and leave the rest unchecked.
    parts.collect::<Vec<_>>().into_iter().collect()
}

/// Whether a character cannot be stored: a control character (Unicode's category Cc), or one of the two code points
/// that XML 1.0 cannot contain even as an escape (its production 2). The manifest is stored in the domain's XML.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Names an invisible character for a message.
pub(super) fn describe_character(c: char) -> String {
    match c {
        '\n' => "a line break".to_owned(),
        '\t' => "a tab".to_owned(),
        '\u{fffe}' | '\u{ffff}' => format!("U+{:04X}, which XML cannot contain", u32::from(c)),
        c => format!("the control character U+{:04X}", u32::from(c)),
    }
}
