//! Reads and writes YAML. Only this module knows which library is used.
//!
//! ```text
//!  text ── events ──▶ builder ──▶ Node ──┬── read() ─────▶ a Rust type (the manifest)
//!                     (limits)           └── to_yaml() ──▶ text again (cloud-config, which is only passed on)
//!  a Rust type ── write() ──▶ text
//! ```
//!
//! There is one [tree](node). Each node knows its position, for messages. Each scalar keeps the text that its author
//! wrote; its meaning depends on the reader and is determined later (see `scalar`).

mod builder;
mod documents;
mod emit;
mod field_error;
pub mod node;
mod reader;
mod rules;
mod scalar;
mod yaml11;

pub use field_error::Position;

pub use documents::read_manifests;
pub use field_error::{FieldError, PathSegment, did_you_mean, escape_unseen, shorten, shorten_key};
pub use reader::read;
pub(crate) use rules::BrokenRule;

use serde::Serialize;

use crate::text::is_unseen;

/// Writes a value so that PyYAML, the YAML reader of cloud-init, reads it back as an equal value.
///
/// # Errors
/// A value that cannot be written as YAML.
pub fn write<T: Serialize>(value: &T) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options).map_err(|e| e.to_string())?;
    if !text.chars().any(|c| is_unseen(c) && c != '\n') {
        return Ok(text);
    }
    // The library writes invisible characters as they are. Foundry's own writer escapes them.
    let documents = node::read_documents(&text).map_err(|e| e.to_string())?;
    Ok(documents.iter().map(node::Node::to_lines).collect::<Vec<_>>().join("---\n"))
}
