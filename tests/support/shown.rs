//! Errors as the command line shows them.

use foundry::transfer::TransferError;
use foundry::{Error, words};

/// What the command line says of an error.
pub(crate) trait Shown {
    /// With all that stands in the way and why it failed.
    fn text(&self) -> String;
    /// What to do about it.
    fn hint_text(&self) -> Option<String>;
    /// What became of what was begun.
    fn outcome_texts(&self) -> Vec<String>;
}

impl Shown for Error {
    fn text(&self) -> String {
        words::render_error(self)
    }

    fn hint_text(&self) -> Option<String> {
        words::render_hint(self)
    }

    fn outcome_texts(&self) -> Vec<String> {
        words::render_outcomes(self)
    }
}

impl Shown for TransferError {
    fn text(&self) -> String {
        self.to_string()
    }

    fn hint_text(&self) -> Option<String> {
        self.advice().map(words::render_advice)
    }

    fn outcome_texts(&self) -> Vec<String> {
        Vec::new()
    }
}
