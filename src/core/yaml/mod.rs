//! YAML in and out: the only module that knows which library does it.
//!
//! ```text
//!  text ── events ──▶ builder ──▶ Node ──┬── read() ─────▶ a type of foundry's own (the manifest)
//!                     (bounds)           └── to_yaml() ──▶ text again (what is only carried: cloud-config)
//!  a type of foundry's own ── write() ──▶ text
//! ```
//!
//! There is one [tree](node). In it each node knows its place, for messages, and each scalar is still what
//! its author wrote: what it means is asked later, by those who differ about it (see `scalar`).

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
pub use field_error::{FieldError, PathStep, did_you_mean, escape_unseen, shorten, shorten_key};
pub use reader::read;
pub(crate) use rules::BrokenRule;

use serde::Serialize;

use crate::text::is_unseen;

/// Writes a value so that PyYAML, the reader of cloud-init, reads it back equal.
///
/// # Errors
/// Where the value cannot be written as YAML.
pub fn write<T: Serialize>(value: &T) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(value, options).map_err(|e| e.to_string())?;
    if !text.chars().any(|c| is_unseen(c) && c != '\n') {
        return Ok(text);
    }
    // What nobody sees, or a terminal obeys, it writes as it is; foundry's own writer escapes it.
    let documents = node::read_documents(&text).map_err(|e| e.to_string())?;
    Ok(documents.iter().map(node::Node::to_lines).collect::<Vec<_>>().join("---\n"))
}
