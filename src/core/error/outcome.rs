//! What became of what an operation had begun when it failed.

use super::Advice;
use crate::text::escape_unseen;

/// What became of the host, of what was made so far, or what finishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was changed.
    Unchanged,
    /// Everything that was made was removed again.
    RolledBack,
    /// These are left, and are known to be the operation's own.
    Left(Vec<Remainder>),
    /// A sentence about one object.
    Note(String),
    /// What finishes the operation, or removes what it left.
    Next(Advice),
    /// A title, and lines that somebody else wrote: the end of a guest's console.
    Excerpt {
        /// What the lines are.
        title: String,
        /// The lines, without their breaks.
        lines: Vec<String>,
    },
}

/// Something that is left, and why it could not be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remainder {
    /// The object: `volume 'web_boot' in pool 'vms'`.
    pub object: String,
    /// Why it is still there, or that it only may be.
    pub why: String,
}

impl Remainder {
    /// An object that is left, and why.
    pub fn new(object: impl Into<String>, why: impl Into<String>) -> Self {
        Self { object: object.into(), why: why.into() }
    }
}

impl Outcome {
    /// An outcome of lines that somebody else wrote.
    pub fn from_lines(title: &str, lines: &[String]) -> Self {
        Self::Excerpt {
            title: escape_unseen(title),
            lines: lines.iter().map(|line| escape_unseen(line)).collect(),
        }
    }
}

impl From<&str> for Outcome {
    fn from(sentence: &str) -> Self {
        Self::Note(escape_unseen(sentence))
    }
}

impl From<String> for Outcome {
    fn from(sentence: String) -> Self {
        Self::from(sentence.as_str())
    }
}

impl From<Advice> for Outcome {
    fn from(advice: Advice) -> Self {
        Self::Next(advice)
    }
}
