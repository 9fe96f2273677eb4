//! How the content of an image was verified when it was fetched, as its [`ImageOrigin`] notes it.

use foundry_core::origin::ImageOrigin;

use crate::transfer::{Expected, Location};

/// The list on a server by which it was verified. A digest that was given by hand says nothing about what
/// the server has by now.
pub fn find_checksum_list(origin: &ImageOrigin) -> Option<Expected> {
    let by: Expected = origin.verified_by.as_deref()?.parse().ok()?;
    matches!(by, Expected::ListedIn(Location::Url(_))).then_some(by)
}

/// The digest that somebody gave by hand.
pub fn find_pinned_digest(origin: &ImageOrigin) -> Option<&str> {
    let by = origin.verified_by.as_deref()?;
    matches!(by.parse(), Ok(Expected::Digest(_))).then_some(by)
}
