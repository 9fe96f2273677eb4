//! Images: what VMs' boot disks are made from.

use std::io::Read;

use super::create::{Interruptible, ensure_pool};
use super::medium::Medium;
use super::storage_preflight::{PoolNeed, ReadyPool};
use super::usage::Usage;
use super::{Event, Progress, Session, image_preflight, usage};
use crate::disk_image::{self, DiskImage};
use crate::error::{Error, Kind};
use crate::host::{HostError, Pool, Volume};
use crate::names::VolumeName;
use crate::storage_xml::{self, VolumeSpec};
use crate::text::shell_word;
use crate::units::Bytes;

/// An image to be imported: its content and what is known of it beforehand.
pub struct Source<'a> {
    /// Where it is from, for messages.
    pub from: String,
    /// Its bytes, from the first.
    pub content: &'a mut dyn Read,
    /// How many there are.
    pub length: u64,
}

/// Imports an image into a pool, which is made if it is the default one and missing. A name without an
/// extension gets the one that the content calls for.
///
/// # Errors
/// [`Kind::Storage`] where it is no image, its name does not fit its format, or the name is taken; then
/// nothing was changed. Where the upload fails, the volume is removed again.
pub fn import(
    session: &Session<'_>,
    pool: &str,
    name: &VolumeName,
    source: Source<'_>,
) -> Result<Volume, Error> {
    session.progress.tell(Event::Begins(format!("Importing image '{name}'...")));
    let mut head = Vec::new();
    source
        .content
        .take(disk_image::HEADER_LENGTH)
        .read_to_end(&mut head)
        .map_err(|e| unreadable(&source.from, &e))?;
    let name = &fitting_name(name, &source.from, &head)?;
    let pool = writable_pool(session, pool)?;
    if session.host.volume(&pool, name.as_str())?.is_some() {
        return Err(Error::new(Kind::Storage, format!("image '{name}' exists in pool '{pool}'"))
            .hint(format!("foundry image delete {} removes it", shell_word(name.as_str())))
            .outcome("nothing was changed"));
    }
    check_room(session, &pool, source.length)?;
    upload(session, &pool, name, Parts { head: &head, rest: source.content, length: source.length })?;
    session.done("Image imported");
    found(session, &pool, name)
}

fn unreadable(from: &str, error: &std::io::Error) -> Error {
    Error::new(Kind::Storage, format!("cannot read {from}"))
        .because(error.to_string())
        .outcome("nothing was changed")
}

/// Extensions of disk images; anything else behind a dot is part of the name (`debian-12.5`).
const EXTENSIONS: [&str; 7] = ["qcow2", "raw", "img", "vmdk", "vdi", "vhd", "vhdx"];

/// The name must end as the content is, so that a name never lies.
fn fitting_name(name: &VolumeName, from: &str, head: &[u8]) -> Result<VolumeName, Error> {
    let refused = |cause: String| {
        Error::new(Kind::Storage, format!("{from} cannot be an image"))
            .because(cause)
            .outcome("nothing was changed")
    };
    let image = disk_image::probe(head).map_err(|e| refused(e.to_string()))?;
    if let Some(reason) = image.refusal() {
        return Err(refused(reason));
    }
    let right = if matches!(image, DiskImage::Qcow2(_)) { "qcow2" } else { "raw" };
    match name.as_str().rsplit_once('.').filter(|(_, end)| EXTENSIONS.contains(end)) {
        Some((_, end)) if end == right => Ok(name.clone()),
        None => format!("{name}.{right}").parse().map_err(|e| refused(format!("its name {e}"))),
        Some((stem, _)) => Err(Error::new(Kind::Storage, format!("'{name}' is not a name for this image"))
            .because(format!("{from} is {image}, and the names of such images end in .{right}"))
            .hint(format!("call it {stem}.{right}"))
            .outcome("nothing was changed")),
    }
}

/// The name of an active pool; a default pool is made and an inactive one started.
pub(super) fn writable_pool(session: &Session<'_>, name: &str) -> Result<String, Error> {
    let (target, need) = match session.host.pool(name)? {
        Some(pool) if Medium::of(&pool.kind) != Some(Medium::Files) => return Err(no_files(&pool)),
        Some(pool) if pool.active => return Ok(pool.name),
        Some(pool) => (pool.target.unwrap_or_default(), PoolNeed::Start),
        None => match session.settings.default_target(name, session.host.uri()) {
            Some(target) => (target, PoolNeed::Make),
            None => return Err(no_pool(session, name)?),
        },
    };
    ensure_pool(session, &ReadyPool { name: name.to_owned(), target, need })?;
    Ok(name.to_owned())
}

/// What an image is imported into: its bytes as they are, with the name that says what they are.
fn no_files(pool: &Pool) -> Error {
    Error::new(Kind::Storage, format!("pool '{}' is of type {}, and images are files", pool.name, pool.kind))
        .hint("import it into a pool of type dir, fs or netfs")
        .outcome("nothing was changed")
}

pub(super) fn no_pool(session: &Session<'_>, name: &str) -> Result<Error, Error> {
    let known: Vec<String> = session.host.pools()?.into_iter().map(|p| p.name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Ok(Error::new(Kind::Storage, format!("there is no pool '{name}'"))
        .hint(super::preflight::alternatives(name, &known)))
}

fn check_room(session: &Session<'_>, pool: &str, length: u64) -> Result<(), Error> {
    // What libvirt knows is from its last look.
    usage::refresh(session, pool)?;
    let available = session.host.pool(pool)?.map_or(Bytes(0), |p| p.available);
    if available.0 >= length {
        return Ok(());
    }
    Err(Error::new(
        Kind::Storage,
        format!("pool '{pool}' has {available} left; the image needs {}", Bytes(length)),
    )
    .outcome("nothing was changed"))
}

/// An image on its way.
struct Parts<'a> {
    /// Its first bytes, by which it is an image.
    head: &'a [u8],
    /// Those behind.
    rest: &'a mut dyn Read,
    /// How many there are in all.
    length: u64,
}

/// The volume takes its whole size at once: a full disk must be found when it is made, because a write
/// that fails inside the upload ends libvirtd 11.3.
fn upload(session: &Session<'_>, pool: &str, name: &VolumeName, parts: Parts<'_>) -> Result<(), Error> {
    let size = Bytes(parts.length);
    let spec = VolumeSpec {
        name: name.to_string(),
        format: "raw".into(),
        capacity: size,
        allocation: size,
        backing: None,
    };
    let xml = storage_xml::volume(&spec).map_err(|e| Error::new(Kind::Storage, e.to_string()))?;
    if let Err(failed) = session.host.create_volume(pool, &xml) {
        return Err(doubt(session, pool, name, failed));
    }
    let sent = send(session, pool, name, parts);
    // What a guest sees of it is known only after libvirt has looked into it again.
    let Err(failed) = sent.and_then(|()| session.host.refresh_pool(pool)) else { return Ok(()) };
    let error = Error::from(failed);
    Err(match session.host.delete_volume(pool, name.as_str()) {
        Ok(()) => error.outcome("the volume is removed again"),
        Err(left) => {
            error.outcome(format!("left behind: volume '{name}' in pool '{pool}' ({})", Error::from(left)))
        }
    })
}

/// The beginning goes last. Volumes cannot be renamed, so that an import that is killed leaves a part of
/// the image under its name; without a beginning nobody takes that for an image.
fn send(session: &Session<'_>, pool: &str, name: &VolumeName, parts: Parts<'_>) -> Result<(), HostError> {
    let Parts { head, rest, length } = parts;
    let head_length = length.min(disk_image::HEADER_LENGTH);
    let behind = length - head_length;
    let counted = |content, done| Interruptible {
        content: Counted { content, done, total: length, progress: session.progress },
        cancel: session.cancel,
    };
    if behind > 0 {
        session.host.upload(pool, name.as_str(), &mut counted(rest, 0), head_length, behind)?;
    }
    let mut head = head;
    session.host.upload(pool, name.as_str(), &mut counted(&mut head, behind), 0, head_length)
}

/// A call that failed may have made the volume all the same. It was absent before; now it may be anybody's.
fn doubt(session: &Session<'_>, pool: &str, name: &VolumeName, failed: HostError) -> Error {
    let absent = !failed.outcome_unknown() && matches!(session.host.volume(pool, name.as_str()), Ok(None));
    let error = Error::from(failed);
    if absent {
        return error;
    }
    error
        .outcome(format!("left behind: volume '{name}' in pool '{pool}' (it may exist)"))
        .outcome(format!("foundry image delete {} removes it", shell_word(name.as_str())))
}

fn found(session: &Session<'_>, pool: &str, name: &VolumeName) -> Result<Volume, Error> {
    let looked = session.host.volume(pool, name.as_str());
    let there = format!("image '{name}' was imported all the same");
    looked.map_err(|e| Error::from(e).outcome(there))?.ok_or_else(|| {
        Error::new(
            Kind::Storage,
            format!("image '{name}' vanished from pool '{pool}' as soon as it was imported"),
        )
    })
}

/// Tells how much of a transfer is done.
struct Counted<'a> {
    content: &'a mut dyn Read,
    done: u64,
    total: u64,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.done += read as u64;
        self.progress.tell(Event::Bytes { done: self.done, total: self.total });
        Ok(read)
    }
}

/// The images of a pool; none where the pool is missing or not started. Changes nothing.
///
/// # Errors
/// The host's; [`Kind::Storage`] where a pool that is not the default one is missing.
pub fn list(session: &Session<'_>, pool: &str) -> Result<Vec<Volume>, Error> {
    match session.host.pool(pool)? {
        Some(found) if found.active => {
            let mut volumes = session.host.volumes(pool)?;
            volumes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(volumes)
        }
        Some(_) => Ok(Vec::new()),
        None if session.settings.default_target(pool, session.host.uri()).is_some() => Ok(Vec::new()),
        None => Err(no_pool(session, pool)?),
    }
}

/// Whether an import of that image was broken off by a kill, or still goes on.
///
/// # Errors
/// A connection that is lost.
pub fn is_unfinished(session: &Session<'_>, image: &Volume) -> Result<bool, Error> {
    image_preflight::is_unfinished(session, image)
}

/// An image and who uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The image.
    pub volume: Volume,
    /// Names of the VMs whose disks are or lie on it.
    pub vms: Vec<String>,
    /// Volumes that lie on it, as `pool/name`.
    pub overlays: Vec<String>,
}

/// Looks at an image and at everybody who uses it.
///
/// # Errors
/// [`Kind::Storage`] where there is no such image.
pub fn info(session: &Session<'_>, pool: &str, name: &str) -> Result<ImageUse, Error> {
    let Some(volume) = session.host.volume(pool, name)? else { return Err(no_image(session, pool, name)?) };
    let users = Usage::look(session, None)?.of(pool, name, &volume.path);
    let overlays = users.overlays.into_iter().map(|o| format!("{}/{}", o.pool, o.name)).collect();
    Ok(ImageUse { volume, vms: users.vms, overlays })
}

fn no_image(session: &Session<'_>, pool: &str, name: &str) -> Result<Error, Error> {
    let known: Vec<String> = list(session, pool)?.into_iter().map(|v| v.name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Ok(Error::new(Kind::Storage, format!("there is no image '{name}' in pool '{pool}'"))
        .hint(super::preflight::alternatives(name, &known)))
}

/// Deletes an image that nobody uses.
///
/// # Errors
/// [`Kind::Storage`] where there is none, or VMs or overlays use it: those are named, nothing is changed.
pub fn delete(session: &Session<'_>, pool: &str, name: &str) -> Result<(), Error> {
    // What was put there by hand may lie on it, too.
    usage::refresh_all(session)?;
    let found = info(session, pool, name)?;
    if !found.vms.is_empty() || !found.overlays.is_empty() {
        let users: Vec<String> = if found.vms.is_empty() {
            found.overlays.iter().map(|o| format!("volume {o}")).collect()
        } else {
            found.vms.iter().map(|vm| format!("VM '{vm}'")).collect()
        };
        return Err(Error::new(Kind::Storage, format!("image '{name}' is in use by {}", users.join(", ")))
            .hint("destroy them first")
            .outcome("nothing was changed"));
    }
    session.host.delete_volume(pool, name)?;
    Ok(())
}
