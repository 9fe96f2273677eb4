//! Deletes images.

use super::{ImageState, ImageUse, image_info, image_state, notes};
use crate::storage::{file_locks, usage};
use crate::{Context, lock};
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::record::VolumeRef;

/// Deletes an image that is unused; or the note on one that is gone.
///
/// Nobody defines a VM on it between the look and the deletion: that takes the same turn. A foundry of another machine
/// may; its [`create_vm`](crate::vm::create::create_vm) looks at its image once more when all is made.
///
/// # Errors
/// [`Kind::Storage`] where there is none, where it may still be on its way, where VMs or overlays use it or a program
/// holds it, or where another foundry works on it: nothing is changed then.
pub fn delete_image(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    if forget_orphan(context, image)? {
        return Ok(());
    }
    // What was put there by hand may lie on it, too. That may take a while, and so it is not done in the turn.
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

/// What would have to be before the image can go. Its users have disks of their own that would go with them, so that
/// nobody is told to take them away.
fn until_unused(found: &ImageUse) -> String {
    let who = match (found.vms.as_slice(), found.overlays.as_slice()) {
        ([_], _) => "that VM needs it as long as it is there",
        ([], [_]) => "that volume needs it as long as it is there",
        ([], _) => "those volumes need it as long as they are there",
        _ => "those VMs need it as long as they are there",
    };
    format!("keep the image: {who}; a newer image can be pulled beside it with --name")
}

/// Deletes an image that VMs or overlays may lie on, and that may not be whole. Without it they are lost.
///
/// # Errors
/// [`Kind::Storage`] where there is none.
pub fn delete_image_in_use(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    if forget_orphan(context, image)? {
        return Ok(());
    }
    usage::refresh_pools(context)?;
    image_info(context, image)?;
    remove_with_note(context, image)
}

/// The command that deletes it whatever it is.
fn forced_delete(image: &VolumeRef) -> Verb {
    Verb::ImageDelete { image: image.name.clone(), pool: Some(image.pool.clone()), force: true }
}

/// Deletes a volume that is the note on an image that is gone; returns whether it was one.
fn forget_orphan(context: &Context, note: &VolumeRef) -> Result<bool, Error> {
    let Some(image) = notes::noted_image(&note.name) else { return Ok(false) };
    let noted = note.sibling(image);
    usage::refresh_pools(context)?;
    if context.host.volume(&noted)?.is_some() {
        return Err(Error::new(
            Kind::Storage,
            format!("'{}' is no image, but the note on where '{image}' came from", note.name),
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

/// What may be on its way is not taken away from under who sends it.
fn refuse_unfinished(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    let Some(volume) = context.host.volume(image)? else { return Ok(()) };
    let (state, why) = match image_state(context, &volume)? {
        ImageState::Complete => return Ok(()),
        ImageState::Incomplete => ("is not whole", "its import was interrupted, or still goes on"),
        ImageState::Unknown => {
            ("may not be whole", "its beginning cannot be read, and an import of it may still go on")
        }
    };
    Err(Error::new(Code::ImageIncomplete, format!("image '{}' {state}", image.name))
        .because(why)
        .hint(Advice::from(forced_delete(image)).text(" deletes it"))
        .unchanged())
}

/// Who uses an image, as a list in a sentence.
pub(super) fn list_users(found: &ImageUse) -> Option<String> {
    let users: Vec<String> = if found.vms.is_empty() {
        found.overlays.iter().map(|o| format!("volume {o}")).collect()
    } else {
        found.vms.iter().map(|vm| format!("VM '{vm}'")).collect()
    };
    (!users.is_empty()).then(|| users.join(", "))
}

/// The image first: a note without an image says nothing to anybody, an image without its note has lost something.
pub(crate) fn remove_with_note(context: &Context, image: &VolumeRef) -> Result<(), Error> {
    context.host.delete_volume(image)?;
    notes::delete_note(context, image).map_err(|e| e.outcome(format!("image '{}' is deleted", image.name)))
}
