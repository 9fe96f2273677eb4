//! One of several problems that a check found.

use super::{Advice, Code};
use crate::text::escape_unseen;

/// A problem that a check found before anything was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Code of the problem.
    pub code: Code,
    /// A sentence that names the object.
    pub message: String,
    /// What the user can do about it.
    pub advice: Vec<Advice>,
}

impl Issue {
    /// Makes an issue without advice.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: escape_unseen(&message.into()), advice: Vec::new() }
    }

    /// Adds something that the user can do about it.
    #[must_use]
    pub fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.advice.push(advice.into());
        self
    }
}
