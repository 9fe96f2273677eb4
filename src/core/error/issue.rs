//! One of several things that stand in the way.

use super::{Advice, Code};
use crate::text::escape_unseen;

/// Something that stands in the way, found by a look that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// What it is.
    pub code: Code,
    /// A sentence that names the object.
    pub message: String,
    /// What to do about it.
    pub advice: Vec<Advice>,
}

impl Issue {
    /// An issue without advice.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: escape_unseen(&message.into()), advice: Vec::new() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.advice.push(advice.into());
        self
    }
}
