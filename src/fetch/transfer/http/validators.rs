//! The headers that identify a version of a file (RFC 9110, 8.8).

use serde::{Deserialize, Serialize};
use ureq::http::HeaderMap;

/// The longest of them that is taken, in bytes. Real ones have less than a hundred; they are kept with the image and
/// sent back with each question.
const LONGEST: usize = 1024;

/// The version of a file on a server, by the server's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validators {
    /// The entity tag, with its quotes and, if it is a weak one, `W/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The date of the last change, as the server wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Validators {
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { etag: text("etag"), last_modified: text("last-modified") }.only_usable()
    }

    /// Those of them that can be kept and sent: the others are as good as not there.
    pub(super) fn only_usable(self) -> Self {
        let usable = |text: &String| text.len() <= LONGEST && !text.chars().any(char::is_control);
        Self { etag: self.etag.filter(usable), last_modified: self.last_modified.filter(usable) }
    }

    /// Whether there is nothing to recognize a file by.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// A weak tag says that two files mean the same, not that they are the same bytes.
    fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }

    /// Whether a download can be gone on with by them.
    pub(in super::super) fn can_resume(&self) -> bool {
        self.for_range().is_some()
    }

    /// What is sent as `If-Range`, so that only a part of the very same file comes.
    pub(super) fn for_range(&self) -> Option<&str> {
        self.strong_etag().or(self.last_modified.as_deref())
    }

    /// Whether both are of the same bytes: by their strong tags where both have one, else by their dates.
    pub(super) fn same_bytes(&self, other: &Self) -> bool {
        match (self.strong_etag(), other.strong_etag()) {
            (Some(a), Some(b)) => a == b,
            _ => self.last_modified.is_some() && self.last_modified == other.last_modified,
        }
    }

    /// Whether nothing in them says that they are of different files.
    pub(super) fn may_be_same(&self, other: &Self) -> bool {
        let agree = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
        agree(&self.etag, &other.etag)
            && (self.etag == other.etag || agree(&self.last_modified, &other.last_modified))
    }

    /// Whether nothing changed since: weak tags suffice (RFC 9110, 13.1.2).
    pub(super) fn is_unchanged(&self, now: &Self) -> bool {
        let tag = |v: &Self| v.etag.as_deref().map(|etag| etag.trim_start_matches("W/").to_owned());
        match (tag(self), tag(now)) {
            (Some(a), Some(b)) => a == b,
            _ => self.last_modified.is_some() && self.last_modified == now.last_modified,
        }
    }
}
