//! What is wrong with a manifest, all of it.

use std::fmt;

/// One wrong or missing value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, `spec.networkInterfaces[1].ip` for one.
    pub path: String,
    /// What was written, as text; `None` where nothing was.
    pub value: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
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
        match &self.value {
            Some(value) => write!(f, "{}: {value:?} {}", self.path, self.message),
            None => write!(f, "{}: {}", self.path, self.message),
        }
    }
}

/// How many problems a message lists: who has more has made one mistake many times.
const TOLD: usize = 50;

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.len();
        write!(f, "{}: {count} problem{}", self.subject, if count == 1 { "" } else { "s" })?;
        self.list.iter().take(TOLD).try_for_each(|problem| write!(f, "\n  {problem}"))?;
        match count.saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}

impl std::error::Error for Problems {}
