//! Reads a secret of the listener.

use foundry_core::error::{Code, Error};
use foundry_forge::read_secret_file;

/// Reads the first line of a file that others cannot read.
///
/// # Errors
/// [`Code::ListenerUnusable`] if it cannot be read, others can, or it is shorter than `shortest`.
pub(super) fn read_secret(file: &str, what: &str, shortest: usize) -> Result<String, Error> {
    let unfit = |why: String| {
        Error::new(Code::ListenerUnusable, format!("{what} cannot be taken")).because(why).unchanged()
    };
    let text = read_secret_file(file).map_err(unfit)?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.len() < shortest {
        return Err(unfit(format!("{file} has fewer than {shortest} characters")));
    }
    Ok(line.to_owned())
}
