//! Deleting images.

use super::{ImageUse, info, notes};
use crate::error::{Error, Kind};
use crate::operations::{Session, usage};
use crate::text::shell_word;

/// Deletes an image that nobody uses.
///
/// # Errors
/// [`Kind::Storage`] where there is none, or VMs or overlays use it: those are named, nothing is changed.
pub fn delete(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    let found = look(session, pool, name)?;
    match users(&found) {
        None => remove(session, pool, name),
        Some(users) => Err(Error::new(Kind::Storage, format!("image '{name}' is in use by {users}"))
            .hint("destroy them first")
            .outcome("nothing was changed")),
    }
}

/// Deletes an image that VMs or overlays may lie on. Without it they are lost.
///
/// # Errors
/// [`Kind::Storage`] where there is none.
pub fn delete_used(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    look(session, pool, name)?;
    remove(session, pool, name)
}

fn look(session: &Session<'_>, pool: &str, name: &str) -> Result<ImageUse, Error> {
    if let Some(image) = notes::noted_image(name) {
        return Err(Error::new(
            Kind::Storage,
            format!("'{name}' is no image, but the note on where '{image}' came from"),
        )
        .hint(format!("foundry image delete {} deletes both", shell_word(image)))
        .outcome("nothing was changed"));
    }
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
pub(super) fn remove(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    session.host.delete_volume(pool, name)?;
    notes::forget(session, pool, name).map_err(|e| e.outcome(format!("image '{name}' is deleted")))
}
