//! The files of a snapshot, as a linked copy needs them: nothing writes to them any more.
//!
//! The callers hold the VM's lock. A file that the copy's definition or record names has a user, so neither a deletion
//! of the snapshot nor a destroy of the VM touches it (`storage::usage`).

use super::create::{SnapshotRequest, create_locked};
use super::delete::{check_deletable, merge_overlays};
use super::restore_plan::refuse_half_deleted;
use super::settle::finish_interrupted;
use super::view::SnapshotScene;
use crate::Context;
use crate::vm::handle::refused_unchanged;
use foundry_core::error::{Advice, Code, Error};
use foundry_core::names::SnapshotName;
use foundry_core::record::RecordedVolume;
use foundry_host::Domain;

/// The file of a disk at the time of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FrozenDisk {
    /// Its entry in the record of the VM.
    pub(crate) volume: RecordedVolume,
    /// Its format as libvirt knew it then.
    pub(crate) format: String,
}

/// Finishes or takes back what an interrupted command left of a VM's snapshots.
///
/// # Errors
/// A failed call to the host. The next command continues.
pub(crate) fn settle_for_copy(context: &Context, domain: &Domain) -> Result<(), Error> {
    finish_interrupted(context, domain).map(drop)
}

/// Makes a snapshot of a VM that is off.
///
/// # Errors
/// As [`super::create_snapshot`].
pub(crate) fn freeze_disks(
    context: &Context,
    domain: &Domain,
    name: &SnapshotName,
    description: String,
) -> Result<(), Error> {
    let request = SnapshotRequest {
        vm: &domain.name,
        name: Some(name.clone()),
        description: Some(description),
        freeze: false,
    };
    create_locked(context, domain, &request, name.to_string()).map(drop)
}

/// Deletes the snapshot that an interrupted copy left, because the VM may have written since. Returns whether there was
/// one.
///
/// # Errors
/// [`Code::SnapshotTaken`] if something is based on it; otherwise as [`super::delete_snapshot`].
pub(crate) fn discard_interrupted(
    context: &Context,
    domain: &Domain,
    name: &SnapshotName,
) -> Result<bool, Error> {
    let (scene, _) = finish_interrupted(context, domain)?;
    let Some(left) = scene.snapshots.iter().find(|snapshot| snapshot.name == name.as_str()) else {
        return Ok(false);
    };
    check_deletable(context, &scene, left).map_err(|in_use| {
        let message = format!("VM '{}' has a snapshot '{name}'", domain.name);
        refused_unchanged(Code::SnapshotTaken, message).because(in_use.to_string()).hint(
            Advice::from(format!("--snapshot {name} makes another copy of it; "))
                .run(scene.delete_command(name.as_str()))
                .text(" deletes it"),
        )
    })?;
    merge_overlays(context, domain, &left.name).map(|()| true)
}

/// Finds the files of a snapshot of foundry's, and checks that the VM's disks are on overlays of them.
///
/// # Errors
/// [`Code::SnapshotMissing`] if there is no such snapshot; otherwise why its files are not those of that time, or not
/// certainly so.
pub(crate) fn find_frozen(context: &Context, domain: &Domain, name: &str) -> Result<Vec<FrozenDisk>, Error> {
    let (scene, _) = finish_interrupted(context, domain)?;
    let snapshot = scene.find(name)?;
    scene.check_own(snapshot, "virsh snapshot-dumpxml")?;
    refuse_half_deleted(&scene, snapshot)?;
    scene.refuse_internal()?;
    let (disks, _) = scene.own_disks(context)?;
    scene.check_chains(&disks)?;
    let frozen = snapshot.disks.iter().map(|of| {
        let recorded = scene.handle.record.volumes.iter().find(|v| Some(&v.path) == of.frozen.as_ref());
        let volume = recorded.filter(|volume| !is_written(&scene, &volume.path)).ok_or_else(|| {
            let message =
                format!("snapshot '{name}' does not have disk '{}' of VM '{}'", of.target, domain.name);
            refused_unchanged(Code::DiskNotOwn, message).because(
                of.frozen.clone().unwrap_or_else(|| "the snapshot does not say which file it is".into()),
            )
        })?;
        let format = of.frozen_format.clone().unwrap_or_else(|| volume.format.clone());
        Ok(FrozenDisk { volume: volume.clone(), format })
    });
    frozen.collect()
}

/// Whether a disk of the VM is directly on a file.
fn is_written(scene: &SnapshotScene, path: &str) -> bool {
    let described = scene.handle.live.iter().chain([&scene.handle.next]);
    described.flat_map(|described| &described.disks).any(|disk| disk.source.path() == Some(path))
}

/// Deletes a snapshot again that no copy needs. It also does so after a signal, as a part of a rollback.
///
/// # Errors
/// Why it stays: a copy is based on it, or a call to the host failed.
pub(crate) fn discard_frozen(context: &Context, domain: &Domain, name: &str) -> Result<(), Error> {
    let (scene, _) = finish_interrupted(context, domain)?;
    let Some(found) = scene.snapshots.iter().find(|snapshot| snapshot.name == name) else { return Ok(()) };
    check_deletable(context, &scene, found)?;
    merge_overlays(context, domain, &found.name)
}
