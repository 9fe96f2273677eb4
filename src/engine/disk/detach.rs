//! Detaches a disk and deletes its volume: [`plan_detach`] decides what would be deleted, [`detach`] does it.
//!
//! The record names the volume until it is deleted. So if the command is killed, the same command or `destroy`
//! finishes the work. A volume that is to be kept is removed from the record first: nothing that happens afterwards
//! may delete it.

use std::time::Duration;

use uuid::Uuid;

use super::delete::delete_unplugged;
use super::disk_handle::DiskHandle;
use super::mounts::check_mounted;
use super::record_update::{remove_disk, remove_volume, update_record};
use super::resize::{check_block_job, check_snapshots};
use crate::disk::own_disk::is_same_file;
use crate::disk::ownership::differs_from_plan;
use crate::poll::{Poll, Waited};
use crate::storage::pending_volumes::wait_for_volumes;
use crate::storage::usage::Usage;
use crate::vm::destroy::VolumeToDelete;
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::vm::lookup::or_removed_meanwhile;
use crate::{Context, Step, Task};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::{Liveness, Record, RecordedVolume, VolumeRef, VolumeRole};
use foundry_host::libvirt_xml::{DiskDevice, DiskSource};
use foundry_host::local::check_liveness;
use foundry_host::{Affect, View, Volume};

/// Time between two checks of a guest that releases a disk.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// What would be detached, and what would become of its volume.
#[derive(Debug, Clone, PartialEq)]
pub struct DetachPlan {
    /// The name of the VM that has the disk.
    pub vm: String,
    /// The disk's target device, such as `vdb`.
    pub target: String,
    /// Whether a running guest has it.
    pub live: bool,
    /// The volume to delete.
    pub volume: Option<VolumeToDelete>,
    /// The volume or path that is not deleted, and why.
    pub kept_back: Option<(String, String)>,
    handle: VmHandle,
    found: DiskHandle,
    keep: bool,
    /// Whether the volume no longer exists.
    gone: bool,
}

/// Decides what a detach of a disk would delete and keep; changes nothing.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is no such disk or it cannot be detached.
pub fn plan_detach(context: &Context, vm: &str, disk: &str, keep: bool) -> Result<DetachPlan, Error> {
    let handle = VmHandle::find(context, vm)?;
    let found = handle.find_disk(disk)?;
    check_detachable(context, &handle, &found, keep)
        .map_err(|e| or_removed_meanwhile(context, &handle.domain, e))?;
    if found.recorded.as_ref().is_some_and(|recorded| recorded.attaching.is_some()) {
        wait_for_volumes(context, &handle.record)?;
    }
    let mut plan = DetachPlan {
        vm: handle.name().to_owned(),
        target: found.target.clone(),
        live: found.live.is_some(),
        volume: None,
        kept_back: None,
        handle,
        found,
        keep,
        gone: false,
    };
    let decided = plan.decide_volume(context);
    decided.map_err(|e| or_removed_meanwhile(context, &plan.handle.domain, e))?;
    Ok(plan)
}

/// Fails if the disk cannot be detached: it is the boot disk or no hard disk, it is in use, or the guest does not
/// execute.
fn check_detachable(
    context: &Context,
    handle: &VmHandle,
    found: &DiskHandle,
    keep: bool,
) -> Result<(), Error> {
    let (vm, target) = (handle.name(), &found.target);
    let what = match found.recorded.as_ref().map(|r| r.role) {
        Some(VolumeRole::Boot) => Some("its boot disk"),
        Some(VolumeRole::Seed) => Some("its cloud-init seed"),
        _ if found.description().is_some_and(|d| d.device != DiskDevice::Disk) => Some("not a hard disk"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(refused_unchanged(
            Code::DiskNotOwn,
            format!("disk '{target}' of VM '{vm}' is {what} and cannot be detached"),
        ));
    }
    refuse_if_attaching(handle, found, keep)?;
    if found.live.is_some() && !handle.is_executing() {
        return Err(refused_unchanged(Code::GuestPaused, format!("VM '{vm}' is {}", handle.domain.state))
            .because("a guest that does not execute cannot release a disk")
            .hint(
                Advice::from(Verb::Resume { vm: handle.domain.command_name() })
                    .text(" lets it continue; ")
                    .run(Verb::Stop { vm: handle.domain.command_name(), force: true })
                    .text(" forces it off"),
            ));
    }
    check_block_job(context, handle, found)?;
    check_mounted(context, handle, found)
}

/// Refuses if a process is attaching the disk. The liveness of a process on another machine cannot be checked; then
/// only a detach that keeps the volume is permitted, because it does no harm.
fn refuse_if_attaching(handle: &VmHandle, found: &DiskHandle, keep: bool) -> Result<(), Error> {
    let (vm, target) = (handle.name(), &found.target);
    let Some(maker) = found.recorded.as_ref().and_then(|r| r.attaching.as_ref()) else { return Ok(()) };
    let busy = || {
        refused_unchanged(
            Code::DiskBusy,
            format!("process {} is attaching disk '{target}' to VM '{vm}'", maker.pid),
        )
    };
    match check_liveness(maker) {
        Liveness::Dead => Ok(()),
        Liveness::Elsewhere if keep => Ok(()),
        Liveness::Elsewhere => Err(busy().because("it runs on another machine").hint(
            Advice::from("if that was given up: ")
                .run(Verb::DiskDetach {
                    vm: handle.domain.command_name(),
                    target: target.to_owned(),
                    keep: true,
                })
                .text(", which keeps the volume"),
        )),
        Liveness::Alive => {
            Err(busy().hint("wait for it, or stop that process; it then removes what it made"))
        }
    }
}

impl DetachPlan {
    /// Decides what becomes of the volume. It is deleted only if the record names it, the disk is on it, and nothing
    /// else uses it.
    fn decide_volume(&mut self, context: &Context) -> Result<(), Error> {
        let Some(recorded) = self.found.recorded.clone() else {
            self.kept_back = self.describe_source().map(|path| (path, "foundry did not make it".into()));
            return Ok(());
        };
        self.found.own_volume(context, &self.handle)?;
        let Some(volume) = context.host.volume(&recorded.reference())? else {
            return self.check_missing_volume(context, &recorded);
        };
        let described = volume.reference().to_string();
        if self.keep {
            self.kept_back = Some((described, "as requested".into()));
            return Ok(());
        }
        let why = "they may need the disk; --keep detaches it and keeps its volume";
        check_snapshots(context, &self.handle, why)?;
        self.handle.check_not_locked(context, &recorded)?;
        match self.reason_to_keep(context, &recorded, &volume)? {
            Some(reason) => self.kept_back = Some((described, reason)),
            None => self.volume = Some(volume_to_delete(volume)),
        }
        Ok(())
    }

    /// Pool and name of the volume that was to be kept but no longer exists.
    pub fn missing_volume(&self) -> Option<(&str, &str)> {
        let recorded = self.found.recorded.as_ref().filter(|_| self.keep && self.gone);
        recorded.map(|r| (r.pool.as_str(), r.name.as_str()))
    }

    /// Pool and name of the volume that was to be kept.
    pub fn released_volume(&self) -> Option<(&str, &str)> {
        let recorded = self.found.recorded.as_ref().filter(|_| self.keep && !self.gone);
        recorded.map(|r| (r.pool.as_str(), r.name.as_str()))
    }

    fn describe_source(&self) -> Option<String> {
        match &self.found.description()?.source {
            DiskSource::Volume { pool, volume } => Some(VolumeRef::new(pool, volume).to_string()),
            source => source.path().map(str::to_owned),
        }
    }

    /// Handles a volume that libvirt does not list. It is gone, unless its pool is stopped; then this fails if the
    /// volume is to be deleted.
    fn check_missing_volume(&mut self, context: &Context, recorded: &RecordedVolume) -> Result<(), Error> {
        let pool = context.host.pool(&recorded.pool)?;
        self.gone = pool.as_ref().is_none_or(|pool| pool.active);
        match pool {
            Some(pool) if !pool.active && !self.keep => Err(Error::new(
                Code::PoolInactive,
                format!("pool '{}' with volume '{}' is not started", recorded.pool, recorded.name),
            )
            .hint(Verb::PoolStart { pool: recorded.pool.clone() })
            .unchanged()),
            _ => Ok(()),
        }
    }

    fn reason_to_keep(
        &self,
        context: &Context,
        recorded: &RecordedVolume,
        volume: &Volume,
    ) -> Result<Option<String>, Error> {
        if !is_same_file(context, &volume.path, &recorded.path) {
            return Ok(Some(format!("it is at {} and not at {}", volume.path, recorded.path)));
        }
        if let Some(doubt) = self.handle.ownership().reason_to_doubt(recorded, volume) {
            return Ok(Some(doubt));
        }
        if recorded.attaching.is_some()
            && let Some(reason) = differs_from_plan(recorded, volume)
        {
            return Ok(Some(reason));
        }
        let usage = Usage::collect(context, Some(self.handle.domain.uuid))?;
        Ok(usage.reason_to_keep_of(&volume.reference(), &volume.path, &[]))
    }
}

fn volume_to_delete(volume: Volume) -> VolumeToDelete {
    VolumeToDelete {
        pool: volume.pool,
        name: volume.name,
        path: volume.path,
        capacity: volume.capacity,
        role: Some(VolumeRole::Data),
    }
}

/// Executes a plan. `patience` is how long the guest may take to release the disk.
///
/// # Errors
/// [`foundry_core::error::Kind::Timeout`] if the guest does not release the disk; then nothing is deleted. Otherwise
/// the failure of a step; the same command again finishes the work.
pub fn detach(context: &Context, plan: &DetachPlan, patience: Duration) -> Result<(), Error> {
    let DetachPlan { vm, target, handle, found, .. } = plan;
    context.report_begun(Task::DetachDisk { vm: vm.to_string(), target: target.to_string() });
    context.cancel.check_unchanged()?;
    let unfinished =
        |error: Error| or_removed_meanwhile(context, &handle.domain, error.outcome(finish_advice(plan)));
    let half = format!("disk '{target}' of VM '{vm}' may be half detached");
    let _leaves = context.cancel.announce_leftovers([half.into(), finish_advice(plan).into()]);
    if plan.keep && found.recorded.is_some() {
        release_volume(context, plan).map_err(unfinished)?;
    }
    if let Some(live) = &found.live {
        let unplugged = detach_live(context, plan, &live.target, patience);
        unplugged.map_err(|error| restore_record(context, plan, unfinished(error)))?;
    }
    if let Some(next) = &found.next {
        let detached = context.host.detach_disk(handle.domain.uuid, &next.target, Affect::Config);
        detached.map_err(|e| unfinished(e.into()))?;
    }
    context.report_finished(Step::DetachDisk);
    delete_volume(context, plan).map_err(unfinished)?;
    forget_disk(context, plan).map_err(unfinished)?;
    if let Some((what, why)) = plan.kept_back.as_ref().filter(|_| !plan.keep) {
        context.warn(format!("left: {what}: {why}"));
    }
    Ok(())
}

fn finish_advice(plan: &DetachPlan) -> Advice {
    let (vm, target) = (plan.handle.domain.command_name(), plan.target.clone());
    Advice::from(Verb::DiskDetach { vm, target, keep: plan.keep }).text(" finishes it")
}

/// Removes the volume from the record. From here on, no command deletes it.
fn release_volume(context: &Context, plan: &DetachPlan) -> Result<(), Error> {
    let Some(RecordedVolume { pool, name, .. }) = &plan.found.recorded else { return Ok(()) };
    update_record(context, &plan.handle.domain, |record| remove_volume(record, pool, name)).map(drop)
}

/// Puts the volume back into the record after a failed detach: the VM still has the disk.
fn restore_record(context: &Context, plan: &DetachPlan, error: Error) -> Error {
    let Some(recorded) = plan.found.recorded.clone().filter(|_| plan.keep) else { return error };
    let put_back = |record: &mut Record| {
        if !record.volumes.iter().any(|v| v.pool == recorded.pool && v.name == recorded.name) {
            let at = record.volumes.iter().position(|v| v.role == VolumeRole::Seed);
            record.volumes.insert(at.unwrap_or(record.volumes.len()), recorded.clone());
        }
    };
    match update_record(context, &plan.handle.domain, put_back) {
        Ok(_) => error,
        Err(_) => error.outcome(format!(
            "foundry no longer counts {} as the VM's: destroy keeps it",
            recorded.reference()
        )),
    }
}

/// Detaches the disk from the running guest. libvirt only passes the request on; the guest decides whether to release
/// the disk.
fn detach_live(context: &Context, plan: &DetachPlan, target: &str, patience: Duration) -> Result<(), Error> {
    let DetachPlan { vm, handle, .. } = plan;
    let uuid = handle.domain.uuid;
    context.report_started(Step::DetachDisk);
    context.host.detach_disk(uuid, target, Affect::Live)?;
    if wait_until_detached(context, uuid, target, patience, || context.cancel.is_requested())? {
        return Ok(());
    }
    context
        .cancel
        .check()
        .map_err(|e| e.outcome("the guest was asked to release the disk and may still do so"))?;
    Err(Error::new(
        Code::DiskHeld,
        format!("the guest of VM '{vm}' did not release disk '{target}' in {} s", patience.as_secs()),
    )
    .hint("is it still booting, or is its kernel without PCI hotplug? A VM that is off needs no guest")
    .outcome("nothing was deleted; it may still release the disk, and gets it back at its next start"))
}

/// Waits until a running domain no longer has the disk, and returns whether that happened. A domain that is off
/// counts as detached.
pub(crate) fn wait_until_detached(
    context: &Context,
    uuid: Uuid,
    target: &str,
    patience: Duration,
    give_up: impl Fn() -> bool,
) -> Result<bool, Error> {
    let is_detached = || -> Result<Option<()>, Error> {
        let is_off = context.host.state(uuid)?.is_none_or(|now| !now.state.is_active());
        let described = if is_off { None } else { context.host.describe(uuid, View::Current)? };
        Ok(described.is_none_or(|now| now.disk(target).is_none()).then_some(()))
    };
    let waited =
        Poll::new(context, POLL_EVERY).woken_by(uuid).within(patience).unless(give_up).until(is_detached)?;
    Ok(matches!(waited, Waited::Done(())))
}

fn delete_volume(context: &Context, plan: &DetachPlan) -> Result<(), Error> {
    let (Some(volume), Some(recorded)) = (&plan.volume, &plan.found.recorded) else {
        return Ok(());
    };
    let is_same = |v: &RecordedVolume| {
        (&recorded.pool, &recorded.name, &recorded.attaching) == (&v.pool, &v.name, &v.attaching)
    };
    let what = format!("disk '{}' was detached", plan.target);
    delete_unplugged(context, &plan.handle.domain, volume, is_same, &what)
}

/// Removes the disk from record and manifest.
fn forget_disk(context: &Context, plan: &DetachPlan) -> Result<(), Error> {
    let DetachPlan { target, handle, found, .. } = plan;
    update_record(context, &handle.domain, |record| {
        if let Some(RecordedVolume { pool, name, .. }) = &found.recorded {
            remove_volume(record, pool, name);
        }
        let made_for = found.recorded.as_ref().and_then(RecordedVolume::disk_target);
        remove_disk(&mut record.manifest.spec, made_for.as_deref().unwrap_or(target));
    })
    .map(drop)
}
