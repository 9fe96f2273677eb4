//! Where an image came from: stored next to the image, and in each VM made from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of how an image came into its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageOrigin {
    /// The URL or the file, without anything secret in it.
    pub source: String,
    /// A digest of the whole URL: two that differ in what is not shown are two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// The name in the catalogue that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The digest of what was transferred, before it was decompressed: `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the digest was compared with: `sha256:…` or a URL; nothing where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<String>,
    /// How it was compressed on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// What it was before it was converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted_from: Option<String>,
    /// The server's name for that state of the file (RFC 9110, 8.8.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the server says that it last changed (RFC 9110, 8.8.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// When it was transferred: RFC 3339, UTC.
    pub fetched: String,
}

impl ImageOrigin {
    /// Whether the image can be transferred from there once more, as far as the note says.
    pub fn can_be_had_again(&self) -> bool {
        // A query is not noted: it may be as good as a password.
        ["http://", "https://"].iter().any(|scheme| self.source.starts_with(scheme))
            && !self.source.contains('?')
    }
}
