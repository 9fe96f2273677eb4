//! Errors in the user's terms, each with an exit code for scripts.
//!
//! Each layer has an error type of its own; here they become the one [`Error`] that leaves the
//! library. Each has a [`Code`], from which its [`Kind`] and with it the exit code follows.

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
    /// A file is missing, is not YAML, has an unknown field or the wrong kind.
    Configuration,
    /// A value of the manifest is missing or wrong.
    Validation,
    /// libvirt cannot be reached.
    Connection,
    /// The domain, its network or the host refused.
    Vm,
    /// A pool, a volume or an image refused.
    Storage,
    /// What was waited for did not come in time.
    Timeout,
    /// The user stopped it.
    Interrupted,
}

impl Kind {
    /// The process's exit code for this kind of failure.
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

/// A failure: what failed, why, what to do about it, and what became of what was begun.
///
/// Code, advice and outcomes are data that a program can act on; the command line makes sentences of them.
#[derive(Debug, Clone)]
pub struct Error(Box<ErrorInner>);

/// Behind a box, so that a `Result` stays small on the way where nothing fails.
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
    /// A sentence is one line: what ends a line in it, or is not seen, is of a value of somebody else's, and is written out
    /// as [`escape_unseen`] does. So it is with all that is added to it.
    pub fn new(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self::of_text(code, escape_unseen(&message.into()))
    }

    /// Makes an error of several lines: a title, and others below it.
    pub fn of_lines(code: impl Into<Code>, lines: impl IntoIterator<Item = String>) -> Self {
        Self::of_text(code, lines.into_iter().map(|line| escape_unseen(&line)).collect::<Vec<_>>().join("\n"))
    }

    /// Makes an error of lines in which each value is shown as [`escape_unseen`] shows it.
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

    /// Makes an error of all that stands in the way of something, with the worst code of them.
    pub fn of_issues(title: impl Into<String>, issues: Vec<Issue>) -> Self {
        let codes: ErrorCodes = issues.iter().map(|issue| issue.code).collect();
        let mut error = Self::new(codes.worst_code().unwrap_or(Kind::Vm.into()), title);
        error.0.issues = issues;
        error
    }

    /// One error for several that are of equal weight, a line each; `None` where there is none.
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

    /// Adds what to do about it, in place of what was advised before.
    #[must_use]
    pub fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds the error that it was made of.
    #[must_use]
    pub fn caused_by(mut self, source: impl Source + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Adds libvirt's own words, shown with `--verbose` only.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(escape_unseen_lines(&detail.into()));
        self
    }

    /// Adds what became of what was begun, or of one object.
    #[must_use]
    pub fn outcome(mut self, outcome: impl Into<Outcome>) -> Self {
        self.0.outcomes.push(outcome.into());
        self
    }

    /// Adds that nothing was changed.
    #[must_use]
    pub fn unchanged(self) -> Self {
        self.outcome(Outcome::Unchanged)
    }

    /// Gives it another kind, where the same refusal of libvirt's means something else: that kind's general code.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.0.code = kind.into();
        self
    }

    /// Gives it another code, where the cause became known later.
    #[must_use]
    pub fn with_code(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// Why it failed, by an id that does not change and that `foundry explain` knows.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The kind, from which the exit code follows.
    pub fn kind(&self) -> Kind {
        self.0.code.kind()
    }

    /// What failed, in one sentence or, for several problems, one line each.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What stands in the way, if it is more than one thing or a look found it.
    pub fn issues(&self) -> &[Issue] {
        &self.0.issues
    }

    /// Why it failed.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// libvirt's own words.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&Advice> {
        self.0.advice.as_ref()
    }

    /// What was removed again or left behind.
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
