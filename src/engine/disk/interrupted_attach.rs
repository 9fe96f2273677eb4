//! Completes an interrupted attach on behalf of `gc`: if the VM already has the disk, record it (it may hold data);
//! otherwise delete it.

use std::time::Duration;

use uuid::Uuid;

use super::detach::{self, DetachPlan};
use super::disk_handle::DiskHandle;
use super::record_update::{add_disk, insert_volume, remove_volume, update_record};
use crate::vm::destroy::VolumeToDelete;
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::{Cleanup, Context};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::DiskTarget;
use foundry_core::plan::{DataDiskPlan, DiskFormat};
use foundry_core::record::{Liveness, RecordedVolume};
use foundry_host::local::check_liveness;
use foundry_host::{Domain, Volume};

/// An attach whose process ended.
#[derive(Debug)]
pub(crate) struct InterruptedAttach {
    domain: Uuid,
    vm: String,
    noted: RecordedVolume,
    outcome: AttachFound,
}

#[derive(Debug)]
enum AttachFound {
    /// The VM has the disk; only the record must be updated.
    Plugged(Box<PluggedDisk>),
    /// The VM does not have it; the volume is to be deleted.
    Apart(Box<DetachPlan>),
}

/// A disk that only has to be recorded.
#[derive(Debug)]
struct PluggedDisk {
    domain: Domain,
    disk: DataDiskPlan,
    volume: RecordedVolume,
}

impl InterruptedAttach {
    /// Returns whether the VM has the disk.
    pub(crate) fn is_plugged(&self) -> bool {
        matches!(self.outcome, AttachFound::Plugged(_))
    }

    /// The volume to delete, if any.
    pub(crate) fn volume_to_delete(&self) -> Option<&VolumeToDelete> {
        match &self.outcome {
            AttachFound::Plugged(_) => None,
            AttachFound::Apart(plan) => plan.volume.as_ref(),
        }
    }
}

/// Finds out how far an attach got; changes nothing.
///
/// # Errors
/// If the user has to decide how to finish it, or a call to the host failed.
pub(crate) fn find_interrupted_attach(
    context: &Context,
    domain: &Domain,
    noted: &RecordedVolume,
) -> Result<InterruptedAttach, Error> {
    let handle = VmHandle::find(context, &domain.name)?;
    let vm = handle.name().to_owned();
    let is_dead = |v: &RecordedVolume| {
        is_same_attempt(v, noted)
            && v.attaching.as_ref().is_some_and(|maker| check_liveness(maker) == Liveness::Dead)
    };
    if handle.domain.uuid != domain.uuid || !handle.record.volumes.iter().any(is_dead) {
        return Err(refused_unchanged(
            Code::ChangedMeanwhile,
            format!("VM '{vm}' has changed since it was checked"),
        ));
    }
    let target = noted.disk_target().ok_or_else(|| {
        refused_unchanged(Code::DiskNotOwn, format!("volume '{}' does not belong to a disk", noted.name))
    })?;
    let found = handle.find_disk(&target)?;
    let outcome = match found.description() {
        None => AttachFound::Apart(Box::new(detach::plan_detach(context, &vm, &target, false)?)),
        Some(_) => plan_recording(context, &handle, &found, noted)?,
    };
    Ok(InterruptedAttach { domain: domain.uuid, vm, noted: noted.clone(), outcome })
}

fn plan_recording(
    context: &Context,
    handle: &VmHandle,
    found: &DiskHandle,
    noted: &RecordedVolume,
) -> Result<AttachFound, Error> {
    let (vm, target) = (handle.name(), &found.target);
    found.own_volume(context, handle)?;
    let by_hand = |what: &str| {
        let detach =
            Verb::DiskDetach { vm: handle.domain.command_name(), target: target.clone(), keep: false };
        refused_unchanged(Code::DiskHalfThere, format!("disk '{target}' of VM '{vm}' {what}"))
            .hint(Advice::from(detach).text(" removes it"))
    };
    let Some(next) = &found.next else { return Err(by_hand("is attached only until the VM stops")) };
    let Some(volume) = context.host.volume(&noted.reference())? else {
        return Err(by_hand("is on a volume that cannot be seen"));
    };
    let settled = RecordedVolume {
        attaching: None,
        capacity: volume.capacity,
        format: volume.format.clone(),
        ..noted.clone()
    };
    let disk = data_disk_of(target, &volume, next.serial.as_deref()).map_err(|e| by_hand(&e))?;
    Ok(AttachFound::Plugged(Box::new(PluggedDisk { domain: handle.domain.clone(), disk, volume: settled })))
}

/// The disk as it would be in a manifest.
fn data_disk_of(target: &str, volume: &Volume, serial: Option<&str>) -> Result<DataDiskPlan, String> {
    let unfit = |e: foundry_core::names::NameError| format!("has a name that foundry would not give: it {e}");
    let target: DiskTarget = target.parse().map_err(unfit)?;
    let serial = serial.filter(|serial| *serial != target.as_str());
    Ok(DataDiskPlan {
        volume: volume.name.parse().map_err(unfit)?,
        size: volume.capacity,
        format: DiskFormat::ALL.into_iter().find(|f| f.as_str() == volume.format).unwrap_or(DiskFormat::Raw),
        serial: serial.map(str::parse).transpose().map_err(unfit)?,
        target,
    })
}

/// Returns whether two notes are of the same attempt. The paths are not compared: they differ if the pool was moved.
fn is_same_attempt(one: &RecordedVolume, other: &RecordedVolume) -> bool {
    (&one.pool, &one.name, &one.attaching) == (&other.pool, &other.name, &other.attaching)
}

/// Checks again and finishes an attach. Returns a message to report, if any.
///
/// # Errors
/// The failure of a step. Another run finishes the work.
pub(crate) fn finish_attach(
    context: &Context,
    attempt: &InterruptedAttach,
) -> Result<Option<Cleanup>, Error> {
    let InterruptedAttach { domain, vm, noted, outcome } = attempt;
    let now = VmHandle::find(context, vm)?;
    if now.domain.uuid != *domain || !now.record.volumes.iter().any(|v| is_same_attempt(v, noted)) {
        return Err(refused_unchanged(
            Code::ChangedMeanwhile,
            format!("VM '{vm}' has changed since it was checked"),
        ));
    }
    let PluggedDisk { domain, disk, volume } = match outcome {
        // The guest does not have it, so there is nothing to wait for.
        AttachFound::Apart(plan) => {
            return detach::detach(context, plan, Duration::ZERO).map(|()| None);
        }
        AttachFound::Plugged(plugged) => &**plugged,
    };
    update_record(context, domain, |record| {
        if record.volumes.iter().any(|v| is_same_attempt(v, noted)) {
            remove_volume(record, &volume.pool, &volume.name);
            insert_volume(record, volume.clone());
            add_disk(&mut record.manifest.spec, disk);
        }
    })?;
    Ok(Some(Cleanup::DiskRecorded { vm: vm.clone(), target: disk.target.to_string() }))
}
