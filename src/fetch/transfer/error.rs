//! Why a transfer failed.

use std::fmt;
use std::io;

use foundry_core::error::{Advice, Code, Error};
use foundry_core::text::describe_io_error;

/// The kinds of failure that callers distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The URL or the checksum is not valid.
    Input,
    /// A local file cannot be read or written, or changed while it was read.
    Local,
    /// The server cannot be reached, or the connection failed too often.
    Unreachable,
    /// The server refused the request.
    Refused,
    /// The server's answer violates HTTP or contradicts itself.
    Answer,
    /// The server no longer has the file that it had when the transfer began.
    Changed,
    /// The data does not match the checksum.
    Checksum,
    /// Compressed data is damaged, truncated or followed by other data.
    Damaged,
    /// The user interrupted the transfer.
    Stopped,
}

impl Reason {
    /// Returns the code of the failure.
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
/// Inside a stream it is wrapped in an [`io::Error`], from which [`TransferError::from_io`] extracts it.
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

    /// Reports the failure for the URL that the user requested, which redirected to the one that failed.
    #[must_use]
    pub(crate) fn with_redirect(self, asked: &impl fmt::Display, at: &impl fmt::Display) -> Self {
        let there = self.cause.unwrap_or(self.message);
        let cause = Some(format!("it redirects to {at}: {there}"));
        Self { reason: self.reason, message: format!("cannot download {asked}"), cause, advice: self.advice }
    }

    /// Returns the kind of failure.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns what the user can do about it.
    pub fn advice(&self) -> Option<&Advice> {
        self.advice.as_ref()
    }

    /// Extracts the failure from a stream's error. An error of the operating system becomes a failure to read `what`.
    pub fn from_io(error: io::Error, what: &str) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => {
                Self::new(Reason::Local, format!("cannot read {what}")).because(describe_io_error(&error))
            }
        }
    }

    /// Returns the failure in a stream's error, if it contains one.
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
