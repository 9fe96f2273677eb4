//! Files with a secret: a token, or a private key.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use foundry_core::text::describe_io_error;
use foundry_runner::ForgeError;

use crate::refused_error;

/// The largest file that is read, in bytes: a private key of 16384 bits in PEM has 13 kB.
const MAX_SECRET: u64 = 64 << 10;

/// Reads a file that others must not be able to read.
///
/// # Errors
/// Why it is not taken: it cannot be read, or others can read it.
pub fn read_secret_file(file: &str) -> Result<String, String> {
    let read = || -> std::io::Result<(u32, String)> {
        let mut opened = std::fs::File::open(file)?;
        let mode = opened.metadata()?.mode();
        let mut text = String::new();
        (&mut opened).take(MAX_SECRET).read_to_string(&mut text)?;
        Ok((mode, text))
    };
    let (mode, text) = read().map_err(|e| format!("cannot read {file}: {}", describe_io_error(&e)))?;
    if mode & 0o077 != 0 {
        return Err(format!("other users can read {file}; chmod 600 {file} ends that"));
    }
    Ok(text)
}

/// Reads a token: the first line of its file.
///
/// # Errors
/// Those of [`read_secret_file`], and if the line is no token.
pub(crate) fn read_token(file: &str) -> Result<String, ForgeError> {
    let text = read_secret_file(file).map_err(refused_error)?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(refused_error(format!("{file} has no token in its first line")));
    }
    Ok(token.to_owned())
}
