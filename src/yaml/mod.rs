//! YAML in and out: the only module that knows which library does it.
//!
//! What foundry itself defines goes through serde ([`read_all`], [`write()`]). What it only carries, a user's
//! cloud-config, goes through [`node`], a tree in which every scalar stays as it was written.

mod emit;
pub mod node;
mod read;
mod resolve;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads all documents of a text.
///
/// # Errors
/// The library's message with line and column.
pub fn read_all<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    serde_saphyr::from_multiple(text).map_err(|e| e.to_string())
}

/// Writes a value so that PyYAML, the reader of cloud-init, reads it back equal.
///
/// # Errors
/// Where the value cannot be written as YAML.
pub fn write<T: Serialize>(value: &T) -> Result<String, String> {
    serde_saphyr::to_string_with_options(value, serde_saphyr::ser_options! { prefer_block_scalars: false })
        .map_err(|e| e.to_string())
}
