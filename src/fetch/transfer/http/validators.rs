//! The headers that identify a version of a file (RFC 9110, 8.8).

use serde::{Deserialize, Serialize};
use ureq::http::HeaderMap;

use super::super::url::Url;

/// Maximum length of a validator in bytes. Usual ones have less than a hundred. They are stored with the image and sent
/// back with each request.
const LONGEST: usize = 1024;

/// The version of a file on a server, as the server identifies it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validators {
    /// Entity tag with its quotes, and with `W/` if it is weak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Date of the last change, as the server wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// A file on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Length in bytes, if the server reports it.
    pub length: Option<u64>,
    /// Headers that identify this version of the file.
    pub validators: Validators,
    /// URL after all redirects.
    pub found_at: Url,
}

impl Validators {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { etag: text("etag"), last_modified: text("last-modified") }.only_usable()
    }

    /// Keeps only the validators that can be stored and sent.
    pub(super) fn only_usable(self) -> Self {
        let usable = |text: &String| text.len() <= LONGEST && !text.chars().any(char::is_control);
        Self { etag: self.etag.filter(usable), last_modified: self.last_modified.filter(usable) }
    }

    /// Whether there is no validator.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Returns the tag if it is strong. A weak tag does not mean that the bytes are the same.
    fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }

    /// Whether a download can be resumed with them.
    pub(in super::super) fn can_resume(&self) -> bool {
        self.for_range().is_some()
    }

    /// Returns the value for `If-Range`, so the server sends a part only if the file is the same.
    pub(super) fn for_range(&self) -> Option<&str> {
        self.strong_etag().or(self.last_modified.as_deref())
    }

    /// Whether both are for the same bytes: their strong tags are equal or, if one has none, their dates.
    pub(super) fn same_bytes(&self, other: &Self) -> bool {
        match (self.strong_etag(), other.strong_etag()) {
            (Some(a), Some(b)) => a == b,
            _ => self.last_modified.is_some() && self.last_modified == other.last_modified,
        }
    }

    /// Whether nothing shows that they are for different files.
    pub(super) fn may_be_same(&self, other: &Self) -> bool {
        let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        agree(&self.etag, &other.etag)
            && (self.etag == other.etag || agree(&self.last_modified, &other.last_modified))
    }

    /// Whether the file is unchanged. Weak tags are sufficient (RFC 9110, 13.1.2).
    pub(super) fn is_unchanged(&self, now: &Self) -> bool {
        let tag = |v: &Self| v.etag.as_deref().map(|etag| etag.trim_start_matches("W/").to_owned());
        match (tag(self), tag(now)) {
            (Some(a), Some(b)) => a == b,
            _ => self.last_modified.is_some() && self.last_modified == now.last_modified,
        }
    }
}
