//! Deletes all unused images.

use super::{ImageState, delete_image, image_state, list_images, notes};
use crate::Context;
use crate::storage::usage::Usage;
use crate::storage::{file_locks, usage};
use foundry_core::error::Error;
use foundry_core::origin::ImageOrigin;
use foundry_host::Volume;

/// An image that is unused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedImage {
    /// The volume that holds the image.
    pub image: Volume,
    /// Its origin, from which it can be pulled again.
    pub origin: Option<ImageOrigin>,
}

/// The images of a pool that no VM and no overlay uses. Images without a recorded URL cannot be pulled again and are
/// included only if `all`. Skips an image that may be incomplete, because its import may still be running, and one that
/// a program holds open.
///
/// # Errors
/// As [`list_images`].
pub fn find_unused(context: &Context, pool: &str, all: bool) -> Result<Vec<UnusedImage>, Error> {
    usage::refresh_pools(context)?;
    let usage = Usage::collect(context, None)?;
    let mut found = Vec::new();
    for image in list_images(context, pool)? {
        if usage.reason_if_used(&image).is_some()
            || file_locks::reason_if_locked(context, &image.path).is_some()
            || image_state(context, &image)? != ImageState::Complete
        {
            continue;
        }
        let origin = notes::read_origin(context, &image.reference())?;
        if all || origin.as_ref().is_some_and(ImageOrigin::can_be_had_again) {
            found.push(UnusedImage { image, origin });
        }
    }
    Ok(found)
}

/// Deletes images that [`find_unused`] found, each only if it is still unused. Calls `gone` for each deleted image.
///
/// # Errors
/// As [`delete_image`], for the first image that cannot be deleted. Images before it are already deleted.
pub fn prune_images(
    context: &Context,
    images: &[UnusedImage],
    mut gone: impl FnMut(&Volume),
) -> Result<(), Error> {
    for UnusedImage { image, .. } in images {
        context.cancel.check()?;
        delete_image(context, &image.reference())?;
        gone(image);
    }
    Ok(())
}
