//! All problems of a manifest.

use std::fmt;

use crate::error::{Advice, Code, Error, ErrorCodes, Kind};
use crate::text::escape_unseen;
use crate::xml_patch::PatchError;

/// One wrong or missing value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path in the manifest, such as `spec.networkInterfaces[1].ip`.
    pub path: String,
    /// Value as text; `None` if there is none or it must not be shown.
    pub value: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
    /// Code of the broken rule, of [`Kind::Validation`].
    pub code: Code,
    /// How to get a right value, if there is advice.
    pub advice: Option<Advice>,
}

/// All problems of one manifest, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Name of the VM if it is known, otherwise of the file.
    pub subject: String,
    /// The problems, in the order of the manifest.
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

/// Maximum number of problems in a message. More are usually one mistake repeated.
const MAX_LISTED: usize = 50;

impl Problems {
    /// The problem of an entry of `spec.xmlPatch` that does not fit the domain's XML.
    pub fn from_patch(vm: &str, error: PatchError) -> Self {
        let problem = Problem {
            path: error.path(),
            value: None,
            message: error.message,
            code: Code::XmlPatchUnfit,
            advice: None,
        };
        Self { subject: vm.to_owned(), list: vec![problem] }
    }

    /// Removes the problems of fields that could not be read. Returns `None` if none are left.
    #[must_use]
    pub fn without_fields(mut self, unread: &[String]) -> Option<Self> {
        let is_within = |path: &str, field: &str| {
            path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.list.retain(|problem| !unread.iter().any(|field| is_within(&problem.path, field)));
        (!self.list.is_empty()).then_some(self)
    }

    /// Returns the code of each problem.
    pub fn codes(&self) -> impl Iterator<Item = Code> {
        self.list.iter().map(|problem| problem.code)
    }

    /// Returns the advice of the first problem that has some.
    pub fn advice(&self) -> Option<&Advice> {
        self.list.iter().find_map(|problem| problem.advice.as_ref())
    }

    /// Returns the code of the whole: the first one of the worst kind.
    pub fn code(&self) -> Code {
        self.codes().collect::<ErrorCodes>().worst_code().unwrap_or(Kind::Validation.into())
    }

    /// Formats all problems; `codes` are those of the whole message, which may include other problems.
    pub fn message_with(&self, codes: &ErrorCodes) -> String {
        let count = self.list.len();
        let subject = escape_unseen(&self.subject);
        let mut text = format!("{subject}: {count} problem{}", if count == 1 { "" } else { "s" });
        for problem in self.list.iter().take(MAX_LISTED) {
            text.push_str(&format!("\n  {problem}{}", codes.suffix_for(problem.code)));
        }
        match count.saturating_sub(MAX_LISTED) {
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
