//! Reads from an [`ImageOrigin`] how an image was verified.

use foundry_core::origin::ImageOrigin;

use crate::transfer::{Expected, Location};

/// Returns the checksum file on a server that the image was verified with. A given digest does not show what the server
/// has now.
pub fn find_checksum_list(origin: &ImageOrigin) -> Option<Expected> {
    let by: Expected = origin.verified_by.as_deref()?.parse().ok()?;
    matches!(by, Expected::ListedIn(Location::Url(_))).then_some(by)
}

/// Returns the digest that the user gave.
pub fn find_pinned_digest(origin: &ImageOrigin) -> Option<&str> {
    let by = origin.verified_by.as_deref()?;
    matches!(by.parse(), Ok(Expected::Digest(_))).then_some(by)
}
