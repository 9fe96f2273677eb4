//! Names and places of new overlays.

use std::path::Path;

use super::view::{ChainedDisk, SnapshotScene};
use crate::Context;
use crate::preflight::room::EMPTY_QCOW2;
use crate::storage::backend::PoolBackend;
use crate::storage::usage;
use crate::vm::handle::refused_unchanged;
use foundry_core::error::{Code, Error, Verb};
use foundry_core::names::{VmName, VmPart, VolumeName, VolumeNameParts};
use foundry_core::record::{OverlayMark, RecordedVolume, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::libvirt_xml::DiskSource;

/// A disk, and the file that gets a new overlay.
pub(super) struct OverlayBase<'a> {
    pub(super) disk: &'a ChainedDisk,
    pub(super) below: &'a RecordedVolume,
}

/// Plans one new overlay for each of these files, all with the same revision. Nothing is created.
///
/// # Errors
/// If libvirt cannot make overlays of a disk, or the pool is full.
pub(super) fn plan_overlays(
    context: &Context,
    scene: &SnapshotScene,
    bases: &[OverlayBase<'_>],
    snapshot: &str,
) -> Result<Vec<RecordedVolume>, Error> {
    check_pools(context, scene, bases)?;
    let revision = next_revision(context, scene, bases)?;
    bases.iter().map(|base| plan_overlay(context, scene, base, revision, snapshot)).collect()
}

fn plan_overlay(
    context: &Context,
    scene: &SnapshotScene,
    base: &OverlayBase<'_>,
    revision: u32,
    snapshot: &str,
) -> Result<RecordedVolume, Error> {
    let below = base.below;
    let name = first_name(scene, base)?.revised(revision).to_string();
    let directory = Path::new(&below.path).parent().unwrap_or(Path::new("/"));
    // It may have been grown without foundry.
    let capacity = context.host.volume(&below.reference())?.map_or(below.capacity, |found| found.capacity);
    Ok(RecordedVolume {
        path: directory.join(&name).display().to_string(),
        name,
        format: "qcow2".into(),
        capacity,
        backing: Some(below.path.clone()),
        adopted: false,
        overlay_of: Some(OverlayMark { snapshot: snapshot.to_owned(), maker: Some(context.lease.maker()) }),
        ..below.clone()
    })
}

/// The name that the disk's volume has without a revision. A disk that foundry did not create has a name of its own; its
/// overlays are named as if it had.
fn first_name(scene: &SnapshotScene, base: &OverlayBase<'_>) -> Result<VolumeName, Error> {
    let unfit = |e: foundry_core::names::NameError| {
        let vm = scene.handle.name();
        refused_unchanged(
            Code::NotFoundrys,
            format!("disk '{}' of VM '{vm}' has an unusual name: {e}", base.disk.target),
        )
    };
    let parts = VolumeNameParts::parse(&base.below.name);
    let vm: VmName = parts.as_ref().map_or(scene.handle.name(), |parts| parts.vm).parse().map_err(unfit)?;
    Ok(match (parts.map(|parts| parts.part), base.below.role) {
        (Some(VmPart::Data(target)), _) => vm.data_volume(&target),
        (None, VolumeRole::Data) => vm.data_volume(&base.disk.target.parse().map_err(unfit)?),
        _ => vm.boot_volume(),
    })
}

/// The first revision that neither a recorded nor an existing volume of these disks has.
fn next_revision(context: &Context, scene: &SnapshotScene, bases: &[OverlayBase<'_>]) -> Result<u32, Error> {
    let mut taken: Vec<String> = scene.handle.record.volumes.iter().map(|v| v.name.clone()).collect();
    let mut pools: Vec<&str> = bases.iter().map(|base| base.below.pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    for pool in pools {
        taken.extend(usage::list_volumes(context, pool)?.into_iter().map(|volume| volume.name));
    }
    let mut highest = 1;
    for base in bases {
        let first = first_name(scene, base)?;
        let of_disk =
            taken.iter().filter(|name| first.revised(VolumeName::revision_of(name)).as_str() == *name);
        highest = of_disk.map(|name| VolumeName::revision_of(name)).fold(highest, u32::max);
    }
    Ok(highest + 1)
}

/// Checks that the disks are files in started pools, with room for an overlay.
fn check_pools(context: &Context, scene: &SnapshotScene, bases: &[OverlayBase<'_>]) -> Result<(), Error> {
    let vm = scene.handle.name();
    for OverlayBase { disk, below } in bases {
        let target = &disk.target;
        let described = scene.present().disk(target);
        if described.is_some_and(|d| d.shareable) {
            let message = format!("disk '{target}' of VM '{vm}' is shared with other domains");
            return Err(
                refused_unchanged(Code::DiskNotOwn, message).because("they would not know of its overlay")
            );
        }
        let pool = context.host.pool(&below.pool)?;
        let pool = pool.ok_or_else(|| {
            refused_unchanged(
                Code::PoolMissing,
                format!("pool '{}' with disk '{target}' no longer exists", below.pool),
            )
        })?;
        if !pool.active {
            let message = format!("pool '{}' with disk '{target}' is not started", pool.name);
            return Err(
                refused_unchanged(Code::PoolInactive, message).hint(Verb::PoolStart { pool: pool.name })
            );
        }
        let is_file = described.is_some_and(|d| matches!(d.source, DiskSource::File(_)));
        if PoolBackend::of(&pool.kind) != Some(PoolBackend::Files) || !is_file {
            return Err(refused_unchanged(
                Code::PoolUnfit,
                format!("disk '{target}' of VM '{vm}' is in pool '{}' of type {}", pool.name, pool.kind),
            )
            .because("a snapshot puts an overlay on a file, and such a disk is none")
            .hint("use the snapshots of the storage itself (LVM, ZFS, Ceph) while the VM is off"));
        }
        let needed = Bytes(EMPTY_QCOW2.0.saturating_mul(bases.len() as u64));
        if pool.available < needed {
            let message = format!("pool '{}' has only {} left", pool.name, pool.available);
            return Err(refused_unchanged(Code::OutOfSpace, message)
                .because(format!("the overlays need {needed} at once, and grow as the guest writes")));
        }
    }
    Ok(())
}
