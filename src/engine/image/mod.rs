//! Images, from which boot disks are made.

mod delete;
mod export;
mod fetch;
mod file_name;
mod import;
mod incoming;
mod notes;
mod outdated;
mod prune;
mod pull;
mod room;
mod source;
mod upload_marker;

pub use delete::{delete_image, delete_image_in_use};
pub use export::export_image;
pub use fetch::Fetch;
pub use file_name::{EXTENSIONS, image_extension};
pub use import::import_image;
pub use notes::check_length;
pub use outdated::{Age, Freshness, find_outdated};
pub use prune::{UnusedImage, find_unused, prune_images};
pub use pull::{PullRequest, Pulled, pull_image};
pub use source::ImageSource;

pub use crate::preflight::image::ImageState;
pub(crate) use delete::{list_users, remove_with_note};
pub(crate) use notes::{
    NoteContent, delete_note as forget_note, note_content, noted_image, read_beside as origin_beside,
};
pub(crate) use upload_marker::{PartialImage, read_partial_image};

use crate::Context;
use crate::preflight::image;
use crate::preflight::image_name::{self, NameMatch, ambiguous_name};
use crate::preflight::storage::{PoolNeed, ReadyPool};
use crate::storage::backend::PoolBackend;
use crate::storage::usage::Usage;
use crate::vm::create::ensure_pool;
use crate::warm::warm_companion_of;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::origin::ImageOrigin;
use foundry_core::record::VolumeRef;
use foundry_host::{Pool, Volume};

/// Returns the name of an active pool for images. Creates a missing default pool and starts an inactive one.
pub(crate) fn writable_pool(context: &Context, name: &str) -> Result<String, Error> {
    let (target, need) = match context.host.pool(name)? {
        Some(pool) if PoolBackend::of(&pool.kind) != Some(PoolBackend::Files) => return Err(no_files(&pool)),
        Some(pool) if is_ready(context, &pool) => return Ok(pool.name),
        Some(pool) => (pool.target.unwrap_or_default(), PoolNeed::Start),
        None => match context.settings.default_target(name, context.host.uri()) {
            Some(target) => (target, PoolNeed::Make),
            None => return Err(no_pool(context, name)?),
        },
    };
    ensure_pool(context, &ReadyPool { name: name.to_owned(), target, need })?;
    Ok(name.to_owned())
}

/// A default pool without autostart is one whose creation was interrupted, so it is not ready.
fn is_ready(context: &Context, pool: &Pool) -> bool {
    let is_own = || context.settings.default_target(&pool.name, context.host.uri()) == pool.target;
    pool.active && (pool.autostart || !is_own())
}

/// Refuses a pool that does not hold files: an image is a file whose name gives its format, beside a note on its
/// origin.
fn no_files(pool: &Pool) -> Error {
    Error::new(
        Code::PoolUnfit,
        format!("pool '{}' is of type {}, but images need a pool of files", pool.name, pool.kind),
    )
    .hint("import it into a pool of type dir, fs or netfs")
    .unchanged()
}

pub(crate) fn no_pool(context: &Context, name: &str) -> Result<Error, Error> {
    let known: Vec<String> = context.host.pools()?.into_iter().map(|p| p.name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Ok(Error::new(Code::PoolMissing, format!("there is no pool '{name}'"))
        .hint(crate::preflight::suggest_names(name, &known)))
}

/// The images of a pool; none if the default pool does not exist yet. Changes nothing.
///
/// # Errors
/// The host's; [`foundry_core::error::Kind::Storage`] if a pool other than the default one is missing, or if the pool
/// is inactive: libvirt shows no volumes of an inactive pool, which does not mean that it is empty.
pub fn list_images(context: &Context, pool: &str) -> Result<Vec<Volume>, Error> {
    match context.host.pool(pool)? {
        Some(found) if found.active => {
            let mut volumes = context.host.volumes(pool)?;
            let is_beside =
                |name: &str| notes::noted_image(name).or_else(|| warm_companion_of(name)).is_some();
            volumes.retain(|volume| !is_beside(&volume.name));
            volumes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(volumes)
        }
        Some(_) => Err(Error::new(Code::PoolInactive, format!("pool '{pool}' is not started"))
            .because("the volumes of an inactive pool cannot be listed")
            .hint(Verb::PoolStart { pool: pool.into() })),
        None if context.settings.default_target(pool, context.host.uri()).is_some() => Ok(Vec::new()),
        None => Err(no_pool(context, pool)?),
    }
}

/// Whether an image is complete, judged by its header.
///
/// # Errors
/// The connection is lost.
pub fn image_state(context: &Context, image: &Volume) -> Result<ImageState, Error> {
    image::image_state(context, image)
}

/// Whether the import of this image was certainly interrupted, or still runs.
///
/// # Errors
/// The connection is lost.
pub fn is_unfinished(context: &Context, image: &Volume) -> Result<bool, Error> {
    Ok(image_state(context, image)? == ImageState::Incomplete)
}

/// An image and its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The volume that holds the image.
    pub volume: Volume,
    /// Its origin, if recorded.
    pub origin: Option<ImageOrigin>,
    /// Names of the VMs whose disks are this image or overlays of it.
    pub vms: Vec<String>,
    /// Overlays of it, as `pool/name`.
    pub overlays: Vec<String>,
}

/// Returns an image with its origin and its users.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if there is no such image.
pub fn image_info(context: &Context, image: &VolumeRef) -> Result<ImageUse, Error> {
    let Some(volume) = context.host.volume(image)? else {
        return Err(no_image(context, image)?);
    };
    let origin = notes::read_origin(context, image)?;
    // Collected last, so that it is as fresh as possible for a caller that deletes the image next.
    let usage = Usage::collect(context, None)?;
    let mut users = usage.users_of(image, &volume.path);
    let recorder = usage.recording_domain(image).filter(|vm| !users.vms.contains(vm));
    users.vms.extend(recorder);
    let overlays = users.overlays.into_iter().map(|o| o.reference().to_argument()).collect();
    Ok(ImageUse { volume, origin, vms: users.vms, overlays })
}

/// The origin of an image, if recorded.
///
/// # Errors
/// The connection is lost.
pub fn image_origin(context: &Context, image: &VolumeRef) -> Result<Option<ImageOrigin>, Error> {
    notes::read_origin(context, image)
}

/// Resolves an image name: the given one, or the only image that has it plus an extension, as `debian-12` is for
/// `debian-12.qcow2`. Returns an unknown name unchanged.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if several images match.
pub fn resolve_name(context: &Context, pool: &str, name: &str) -> Result<String, Error> {
    match image_name::match_name(context, pool, name)? {
        NameMatch::One(volume) => Ok(volume.name),
        NameMatch::Nothing => Ok(name.to_owned()),
        NameMatch::Several(names) => Err(Error::new(Code::ImageMissing, ambiguous_name(pool, name, &names))
            .hint("give the name with its extension")
            .unchanged()),
    }
}

fn no_image(context: &Context, VolumeRef { pool, name }: &VolumeRef) -> Result<Error, Error> {
    let known: Vec<String> = list_images(context, pool)?.into_iter().map(|v| v.name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let error = Error::new(Code::ImageMissing, format!("there is no image '{name}' in pool '{pool}'"));
    let near = crate::preflight::suggest_names(name, &known);
    if !context
        .settings
        .catalogue_has(image_extension(name).map_or(name, |end| &name[..name.len() - end.len() - 1]))
    {
        return Ok(error.hint(near));
    }
    let other = (pool != context.settings.image_pool.as_str()).then_some(pool.as_str());
    let bring = image_name::fetch_command(context, name, other);
    Ok(error.hint(Advice::from(near).and_then("; ", bring).text(" downloads it")))
}
