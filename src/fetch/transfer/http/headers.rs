//! Reads the headers of responses.

use ureq::http::HeaderMap;

/// Returns the length of the content. With chunked encoding, the header is ignored (RFC 9112, 6.3).
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key("transfer-encoding") {
        return None;
    }
    headers.get("content-length")?.to_str().ok()?.trim().parse().ok()
}

/// Parses `bytes 5-9/10`, `bytes 5-9/*` and `bytes */10`: the first byte, and the total length.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let (range, length) =
        headers.get("content-range")?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-').and_then(|(first, _)| first.trim().parse().ok());
    Some((first, length.trim().parse().ok()))
}

pub(super) fn status_text(status: u16) -> String {
    let reason = ureq::http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"))
}
