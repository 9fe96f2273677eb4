//! Deleting images.

use super::{ImageUse, Wholeness, info, notes, wholeness};
use crate::error::{Error, Kind};
use crate::operations::{Session, turn, usage};
use crate::text::shell_word;

/// Deletes an image that nobody uses; or the note on one that is gone.
///
/// Between the look and the deletion is nothing: [`create`](crate::operations::create::create) looks at its image once
/// more when all is made, so that one that slips in between finds that it is gone.
///
/// # Errors
/// [`Kind::Storage`] where there is none, where it may still be on its way, or VMs or overlays use it: those are named,
/// nothing is changed.
pub fn delete(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    if forget_orphan(session, pool, name)? {
        return Ok(());
    }
    let _turn = turn::with_image(session, pool, name);
    refuse_unfinished(session, pool, name)?;
    let found = look(session, pool, name)?;
    match users(&found) {
        None => remove(session, pool, name),
        Some(users) => Err(Error::new(Kind::Storage, format!("image '{name}' is in use by {users}"))
            .hint("destroy them first")
            .outcome("nothing was changed")),
    }
}

/// Deletes an image that VMs or overlays may lie on, and that may not be whole. Without it they are lost.
///
/// # Errors
/// [`Kind::Storage`] where there is none.
pub fn delete_used(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    if forget_orphan(session, pool, name)? {
        return Ok(());
    }
    look(session, pool, name)?;
    remove(session, pool, name)
}

/// A note goes with its image; one whose image is gone goes by its own name. Whether it was one and is gone.
fn forget_orphan(session: &Session<'_>, pool: &str, name: &str) -> Result<bool, Error> {
    let Some(image) = notes::noted_image(name) else { return Ok(false) };
    usage::refresh_all(session)?;
    if session.host.volume(pool, image)?.is_some() {
        return Err(Error::new(
            Kind::Storage,
            format!("'{name}' is no image, but the note on where '{image}' came from"),
        )
        .hint(format!("foundry image delete {} deletes both", shell_word(image)))
        .outcome("nothing was changed"));
    }
    if session.host.volume(pool, name)?.is_none() {
        return Ok(false);
    }
    notes::forget(session, pool, image).map(|()| true)
}

/// What may be on its way is not taken away from under who sends it.
fn refuse_unfinished(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    let Some(image) = session.host.volume(pool, name)? else { return Ok(()) };
    let (state, why) = match wholeness(session, &image)? {
        Wholeness::Whole => return Ok(()),
        Wholeness::Unfinished => ("is not whole", "its import was interrupted, or still goes on"),
        Wholeness::Unknown => {
            ("may not be whole", "its beginning cannot be read, and an import of it may still go on")
        }
    };
    Err(Error::new(Kind::Storage, format!("image '{name}' {state}"))
        .because(why)
        .hint(format!(
            "foundry image delete {} --pool {} --force deletes it",
            shell_word(name),
            shell_word(pool)
        ))
        .outcome("nothing was changed"))
}

fn look(session: &Session<'_>, pool: &str, name: &str) -> Result<ImageUse, Error> {
    // What was put there by hand may lie on it, too.
    usage::refresh_all(session)?;
    info(session, pool, name)
}

/// Who uses an image, as a list in a sentence.
pub(super) fn users(found: &ImageUse) -> Option<String> {
    let users: Vec<String> = if found.vms.is_empty() {
        found.overlays.iter().map(|o| format!("volume {o}")).collect()
    } else {
        found.vms.iter().map(|vm| format!("VM '{vm}'")).collect()
    };
    (!users.is_empty()).then(|| users.join(", "))
}

/// The image first: a note without an image says nothing to anybody, an image without its note has lost something.
pub(in crate::operations) fn remove(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    session.host.delete_volume(pool, name)?;
    notes::forget(session, pool, name).map_err(|e| e.outcome(format!("image '{name}' is deleted")))
}
