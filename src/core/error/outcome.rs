//! The state that a failed operation left.

use super::Advice;
use crate::text::escape_unseen;

/// The effect on the host, on the resources created so far, or the command that finishes the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was changed.
    Unchanged,
    /// Everything that was created was deleted again.
    RolledBack,
    /// These resources are left, and they certainly belong to the operation.
    Left(Vec<Remainder>),
    /// A sentence about one object.
    Note(String),
    /// The command that finishes the operation or deletes what it left.
    Next(Advice),
    /// A title and foreign lines, such as the end of a guest's console.
    Excerpt {
        /// Title of the lines.
        title: String,
        /// The lines, without line breaks.
        lines: Vec<String>,
    },
}

/// A resource that is left, and why it could not be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remainder {
    /// The object, such as `volume 'web_boot' in pool 'vms'`.
    pub object: String,
    /// Why it still exists, or that it may still exist.
    pub why: String,
}

impl Remainder {
    /// Makes a remainder from an object and the reason.
    pub fn new(object: impl Into<String>, why: impl Into<String>) -> Self {
        Self { object: object.into(), why: why.into() }
    }
}

impl Outcome {
    /// Makes an outcome from lines of foreign text.
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
