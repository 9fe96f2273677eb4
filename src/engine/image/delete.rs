//! Deletes images.

use super::{ImageState, ImageUse, image_info, image_state, notes};
use crate::storage::{file_locks, usage};
use crate::warm::delete_companions;
use crate::{Context, lock};
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::record::VolumeRef;

/// Deletes an unused image. If `image` names the note of an image that no longer exists, deletes that note.
///
/// The image stays locked from the check to the deletion, and creating a VM takes the same lock. A foundry on another
/// machine does not see the lock; its [`create_vm`](crate::vm::create::create_vm) therefore checks its image again
/// after everything is created.
///
/// # Errors
/// [`Kind::Storage`] if there is no such image, if its import may still be running, if VMs or overlays use it or a
/// program holds it open, or if another foundry works on it. Nothing is changed then.
pub fn delete_image(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    if forget_orphan(context, image)? {
        return Ok(());
    }
    // Volumes created by hand may be overlays of it. A refresh can take a while, so it is done before the lock is
    // taken.
    usage::refresh_pools(context)?;
    let _lock = lock::lock_image(context, image).map_err(|e| e.unchanged())?;
    refuse_unfinished(context, image)?;
    let found = image_info(context, image)?;
    refuse_used(context, &found)?;
    remove_with_note(context, image)
}

fn refuse_used(context: &Context, found: &ImageUse) -> Result<(), Error> {
    let name = &found.volume.name;
    if let Some(users) = list_users(found) {
        return Err(Error::new(Code::ImageInUse, format!("image '{name}' is in use by {users}"))
            .hint(until_unused(found))
            .unchanged());
    }
    match file_locks::reason_if_locked(context, &found.volume.path) {
        None => Ok(()),
        Some(reason) => Err(Error::new(Code::ImageInUse, format!("image '{name}' may be in use"))
            .because(reason)
            .hint(Advice::from("if nobody needs it: ").run(forced_delete(&found.volume.reference())))
            .unchanged()),
    }
}

/// The hint for an image in use. Its users have disks of their own that would be deleted with them, so the hint never
/// advises deleting them.
fn until_unused(found: &ImageUse) -> String {
    let who = match (found.vms.as_slice(), found.overlays.as_slice()) {
        ([_], _) => "that VM needs it as long as it exists",
        ([], [_]) => "that volume needs it as long as it exists",
        ([], _) => "those volumes need it as long as they exist",
        _ => "those VMs need it as long as they exist",
    };
    format!("keep the image: {who}; a newer image can be pulled beside it with --name")
}

/// Deletes an image even if VMs or overlays use it, or it is incomplete. Disks on top of it are lost.
///
/// # Errors
/// [`Kind::Storage`] if there is no such image.
pub fn delete_image_in_use(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    if forget_orphan(context, image)? {
        return Ok(());
    }
    usage::refresh_pools(context)?;
    image_info(context, image)?;
    remove_with_note(context, image)
}

/// The command that deletes the image even if it is in use or incomplete.
fn forced_delete(image: &VolumeRef) -> Verb {
    Verb::ImageDelete { image: image.name.clone(), pool: Some(image.pool.clone()), force: true }
}

/// Deletes `note` if it is the note of an image that no longer exists. Returns whether it was one.
fn forget_orphan(context: &Context, note: &VolumeRef) -> Result<bool, Error> {
    let Some(image) = notes::noted_image(&note.name) else { return Ok(false) };
    let noted = note.sibling(image);
    usage::refresh_pools(context)?;
    if context.host.volume(&noted)?.is_some() {
        return Err(Error::new(
            Kind::Storage,
            format!("'{}' is not an image: it records where '{image}' came from", note.name),
        )
        .hint(
            Advice::from(Verb::ImageDelete { image: image.into(), pool: None, force: false })
                .text(" deletes both"),
        )
        .unchanged());
    }
    if context.host.volume(note)?.is_none() {
        return Ok(false);
    }
    notes::delete_note(context, &noted).map(|()| true)
}

/// Refuses an image that an import may still be writing.
fn refuse_unfinished(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    let Some(volume) = context.host.volume(image)? else { return Ok(()) };
    let (state, why) = match image_state(context, &volume)? {
        ImageState::Complete => return Ok(()),
        ImageState::Incomplete => ("is incomplete", "its import was interrupted or is still running"),
        ImageState::Unknown => {
            ("may be incomplete", "its header cannot be read, and an import of it may still be running")
        }
    };
    Err(Error::new(Code::ImageIncomplete, format!("image '{}' {state}", image.name))
        .because(why)
        .hint(Advice::from(forced_delete(image)).text(" deletes it"))
        .unchanged())
}

/// The users of an image, as a list for a sentence.
pub(crate) fn list_users(found: &ImageUse) -> Option<String> {
    let users: Vec<String> = if found.vms.is_empty() {
        found.overlays.iter().map(|o| format!("volume {o}")).collect()
    } else {
        found.vms.iter().map(|vm| format!("VM '{vm}'")).collect()
    };
    (!users.is_empty()).then(|| users.join(", "))
}

/// Deletes an image, then what belongs to a warm image, then its note. In this order an interruption leaves only a useless note, never an image without
/// its origin.
pub(crate) fn remove_with_note(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    context.host.delete_volume(image)?;
    delete_companions(context, image)?;
    notes::delete_note(context, image).map_err(|e| e.outcome(format!("image '{}' is deleted", image.name)))
}
