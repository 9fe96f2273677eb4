//! The origin of an image: stored next to the image, and in each VM created from it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The source of an image and how it was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageOrigin {
    /// URL or file, without secrets.
    pub source: String,
    /// Digest of the whole URL, which distinguishes URLs that differ only in their hidden parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<String>,
    /// Catalogue name that was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Digest of the transferred bytes, before decompression: `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What the digest was verified against: `sha256:…` or a URL; absent if it was not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_by: Option<String>,
    /// Compression of the transferred file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
    /// Original format, if the image was converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted_from: Option<String>,
    /// Entity tag of the file on the server (RFC 9110, 8.8.3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Time of the last change according to the server (RFC 9110, 8.8.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Time of the transfer (RFC 3339, UTC).
    pub fetched: String,
}

impl ImageOrigin {
    /// Whether the image can be downloaded again from its source, as far as the stored data shows.
    pub fn can_be_had_again(&self) -> bool {
        // The query is not stored, because it may contain a secret. Without it the address may not work.
        ["http://", "https://"].iter().any(|scheme| self.source.starts_with(scheme))
            && !self.source.contains('?')
    }
}
