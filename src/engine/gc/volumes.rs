//! Finds unused volumes: partial images, notes on deleted images, and volumes of unknown origin.

use std::collections::BTreeSet;

use super::{Remains, Sort, Work, at_work};
use crate::image::{Noted, Torso};
use crate::storage::usage::{Part, Usage};
use crate::storage::{file_locks, usage};
use crate::{Context, image};
use foundry_core::error::{Advice, Error, Verb};
use foundry_core::names::VolumeNameParts;
use foundry_core::record::Maker;
use foundry_host::{Domain, Pool, Volume};

/// The pools that foundry keeps anything in: the two of the settings, and those that records name.
pub(super) fn pools(context: &Context, domains: &[Domain]) -> Vec<String> {
    let recorded = domains.iter().filter_map(Domain::own_record).flat_map(|r| r.volumes).map(|v| v.pool);
    let own = [context.settings.vm_pool.to_string(), context.settings.image_pool.to_string()];
    let all: BTreeSet<String> = own.into_iter().chain(recorded).collect();
    all.into_iter().collect()
}

/// Which of these pools show nothing of what is in them.
pub(super) fn unseen(context: &Context, pools: &[String]) -> Result<Vec<Advice>, Error> {
    let told = |pool: Pool| {
        let name = &pool.name;
        if !pool.active {
            let stopped = Advice::from(format!("pool '{name}' is not started: "));
            return Some(stopped.run(Verb::PoolStart { pool: name.clone() }));
        }
        let target = pool.target.clone().filter(|_| usage::is_directory_away(context, &pool))?;
        Some(format!("pool '{name}': its directory {target} is not there").into())
    };
    let listed = context.host.pools()?.into_iter().filter(|pool| pools.contains(&pool.name));
    Ok(listed.filter_map(told).collect())
}

pub(super) fn survey(context: &Context, pools: &[String], usage: &Usage) -> Result<Vec<Remains>, Error> {
    let mut found = Vec::new();
    for (volume, part) in usage.parts() {
        let is_free = part == Part::Unused && usage.reason(volume).is_none();
        if is_free && pools.contains(&volume.pool) {
            found.extend(judge(context, volume)?);
        }
    }
    Ok(found)
}

/// What a volume is that is unused; `None` for what somebody may want as it is.
pub(super) fn judge(context: &Context, volume: &Volume) -> Result<Option<Remains>, Error> {
    let is_image_pool = volume.pool == context.settings.image_pool.as_str();
    if let Some(image) = image::noted_image(&volume.name) {
        return lonely_note(context, volume, image);
    }
    // The first bytes of a VM's disk are its guest's: a disk that was kept is none of an import's.
    let torso =
        if VolumeNameParts::parse(&volume.name).is_none() { image::torso(context, volume)? } else { None };
    match torso {
        Some(Torso::Marked { mark, maker, proven }) => {
            let counts = proven && is_image_pool;
            Ok(Some(part_of_image(context, volume, mark, maker.as_ref().map(|maker| (maker, counts)))))
        }
        Some(Torso::Blank) if is_image_pool => {
            let reason = "it begins with zeros: an import that was interrupted at once, or nothing";
            Ok(Some(free(context, Sort::Image, volume, reason)))
        }
        _ if is_image_pool || image::origin(context, &volume.pool, &volume.name)?.is_some() => Ok(None),
        _ => Ok(Some(free(context, Sort::Volume, volume, "no domain uses it, and nothing lies on it"))),
    }
}

fn part_of_image(
    context: &Context,
    volume: &Volume,
    mark: Vec<u8>,
    maker: Option<(&Maker, bool)>,
) -> Remains {
    let remains = |reason: &str| Remains::of_volume(context, Sort::Image, volume, reason);
    let work = Work::DeleteTorso { volume: volume.clone(), mark };
    let Some((maker, counts)) = maker else {
        let unknown = "its import was interrupted, or still goes on: it does not say whose it is";
        return remains(unknown).when_named(work);
    };
    match at_work(maker, "imports it") {
        None if counts => remains("its import was interrupted").goes(work),
        None => remains("it begins as an import does that was interrupted; nothing proves that it is one")
            .when_named(work),
        Some(busy) => remains(&busy).hint(Verb::ImageDelete {
            image: volume.name.clone(),
            pool: Some(volume.pool.clone()),
            force: true,
        }),
    }
}

/// A note goes with its image; one that is left is foundry's own, by its content.
fn lonely_note(context: &Context, volume: &Volume, image: &str) -> Result<Option<Remains>, Error> {
    if context.host.volume(&volume.pool, image)?.is_some() {
        return Ok(None);
    }
    let work = || Work::ForgetNote { pool: volume.pool.clone(), image: image.to_owned() };
    let remains = |reason| Remains::of_volume(context, Sort::Note, volume, reason);
    Ok(match image::noted(context, volume, image)? {
        Noted::Note => Some(remains(format!("image '{image}' is gone")).goes(work())),
        Noted::Blank => {
            Some(remains("it holds nothing, and its image is gone".to_owned()).when_named(work()))
        }
        Noted::Other => None,
    })
}

/// What nothing is known of.
fn free(context: &Context, kind: Sort, volume: &Volume, reason: &str) -> Remains {
    let remains = Remains::of_volume(context, kind, volume, reason);
    if let Some(held) = file_locks::reason(context, &volume.path) {
        return Remains { reason: format!("{reason}, but {held}"), ..remains };
    }
    remains.when_named(Work::DeleteVolume(volume.clone()))
}
