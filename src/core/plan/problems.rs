//! All problems of a manifest.

use std::fmt;

use crate::error::{Advice, Code, Error, ErrorCodes, Kind};
use crate::text::escape_unseen;

/// One wrong or missing value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, `spec.networkInterfaces[1].ip` for one.
    pub path: String,
    /// What was written, as text; `None` where nothing was.
    pub value: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
    /// Which rule it breaks, of [`Kind::Validation`].
    pub code: Code,
    /// What leads to a right value.
    pub advice: Option<Advice>,
}

/// All problems of one manifest, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The VM's name as far as it is known, else the file's.
    pub subject: String,
    /// The problems, in the manifest's order.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match &self.value {
            Some(value) => format!("{}: {value:?} {}", self.path, self.message),
            None => format!("{}: {}", self.path, self.message),
        };
        f.write_str(&escape_unseen(&line))
    }
}

/// How many problems a message lists: who has more has made one mistake many times.
const TOLD: usize = 50;

impl Problems {
    /// These without what is said of fields that could not be read; `None` where nothing remains.
    #[must_use]
    pub fn without_fields(mut self, unread: &[String]) -> Option<Self> {
        let is_within = |path: &str, field: &str| {
            path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.list.retain(|problem| !unread.iter().any(|field| is_within(&problem.path, field)));
        (!self.list.is_empty()).then_some(self)
    }

    /// The codes of all of them.
    pub fn codes(&self) -> impl Iterator<Item = Code> {
        self.list.iter().map(|problem| problem.code)
    }

    /// What to do about the first of them for which that is known.
    pub fn advice(&self) -> Option<&Advice> {
        self.list.iter().find_map(|problem| problem.advice.as_ref())
    }

    /// The code of the whole.
    pub fn code(&self) -> Code {
        self.codes().collect::<ErrorCodes>().worst_code().unwrap_or(Kind::Validation.into())
    }

    /// All that is said of them, where they are told together with those of `codes`.
    pub fn message_with(&self, codes: &ErrorCodes) -> String {
        let count = self.list.len();
        let subject = escape_unseen(&self.subject);
        let mut text = format!("{subject}: {count} problem{}", if count == 1 { "" } else { "s" });
        for problem in self.list.iter().take(TOLD) {
            text.push_str(&format!("\n  {problem}{}", codes.suffix_for(problem.code)));
        }
        match count.saturating_sub(TOLD) {
            0 => text,
            more => format!("{text}\n  … and {more} more"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message_with(&self.codes().collect()))
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        let error = Self::of_text(problems.code(), problems.to_string());
        match problems.advice() {
            Some(advice) => error.hint(advice.clone()),
            None => error,
        }
    }
}
