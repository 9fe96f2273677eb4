//! Images, from which boot disks are made.

mod delete;
mod export;
mod fetch;
mod import;
mod notes;
mod outdated;
mod prune;
mod pull;
mod room;
mod upload_marker;

pub use delete::{delete_image, delete_image_in_use};
pub use export::export_image;
pub use fetch::Fetch;
pub use import::{EXTENSIONS, ImageSource, image_extension, import_image};
pub use notes::check_length;
pub use outdated::{Age, Freshness, find_outdated};
pub use prune::{UnusedImage, find_unused, prune_images};
pub use pull::{PullRequest, Pulled, pull_image};

pub use crate::preflight::image::ImageState;
pub(crate) use delete::remove_with_note;
pub(crate) use notes::{
    NoteContent, delete_note as forget_note, note_content, noted_image, read_beside as origin_beside,
};
pub(crate) use upload_marker::{PartialImage, read_partial_image};

use crate::Context;
use crate::preflight::image;
use crate::preflight::image::{NameMatch, ambiguous_name};
use crate::preflight::storage::{PoolNeed, ReadyPool};
use crate::storage::backend::PoolBackend;
use crate::storage::usage::Usage;
use crate::vm::create::ensure_pool;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::origin::ImageOrigin;
use foundry_core::record::VolumeRef;
use foundry_host::{Pool, Volume};

/// The name of an active pool; a default pool is made and an inactive one started.
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

/// One of foundry's own that does not start with the host is one whose making was broken off.
fn is_ready(context: &Context, pool: &Pool) -> bool {
    let is_own = || context.settings.default_target(&pool.name, context.host.uri()) == pool.target;
    pool.active && (pool.autostart || !is_own())
}

/// An image is its bytes under a name that says what they are, beside a note on where they came from.
fn no_files(pool: &Pool) -> Error {
    Error::new(
        Code::PoolUnfit,
        format!("pool '{}' is of type {}, and images are files", pool.name, pool.kind),
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

/// The images of a pool; none where the default one was not made yet. Changes nothing.
///
/// # Errors
/// The host's; [`foundry_core::error::Kind::Storage`] where a pool that is not the default one is missing, or the pool is not started:
/// libvirt shows nothing of such a one, which does not mean that nothing is there.
pub fn list_images(context: &Context, pool: &str) -> Result<Vec<Volume>, Error> {
    match context.host.pool(pool)? {
        Some(found) if found.active => {
            let mut volumes = context.host.volumes(pool)?;
            volumes.retain(|volume| notes::noted_image(&volume.name).is_none());
            volumes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(volumes)
        }
        Some(_) => Err(Error::new(Code::PoolInactive, format!("pool '{pool}' is not started"))
            .because("what is in it cannot be seen")
            .hint(Verb::PoolStart { pool: pool.into() })),
        None if context.settings.default_target(pool, context.host.uri()).is_some() => Ok(Vec::new()),
        None => Err(no_pool(context, pool)?),
    }
}

/// Whether an image is whole, by its beginning.
///
/// # Errors
/// A connection that is lost.
pub fn image_state(context: &Context, image: &Volume) -> Result<ImageState, Error> {
    image::image_state(context, image)
}

/// Whether an import of that image surely was broken off by a kill, or still goes on.
///
/// # Errors
/// A connection that is lost.
pub fn is_unfinished(context: &Context, image: &Volume) -> Result<bool, Error> {
    Ok(image_state(context, image)? == ImageState::Incomplete)
}

/// An image and who uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The image.
    pub volume: Volume,
    /// Where it came from, where that was noted.
    pub origin: Option<ImageOrigin>,
    /// Names of the VMs whose disks are or lie on it.
    pub vms: Vec<String>,
    /// Volumes that lie on it, as `pool/name`.
    pub overlays: Vec<String>,
}

/// Looks at an image and at everybody who uses it.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] where there is no such image.
pub fn image_info(context: &Context, image: &VolumeRef) -> Result<ImageUse, Error> {
    let Some(volume) = context.host.volume(image)? else {
        return Err(no_image(context, image)?);
    };
    let origin = notes::read_origin(context, image)?;
    // Last, so that it is as fresh as can be for who deletes the image after it.
    let usage = Usage::collect(context, None)?;
    let mut users = usage.users_of(image, &volume.path);
    let recorder = usage.recording_domain(image).filter(|vm| !users.vms.contains(vm));
    users.vms.extend(recorder);
    let overlays = users.overlays.into_iter().map(|o| o.reference().to_argument()).collect();
    Ok(ImageUse { volume, origin, vms: users.vms, overlays })
}

/// Where an image came from, where that was noted.
///
/// # Errors
/// A connection that is lost.
pub fn image_origin(context: &Context, image: &VolumeRef) -> Result<Option<ImageOrigin>, Error> {
    notes::read_origin(context, image)
}

/// The name of the image that is meant: the given one; or the only one that has an extension beside, as `debian-12` is
/// for `debian-12.qcow2`. One that is not there stays as it is.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] where several may be meant.
pub fn resolve_name(context: &Context, pool: &str, name: &str) -> Result<String, Error> {
    match image::match_name(context, pool, name)? {
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
    let bring = image::fetch_command(context, name, other);
    Ok(error.hint(Advice::from(near).and_then("; ", bring).text(" brings it")))
}
