//! An error as text for people.

use std::fmt::Write as _;

use super::super::words;
use foundry_core::error::{Code, Error};

/// The beginning of an error, as in rustc: `error[FND-4002]: `.
pub(super) fn error_mark(error: &Error) -> String {
    format!("error[{}]: ", error.code())
}

/// Whether to point to `explain`: not if there is a hint, or if the user declined.
pub(super) fn is_worth_explaining(error: &Error) -> bool {
    let code = error.code();
    error.advice().is_none() && !code.is_general() && !is_declined(error)
}

pub(super) fn is_declined(error: &Error) -> bool {
    matches!(error.code(), Code::VmDeclined | Code::StorageDeclined)
}

/// The whole text of an error.
pub(super) fn error_text(error: &Error, verbose: u8) -> String {
    let mut text = words::render_error(error);
    if let Some(detail) = error.detail_text().filter(|_| verbose > 0) {
        let _ = write!(text, "\n  libvirt: {}", detail.trim_end().replace('\n', "\n    "));
    }
    if let Some(hint) = words::render_hint(error) {
        let _ = write!(text, "\n  hint: {hint}");
    }
    for outcome in words::render_outcomes(error) {
        let _ = write!(text, "\n  {outcome}");
    }
    text
}
