//! Errors in the user's terms, each with an exit code for scripts.
//!
//! Each layer has its own error type and converts it to [`Error`], which leaves the library. Each error has a [`Code`],
//! from which its [`Kind`] and the exit code follow.

mod advice;
mod aggregate;
mod catalogue;
mod code;
mod issue;
mod outcome;

use std::error::Error as Source;
use std::fmt;
use std::sync::Arc;

pub use advice::{Advice, AdvicePart, Verb};
pub use aggregate::ErrorCodes;
pub use catalogue::Explanation;
pub use code::Code;
pub use issue::Issue;
pub use outcome::{Outcome, Remainder};

use crate::text::{escape_unseen, escape_unseen_lines};

/// The kinds of failure, one exit code each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file is missing, is not YAML, has an unknown field or a value of the wrong type.
    Configuration,
    /// A value of the manifest is missing or wrong.
    Validation,
    /// libvirt cannot be reached.
    Connection,
    /// An operation on the domain, its network or the host failed.
    Vm,
    /// An operation on a pool, a volume or an image failed.
    Storage,
    /// Something did not happen in the given time.
    Timeout,
    /// The user interrupted the operation.
    Interrupted,
}

impl Kind {
    /// Whether this failure ends a command for several objects: the next object would fail for the same reason.
    pub fn ends_run(self) -> bool {
        matches!(self, Self::Connection | Self::Interrupted)
    }

    /// Returns the process's exit code for this kind of failure.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Configuration => 1,
            Self::Validation => 2,
            Self::Connection => 3,
            Self::Vm => 4,
            Self::Storage => 5,
            Self::Timeout => 6,
            Self::Interrupted => 130,
        }
    }
}

/// A failure: what failed, why, what to do about it, and the state that the operation left.
///
/// Code, advice and outcomes are data that a program can act on. The command line turns them into sentences.
#[derive(Debug, Clone)]
pub struct Error(Box<ErrorInner>);

/// Boxed, so that a `Result` stays small.
#[derive(Debug, Clone)]
struct ErrorInner {
    code: Code,
    message: String,
    issues: Vec<Issue>,
    cause: Option<String>,
    detail: Option<String>,
    advice: Option<Advice>,
    outcomes: Vec<Outcome>,
    source: Option<Arc<dyn Source + Send + Sync>>,
}

impl Error {
    /// Makes an error from one sentence that names the object. A [`Kind`] stands for its general code.
    ///
    /// A sentence is one line. A line break or an invisible character in it comes from a foreign value and is escaped
    /// ([`escape_unseen`]). The same applies to everything that is added to the error.
    pub fn new(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self::of_text(code, escape_unseen(&message.into()))
    }

    /// Makes an error of several lines: a title and the lines below it.
    pub fn of_lines(code: impl Into<Code>, lines: impl IntoIterator<Item = String>) -> Self {
        Self::of_text(code, lines.into_iter().map(|line| escape_unseen(&line)).collect::<Vec<_>>().join("\n"))
    }

    /// Makes an error from lines whose values are already escaped with [`escape_unseen`].
    pub fn of_text(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self(Box::new(ErrorInner {
            code: code.into(),
            message: escape_unseen_lines(&message.into()),
            issues: Vec::new(),
            cause: None,
            detail: None,
            advice: None,
            outcomes: Vec::new(),
            source: None,
        }))
    }

    /// Makes an error from several issues, with the worst of their codes.
    pub fn of_issues(title: impl Into<String>, issues: Vec<Issue>) -> Self {
        let codes: ErrorCodes = issues.iter().map(|issue| issue.code).collect();
        let mut error = Self::new(codes.worst_code().unwrap_or(Kind::Vm.into()), title);
        error.0.issues = issues;
        error
    }

    /// Combines several errors of equal weight into one, with one line each. Returns `None` if there are none.
    pub fn combine(errors: &[Self]) -> Option<Self> {
        let codes: ErrorCodes = errors.iter().map(Self::code).collect();
        let line = |error: &Self| format!("{error}{}", codes.suffix_for(error.code()));
        match errors {
            [one] => Some(one.clone()),
            _ => Some(Self::of_text(
                codes.worst_code()?,
                errors.iter().map(line).collect::<Vec<_>>().join("\n"),
            )),
        }
    }

    /// Adds why it failed.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(escape_unseen(&cause.into()));
        self
    }

    /// Sets the advice and replaces an earlier one.
    #[must_use]
    pub fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds the error that this one was made from, for [`Source::source`].
    #[must_use]
    pub fn caused_by(mut self, source: impl Source + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Adds libvirt's original message, which is shown with `--verbose` only.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(escape_unseen_lines(&detail.into()));
        self
    }

    /// Adds the state that the operation left, or that of one object.
    #[must_use]
    pub fn outcome(mut self, outcome: impl Into<Outcome>) -> Self {
        self.0.outcomes.push(outcome.into());
        self
    }

    /// Removes what the error says about the state afterwards, which is about to change.
    #[must_use]
    pub fn without_outcomes(mut self) -> Self {
        self.0.outcomes.clear();
        self
    }

    /// Replaces all outcomes: what a step says of itself is not what the whole operation left.
    #[must_use]
    pub fn only_outcome(mut self, outcome: impl Into<Outcome>) -> Self {
        self.0.outcomes = vec![outcome.into()];
        self
    }

    /// Adds that nothing was changed.
    #[must_use]
    pub fn unchanged(self) -> Self {
        self.outcome(Outcome::Unchanged)
    }

    /// Sets another kind, with that kind's general code, if the same error of libvirt means something else here.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.code = kind.into();
        self
    }

    /// Sets another code, if the cause became known later.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// Returns the cause as an id that never changes and that `foundry explain` explains.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Returns the kind, which determines the exit code.
    pub fn kind(&self) -> Kind {
        self.0.code.kind()
    }

    /// Returns what failed: one sentence or, for several problems, one line each.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the issues, if a check found some.
    pub fn issues(&self) -> &[Issue] {
        &self.0.issues
    }

    /// Returns why it failed, if that is known.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// Returns libvirt's original message.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// Returns what the user can do about it.
    pub fn advice(&self) -> Option<&Advice> {
        self.0.advice.as_ref()
    }

    /// Returns what was rolled back or left behind.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.0.outcomes
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        let codes: ErrorCodes = self.0.issues.iter().map(|issue| issue.code).collect();
        for issue in &self.0.issues {
            write!(f, "\n  {}{}", issue.message, codes.suffix_for(issue.code))?;
        }
        if let Some(cause) = &self.0.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl Source for Error {
    fn source(&self) -> Option<&(dyn Source + 'static)> {
        let source = self.0.source.as_ref()?;
        Some(source.as_ref())
    }
}

impl From<quick_xml::SeError> for Error {
    fn from(error: quick_xml::SeError) -> Self {
        Self::new(Kind::Vm, "cannot write the XML for libvirt").because(error.to_string())
    }
}
