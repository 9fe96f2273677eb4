//! Reads a secret of the listener.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;

/// The largest file, in bytes.
const MAX_FILE: u64 = 4096;

/// Reads the first line of a file that others cannot read.
///
/// # Errors
/// [`Code::ListenerUnusable`] if it cannot be read, others can, or it is shorter than `shortest`.
pub(super) fn read_secret(file: &str, what: &str, shortest: usize) -> Result<String, Error> {
    let unfit = |why: String| {
        Error::new(Code::ListenerUnusable, format!("{what} cannot be taken from {file}"))
            .because(why)
            .unchanged()
    };
    let read = || -> std::io::Result<(u32, String)> {
        let opened = File::open(file)?;
        let mode = opened.metadata()?.mode();
        let mut text = String::new();
        opened.take(MAX_FILE).read_to_string(&mut text)?;
        Ok((mode, text))
    };
    let (mode, text) = read().map_err(|e| unfit(describe_io_error(&e)))?;
    if mode & 0o077 != 0 {
        return Err(unfit("other users can read it".to_owned()).hint(format!("chmod 600 {file}")));
    }
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    if line.len() < shortest {
        return Err(unfit(format!("it has fewer than {shortest} characters")));
    }
    Ok(line)
}
