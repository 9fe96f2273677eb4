//! Collects problems, and has the checks that every kind of value shares.

use std::fmt::Display;
use std::str::FromStr;

use super::{Problem, Problems};
use crate::error::{Advice, Code};
use crate::manifest::{Number, shorten};
use crate::names::{NameError, find_nearest};

/// The longest text of a field that has no limit of its own, in bytes: a path has at most as many
/// (PATH_MAX, limits.h).
pub(super) const MAX_TEXT: usize = 4096;

/// Says that a value was refused and that the judge holds the problem.
///
/// Only [`Judge`] makes one, for a problem, so a part of the plan that is not there
/// always has a problem that says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rejected(());

/// A part of the plan, or the word that its problem is on record.
pub(super) type Judged<T> = Result<T, Rejected>;

/// Collects the problems of one manifest in the order in which they are found.
#[derive(Debug, Default)]
pub(super) struct Judge {
    problems: Vec<Problem>,
}

impl Judge {
    /// Records a wrong value; `message` goes on after it ("must be …").
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

    /// Records what is wrong with a value that must not be shown, or is too much to be.
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

    /// Adds to the problem that was recorded last what leads to a right value.
    pub(super) fn set_advice(&mut self, advice: Advice) {
        if let Some(problem) = self.problems.last_mut() {
            problem.advice = Some(advice);
        }
    }

    /// Records what is missing.
    pub(super) fn reject_missing(&mut self, path: impl Into<String>, message: impl Into<String>) -> Rejected {
        self.reject_unshown(Code::ValueMissing, path, message)
    }

    fn record_problem(&mut self, problem: Problem) -> Rejected {
        self.problems.push(problem);
        Rejected(())
    }

    /// Gives the plan if nothing was recorded, else all that was.
    pub(super) fn into_result<T>(self, plan: Judged<T>, subject: String) -> Result<T, Problems> {
        match plan {
            Ok(plan) if self.problems.is_empty() => Ok(plan),
            _ => Err(Problems { subject, list: self.problems }),
        }
    }

    /// A text of one line and reasonable length.
    pub(super) fn check_line<'a>(&mut self, path: &str, text: &'a str) -> Judged<&'a str> {
        self.check_line_within(path, text, MAX_TEXT)
    }

    /// A text of one line and at most `limit` bytes.
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
                format!("must not hold {}", describe_character(stray)),
            ));
        }
        if text.len() > limit {
            return Err(self.reject_value(
                Code::TextUnfit,
                path,
                text,
                format!("has {} bytes; at most {limit} are taken", text.len()),
            ));
        }
        Ok(text)
    }

    /// A name that is a type of its own.
    pub(super) fn parse_name<T: FromStr<Err = NameError>>(&mut self, path: &str, text: &str) -> Judged<T> {
        let text = self.check_line(path, text)?;
        text.parse()
            .map_err(|error: NameError| self.reject_value(Code::NameUnfit, path, text, error.to_string()))
    }

    /// One of a few known words, or the first of them where none was given.
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

    /// A whole number from `least` to `most`; `unit` completes the message.
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

/// Judges every element and gives all of them or, after the last one, the refusal.
pub(super) fn collect_all<T>(parts: impl Iterator<Item = Judged<T>>) -> Judged<Vec<T>> {
    // Collecting straight into a Result would stop at the first refusal and leave the rest unjudged.
    parts.collect::<Vec<_>>().into_iter().collect()
}

/// Control characters (Unicode's category Cc), and the two code points that XML 1.0 cannot carry even
/// escaped (its production 2): the manifest is stored in the domain's XML.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// What a person calls a character that cannot be seen.
pub(super) fn describe_character(c: char) -> String {
    match c {
        '\n' => "a line break".to_owned(),
        '\t' => "a tab".to_owned(),
        '\u{fffe}' | '\u{ffff}' => format!("U+{:04X}, which XML cannot carry", u32::from(c)),
        c => format!("the control character U+{:04X}", u32::from(c)),
    }
}
