//! Why a transfer failed.

use std::fmt;
use std::io;

use foundry_core::error::{Advice, Code, Error};
use foundry_core::text::describe_io_error;

/// The sorts of failure that somebody decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The address or the checksum as it was given makes no sense.
    Input,
    /// A local file cannot be read or written, or changed while it was read.
    Local,
    /// The server was not reached, or the connection broke too often.
    Unreachable,
    /// The server answered with a refusal.
    Refused,
    /// The server's answer contradicts HTTP or itself.
    Answer,
    /// What the server has is not any more what it had when the transfer began.
    Changed,
    /// The bytes are not those that the checksum is of.
    Checksum,
    /// Compressed data that is damaged, cut off or followed by something else.
    Damaged,
    /// The user stopped it.
    Stopped,
}

impl Reason {
    /// The cause by its code.
    pub fn code(self) -> Code {
        match self {
            Self::Input => Code::DownloadUnfit,
            Self::Local => Code::LocalFile,
            Self::Unreachable => Code::ServerUnreachable,
            Self::Refused => Code::ServerRefused,
            Self::Answer => Code::ServerAnswer,
            Self::Changed => Code::ContentChanged,
            Self::Checksum => Code::ChecksumWrong,
            Self::Damaged => Code::ContentDamaged,
            Self::Stopped => Code::Interrupted,
        }
    }
}

/// Why a transfer failed: what, why, and what to do.
///
/// Inside a stream it travels in an [`io::Error`], from which [`TransferError::from_io`] gets it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferError {
    reason: Reason,
    message: String,
    cause: Option<String>,
    advice: Option<Advice>,
}

impl TransferError {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), cause: None, advice: None }
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Reason::Stopped, "interrupted")
    }

    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, advice: impl Into<Advice>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same of the address that somebody asked for, which led to the one that failed.
    #[must_use]
    pub(crate) fn with_redirect(self, asked: &impl fmt::Display, at: &impl fmt::Display) -> Self {
        let there = self.cause.unwrap_or(self.message);
        let cause = Some(format!("it redirects to {at}: {there}"));
        Self { reason: self.reason, message: format!("cannot download {asked}"), cause, advice: self.advice }
    }

    /// The sort of failure.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&Advice> {
        self.advice.as_ref()
    }

    /// The failure that an error of a stream carries. One of the system's own becomes a failure to read `what`.
    pub fn from_io(error: io::Error, what: &str) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => {
                Self::new(Reason::Local, format!("cannot read {what}")).because(describe_io_error(&error))
            }
        }
    }

    /// The failure that an error of a stream carries, if it does.
    pub fn find_in(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for TransferError {}

impl From<TransferError> for io::Error {
    fn from(error: TransferError) -> Self {
        Self::other(error)
    }
}

impl From<TransferError> for Error {
    fn from(failed: TransferError) -> Self {
        let mut error = Self::new(failed.reason.code(), failed.message);
        if let Some(cause) = failed.cause {
            error = error.because(cause);
        }
        match failed.advice {
            Some(advice) => error.hint(advice),
            None => error,
        }
    }
}
