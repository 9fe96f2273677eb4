//! Deletes all unused images.

use super::{Wholeness, delete, list, notes, wholeness};
use crate::Context;
use crate::storage::usage::Usage;
use crate::storage::{file_locks, usage};
use foundry_core::error::Error;
use foundry_core::origin::ImageOrigin;
use foundry_host::Volume;

/// An image that is unused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispensable {
    /// The image.
    pub image: Volume,
    /// Where it can be had again.
    pub origin: Option<ImageOrigin>,
}

/// The images of a pool that no VM and no overlay uses. Those that cannot be had again, because nobody noted
/// a URL, only if `all` are asked for. One that is not surely whole may be on its way: it is left alone, as is one
/// that a program holds.
///
/// # Errors
/// As [`list`].
pub fn dispensable(context: &Context, pool: &str, all: bool) -> Result<Vec<Dispensable>, Error> {
    usage::refresh_all(context)?;
    let usage = Usage::look(context, None)?;
    let mut found = Vec::new();
    for image in list(context, pool)? {
        if usage.reason(&image).is_some()
            || file_locks::reason(context, &image.path).is_some()
            || wholeness(context, &image)? != Wholeness::Whole
        {
            continue;
        }
        let origin = notes::read(context, pool, &image.name)?;
        if all || origin.as_ref().is_some_and(ImageOrigin::can_be_had_again) {
            found.push(Dispensable { image, origin });
        }
    }
    Ok(found)
}

/// Deletes images that [`dispensable`] found, each only if still nobody uses it. Names those that went.
///
/// # Errors
/// As [`delete`], at the first that cannot go; what went before is gone.
pub fn prune(context: &Context, images: &[Dispensable], mut gone: impl FnMut(&Volume)) -> Result<(), Error> {
    for Dispensable { image, .. } in images {
        context.cancel.check()?;
        delete(context, &image.pool, &image.name)?;
        gone(image);
    }
    Ok(())
}
