//! Compares the overlays in the record with those in use.

use super::freeze;
use super::view::{SnapshotScene, refresh_pools_of};
use crate::Context;
use crate::Step;
use crate::disk::{backing_chain, update_locked_record};
use crate::storage::usage::Usage;
use foundry_core::error::Error;
use foundry_core::record::{Liveness, Record, RecordedVolume};
use foundry_host::Domain;
use foundry_host::libvirt_xml::DiskSource;
use foundry_host::local::check_liveness;

/// What was settled.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// The snapshots whose overlays were in use and not confirmed.
    pub(super) confirmed: Vec<String>,
    /// The overlays that nothing used, and that are gone now.
    pub(super) dropped: Vec<RecordedVolume>,
}

impl Settled {
    /// Whether an earlier command was interrupted.
    pub(super) fn found_something(&self) -> bool {
        !self.confirmed.is_empty() || !self.dropped.is_empty()
    }
}

/// Confirms overlays that are in use, and deletes those that nothing uses. The caller holds the VM's lock, so no other
/// process of this machine works on them; those of another machine are left to their maker.
///
/// # Errors
/// A failed call to the host. The next command continues.
pub(super) fn settle_snapshots(context: &Context, domain: &Domain) -> Result<Settled, Error> {
    let scene = SnapshotScene::look(context, domain)?;
    settle_scene(context, &scene)
}

/// Finishes what an interrupted command left, and returns the VM as it is then. The guest is thawed first: as long as the
/// overlays are unconfirmed, the next command looks again.
///
/// # Errors
/// As [`settle`], and if the guest cannot be thawed.
pub(super) fn finish_interrupted(
    context: &Context,
    domain: &Domain,
) -> Result<(SnapshotScene, Settled), Error> {
    let scene = SnapshotScene::look(context, domain)?;
    let is_begun = |v: &RecordedVolume| v.overlay_of.as_ref().is_some_and(|mark| mark.maker.is_some());
    if scene.handle.is_executing() && scene.handle.record.volumes.iter().any(is_begun) {
        freeze::thaw_if_frozen(context, &scene.handle.domain)?;
    }
    let settled = settle_scene(context, &scene)?;
    let scene = if settled.found_something() { SnapshotScene::look(context, domain)? } else { scene };
    Ok((scene, settled))
}

fn settle_scene(context: &Context, scene: &SnapshotScene) -> Result<Settled, Error> {
    let overlays = || scene.handle.record.volumes.iter().filter(|v| v.overlay_of.is_some());
    if overlays().next().is_none() {
        return Ok(Settled::default());
    }
    let in_use = paths_in_use(context, scene)?;
    let (used, unused): (Vec<_>, Vec<_>) = overlays().partition(|v| in_use.contains(&v.path));
    let unconfirmed = |v: &&&RecordedVolume| v.overlay_of.as_ref().is_some_and(|mark| mark.maker.is_some());
    let to_confirm: Vec<RecordedVolume> = used.iter().filter(unconfirmed).map(|v| (*v).clone()).collect();
    let mut to_drop: Vec<RecordedVolume> =
        unused.into_iter().filter(|v| is_left_alone(context, v)).cloned().collect();
    // An overlay is deleted before the file below it.
    to_drop.sort_by_key(|v| std::cmp::Reverse(foundry_core::names::VolumeName::revision_of(&v.name)));
    let dropped = delete_unused(context, to_drop)?;
    if to_confirm.is_empty() && dropped.is_empty() {
        return Ok(Settled::default());
    }
    update_locked_record(context, &scene.handle.domain, |record| {
        record.volumes.retain(|v| !dropped.iter().any(|gone| is_same(gone, v)));
        confirm_overlays(record, &to_confirm);
    })?;
    let mut confirmed: Vec<String> =
        to_confirm.into_iter().filter_map(|v| v.overlay_of).map(|mark| mark.snapshot).collect();
    confirmed.dedup();
    Ok(Settled { confirmed, dropped })
}

/// The paths that the domain's definitions and its snapshots use, with the files below them.
pub(super) fn paths_in_use(context: &Context, scene: &SnapshotScene) -> Result<Vec<String>, Error> {
    let mut paths: Vec<String> = Vec::new();
    for described in scene.handle.live.iter().chain([&scene.handle.next]) {
        for disk in &described.disks {
            if let DiskSource::File(path) = &disk.source {
                // Both definitions mostly name the same files, and each look at a chain costs calls.
                if !paths.contains(path) {
                    paths.extend(backing_chain::chain_of(context, path)?);
                }
                paths.extend(disk.backing_chain.iter().cloned());
            }
        }
    }
    for disk in scene.snapshots.iter().flat_map(|snapshot| &snapshot.disks) {
        paths.push(disk.overlay.clone());
        paths.extend(disk.frozen.clone());
    }
    Ok(paths)
}

/// Whether no process works on the overlay: the caller has the lock, and its maker is this process or has ended.
fn is_left_alone(context: &Context, volume: &RecordedVolume) -> bool {
    match volume.overlay_of.as_ref().and_then(|mark| mark.maker.as_ref()) {
        None => true,
        Some(maker) => *maker == context.lease.maker() || check_liveness(maker) == Liveness::Dead,
    }
}

/// Deletes the volumes that nothing on the host uses, and returns those that are gone now.
fn delete_unused(context: &Context, volumes: Vec<RecordedVolume>) -> Result<Vec<RecordedVolume>, Error> {
    if volumes.is_empty() {
        return Ok(volumes);
    }
    refresh_pools_of(context, &volumes)?;
    let usage = Usage::collect(context, None)?;
    let going: Vec<_> = volumes.iter().map(RecordedVolume::reference).collect();
    let mut gone = Vec::new();
    for volume in volumes {
        let reference = volume.reference();
        let Some(found) = context.host.volume(&reference)? else {
            // A stopped pool lists nothing.
            if context.host.pool(&volume.pool)?.is_none_or(|pool| pool.active) {
                gone.push(volume);
            }
            continue;
        };
        // Another VM may be based on it, and this check also covers what the chains above could not show.
        let users = usage.users_of(&reference, &found.path).without_overlays(&going);
        if let Some(reason) = users.reason_to_keep() {
            context.warn(format!("left: {reference}: {reason}"));
            continue;
        }
        context.report_started(Step::DeleteVolume(reference.clone()));
        context.host.delete_volume(&reference)?;
        gone.push(volume);
    }
    Ok(gone)
}

fn confirm_overlays(record: &mut Record, overlays: &[RecordedVolume]) {
    for volume in &mut record.volumes {
        if let Some(mark) = &mut volume.overlay_of
            && overlays.iter().any(|of| of.pool == volume.pool && of.name == volume.name)
        {
            mark.maker = None;
        }
    }
}

fn is_same(one: &RecordedVolume, other: &RecordedVolume) -> bool {
    (&one.pool, &one.name, &one.overlay_of) == (&other.pool, &other.name, &other.overlay_of)
}
