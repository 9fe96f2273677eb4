//! Finds what an interrupted command on snapshots left, and finishes it on behalf of `gc`.

use std::collections::BTreeMap;

use super::restore::{finish_rest, plan_rest};
use super::settle::{finish_interrupted, paths_in_use};
use super::view::SnapshotScene;
use crate::vm::lookup::or_removed_meanwhile;
use crate::{Context, lock};
use foundry_core::error::{Advice, Error, Kind};
use foundry_core::record::{Liveness, Maker, Record, RecordedVolume};
use foundry_host::Domain;
use foundry_host::local::check_liveness;

/// What is to be done about a snapshot after an interrupted command.
#[derive(Debug, Clone)]
pub(crate) enum SnapshotWork {
    /// The overlays of a snapshot are in use and are confirmed; those in the list are not used and are deleted.
    Settle {
        /// Whether overlays are confirmed.
        confirms: bool,
        /// The overlays that are deleted.
        unused: Vec<RecordedVolume>,
    },
    /// The disks are set back. The descriptions of the snapshots are still the old ones.
    FinishRestore,
    /// libvirt merges its overlays, or was interrupted when it did.
    HalfDeleted(Advice),
    /// A process is at work, or may be.
    Busy(Maker),
    /// Only the user can decide.
    Refused(Box<Error>),
}

/// Finds the snapshots of a VM that an interrupted command left half made, restored or deleted, by their names. A VM
/// whose record names no overlay costs no call.
///
/// # Errors
/// A lost connection.
pub(crate) fn find_interrupted_snapshots(
    context: &Context,
    domain: &Domain,
    record: &Record,
) -> Result<BTreeMap<String, SnapshotWork>, Error> {
    if record.volumes.iter().all(|v| v.overlay_of.is_none()) {
        return Ok(BTreeMap::new());
    }
    match find_in_scene(context, domain) {
        Err(lost) if lost.kind() == Kind::Connection => Err(lost),
        // The VM cannot be looked at. Only marks of dead processes show that something was interrupted.
        Err(refused) => {
            let mut found = BTreeMap::new();
            for (name, maker) in record.volumes.iter().filter_map(unconfirmed_overlay) {
                let work = match check_liveness(maker) {
                    Liveness::Dead => SnapshotWork::Refused(Box::new(refused.clone())),
                    _ => SnapshotWork::Busy(maker.clone()),
                };
                found.insert(name.to_owned(), work);
            }
            Ok(found)
        }
        Ok(found) => Ok(found),
    }
}

/// The snapshot and the process of an overlay that is not confirmed.
fn unconfirmed_overlay(volume: &RecordedVolume) -> Option<(&str, &Maker)> {
    let mark = volume.overlay_of.as_ref()?;
    Some((&mark.snapshot, mark.maker.as_ref()?))
}

fn find_in_scene(context: &Context, domain: &Domain) -> Result<BTreeMap<String, SnapshotWork>, Error> {
    let scene = SnapshotScene::look(context, domain)?;
    let in_use = paths_in_use(context, &scene)?;
    let mut found: BTreeMap<String, SnapshotWork> = BTreeMap::new();
    for volume in &scene.handle.record.volumes {
        let Some(mark) = &volume.overlay_of else { continue };
        let is_used = in_use.contains(&volume.path);
        let is_confirmed = mark.maker.is_none();
        if is_used && is_confirmed {
            continue;
        }
        if let Some(maker) = mark.maker.as_ref().filter(|maker| check_liveness(maker) != Liveness::Dead) {
            found.insert(mark.snapshot.clone(), SnapshotWork::Busy(maker.clone()));
            continue;
        }
        let nothing = SnapshotWork::Settle { confirms: false, unused: Vec::new() };
        if let SnapshotWork::Settle { confirms, unused } =
            found.entry(mark.snapshot.clone()).or_insert(nothing)
        {
            match is_used {
                true => *confirms = true,
                false => unused.push(volume.clone()),
            }
        }
    }
    for snapshot in scene.snapshots.iter().filter(|s| s.disks.iter().any(|disk| disk.is_being_deleted)) {
        let again = Advice::from(scene.delete_command(&snapshot.name)).text(" finishes it");
        found.insert(snapshot.name.clone(), SnapshotWork::HalfDeleted(again));
    }
    if let Some((snapshot, work)) = half_restored(context, &scene)?
        && !matches!(found.get(&snapshot), Some(SnapshotWork::Busy(_)))
    {
        found.insert(snapshot, work);
    }
    Ok(found)
}

/// The snapshot whose restore was interrupted after the disks were set back.
fn half_restored(context: &Context, scene: &SnapshotScene) -> Result<Option<(String, SnapshotWork)>, Error> {
    // Disks that another tool has changed are no business of `gc`.
    let Ok((disks, _)) = scene.own_disks(context) else { return Ok(None) };
    let Some(snapshot) = scene.find_half_restored(&disks) else { return Ok(None) };
    let work = match plan_rest(context, scene, snapshot) {
        Ok(_) => SnapshotWork::FinishRestore,
        Err(lost) if lost.kind() == Kind::Connection => return Err(lost),
        Err(refused) => SnapshotWork::Refused(Box::new(refused)),
    };
    Ok(Some((snapshot.to_owned(), work)))
}

/// Finishes or takes back what interrupted commands left of a VM's snapshots.
///
/// # Errors
/// If the VM cannot be changed, or a call to the host fails. The next run continues.
pub(crate) fn finish_snapshots(context: &Context, domain: &Domain) -> Result<(), Error> {
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name)?;
    finish_locked(context, domain).map_err(|error| or_removed_meanwhile(context, domain, error))
}

fn finish_locked(context: &Context, domain: &Domain) -> Result<(), Error> {
    let (scene, _) = finish_interrupted(context, domain)?;
    let (disks, _) = scene.own_disks(context)?;
    let Some(snapshot) = scene.find_half_restored(&disks) else { return Ok(()) };
    finish_rest(context, &plan_rest(context, &scene, snapshot)?)
}

impl SnapshotWork {
    /// Why it is listed.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Settle { confirms: false, .. } => {
                "a command on it was interrupted, and nothing uses these overlays".into()
            }
            Self::Settle { confirms: true, unused } if unused.is_empty() => {
                "a command on it was interrupted after the disks got its overlays: they will be recorded"
                    .into()
            }
            Self::Settle { .. } => {
                "a command on it was interrupted after the disks got new overlays: those will be recorded"
                    .into()
            }
            Self::FinishRestore => {
                "its restore was interrupted after the disks were set back: the rest will be done".into()
            }
            Self::HalfDeleted(_) => "its deletion is running, or was interrupted".into(),
            Self::Busy(maker) => format!("process {} is at work on it", maker.pid),
            Self::Refused(why) => format!("a command on it was interrupted, and {why}"),
        }
    }

    /// What to do if `gc` does nothing.
    pub(crate) fn advice(&self) -> Option<Advice> {
        match self {
            Self::HalfDeleted(again) => Some(again.clone()),
            Self::Refused(why) => why.advice().cloned(),
            _ => None,
        }
    }
}
