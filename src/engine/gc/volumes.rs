//! Finds unused volumes: partial images, origin notes of deleted images, and volumes of unknown origin.

use std::collections::BTreeSet;

use super::{CleanupStep, Leftover, LeftoverKind, reason_if_busy};
use crate::image::{NoteContent, PartialImage};
use crate::storage::usage::{Usage, VolumeUse};
use crate::storage::{file_locks, usage};
use crate::warm::WarmLeftover;
use crate::{Context, image, warm};
use foundry_core::error::{Advice, Error, Verb};
use foundry_core::names::VolumeNameParts;
use foundry_core::record::{Maker, Record, VolumeRef};
use foundry_host::{Domain, Pool, Volume};

/// The pools that foundry uses: the two in the settings, and those that records name.
pub(super) fn pools_in_use(context: &Context, domains: &[Domain]) -> Vec<String> {
    let records: Vec<Record> = domains.iter().filter_map(Domain::own_record).collect();
    let recorded = records.iter().flat_map(Record::all_volumes).map(|v| v.pool.clone());
    let own = [context.settings.vm_pool.to_string(), context.settings.image_pool.to_string()];
    let all: BTreeSet<String> = own.into_iter().chain(recorded).collect();
    all.into_iter().collect()
}

/// The pools among these whose volumes cannot be listed, and why.
pub(super) fn unseen_pools(context: &Context, pools: &[String]) -> Result<Vec<Advice>, Error> {
    let told = |pool: Pool| {
        let name = &pool.name;
        if !pool.active {
            let stopped = Advice::from(format!("pool '{name}' is not started: "));
            return Some(stopped.run(Verb::PoolStart { pool: name.clone() }));
        }
        let target = pool.target.clone().filter(|_| usage::is_directory_away(context, &pool))?;
        Some(format!("pool '{name}': its directory {target} is missing").into())
    };
    let listed = context.host.pools()?.into_iter().filter(|pool| pools.contains(&pool.name));
    Ok(listed.filter_map(told).collect())
}

pub(super) fn find_volumes(
    context: &Context,
    pools: &[String],
    usage: &Usage,
) -> Result<Vec<Leftover>, Error> {
    let mut found = Vec::new();
    for (volume, part) in usage.volume_uses() {
        let is_free = part == VolumeUse::Unused && usage.reason_if_used(volume).is_none();
        if is_free && pools.contains(&volume.pool) {
            found.extend(judge_volume(context, volume)?);
        }
    }
    Ok(found)
}

/// Judges an unused volume; `None` if it is to be kept, as a complete image is.
pub(super) fn judge_volume(context: &Context, volume: &Volume) -> Result<Option<Leftover>, Error> {
    if let Some(found) = warm::find_warm_leftover(context, volume)? {
        return Ok(Some(part_of_warm_image(context, volume, found)));
    }
    if warm::warm_companion_of(&volume.name).is_some() {
        return Ok(None);
    }
    let is_image_pool = volume.pool == context.settings.image_pool.as_str();
    if let Some(image) = image::noted_image(&volume.name) {
        return lonely_note(context, volume, image);
    }
    // A guest controls the first bytes of its disk, so a volume with a disk's name is never taken for a partial image.
    let partial = if VolumeNameParts::parse(&volume.name).is_none() {
        image::read_partial_image(context, volume)?
    } else {
        None
    };
    match partial {
        Some(PartialImage::Marked { mark, maker, proven }) => {
            let counts = proven && is_image_pool;
            Ok(Some(part_of_image(context, volume, mark, maker.as_ref().map(|maker| (maker, counts)))))
        }
        Some(PartialImage::Blank) if is_image_pool => {
            let reason = "it begins with zeros: empty, or an import that was interrupted at once";
            Ok(Some(unused_volume(context, LeftoverKind::Image, volume, reason)))
        }
        _ if is_image_pool || image::image_origin(context, &volume.reference())?.is_some() => Ok(None),
        _ => Ok(Some(unused_volume(context, LeftoverKind::Volume, volume, "unused by any VM or overlay"))),
    }
}

/// Judges a warm image whose making or deletion did not end, by the note on it.
fn part_of_warm_image(context: &Context, note: &Volume, found: WarmLeftover) -> Leftover {
    let leftover = |reason: &str| Leftover::of_volume(context, LeftoverKind::Image, note, reason);
    match &found.maker {
        None => leftover("the warm image has no disk"),
        Some(maker) => match reason_if_busy(maker, "makes the warm image") {
            Some(busy) => return leftover(&busy),
            None => leftover("the making of the warm image was interrupted"),
        },
    }
    .cleaned_up_by(CleanupStep::DeleteWarmLeftover(found))
}

fn part_of_image(
    context: &Context,
    volume: &Volume,
    mark: Vec<u8>,
    maker: Option<(&Maker, bool)>,
) -> Leftover {
    let leftover = |reason: &str| Leftover::of_volume(context, LeftoverKind::Image, volume, reason);
    let work = CleanupStep::DeletePartialImage { volume: volume.clone(), mark };
    let Some((maker, counts)) = maker else {
        let unknown = "its import was interrupted or is still running; the importing process is unknown";
        return leftover(unknown).when_named_by(work);
    };
    match reason_if_busy(maker, "imports it") {
        None if counts => leftover("its import was interrupted").cleaned_up_by(work),
        None => leftover("it looks like an interrupted import, but that is not proven").when_named_by(work),
        Some(busy) => leftover(&busy).with_advice(Verb::ImageDelete {
            image: volume.name.clone(),
            pool: Some(volume.pool.clone()),
            force: true,
        }),
    }
}

/// Judges a volume with the name of an origin note, whose image is gone.
fn lonely_note(context: &Context, volume: &Volume, image: &str) -> Result<Option<Leftover>, Error> {
    if context.host.volume(&VolumeRef::new(&volume.pool, image))?.is_some() {
        return Ok(None);
    }
    let work = || CleanupStep::ForgetNote { pool: volume.pool.clone(), image: image.to_owned() };
    let leftover = |reason| Leftover::of_volume(context, LeftoverKind::Note, volume, reason);
    Ok(match image::note_content(context, volume, image)? {
        NoteContent::Note => Some(leftover(format!("image '{image}' is gone")).cleaned_up_by(work())),
        NoteContent::Blank => {
            Some(leftover("it is empty, and its image is gone".to_owned()).when_named_by(work()))
        }
        NoteContent::Other => None,
    })
}

/// An unused volume of unknown origin.
fn unused_volume(context: &Context, kind: LeftoverKind, volume: &Volume, reason: &str) -> Leftover {
    let leftover = Leftover::of_volume(context, kind, volume, reason);
    if let Some(held) = file_locks::reason_if_locked(context, &volume.path) {
        return Leftover { reason: format!("{reason}, but {held}"), ..leftover };
    }
    leftover.when_named_by(CleanupStep::DeleteVolume(volume.clone()))
}
