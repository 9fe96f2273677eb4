//! Detaches a disk and deletes its volume: [`plan_detach`] decides what would be deleted, [`detach`] does it.
//!
//! The record names the volume until it is deleted, so that a command that was killed on the way is finished
//! by the same command again, or by `destroy`. A volume that is to be kept leaves the record first: nothing
//! that happens from then on may delete it.

use foundry_core::record::VolumeRef;
use std::time::Duration;

use uuid::Uuid;

use super::delete::delete_unplugged;
use super::handle::{DiskHandle, VmHandle, refused_unchanged};
use super::record_update::{remove_disk, remove_volume, update_record};
use super::resize::{check_block_job, check_snapshots};
use crate::disk::own_disk::is_same_file;
use crate::poll::{Poll, Waited};
use crate::storage::pending_volumes::wait_for_volumes;
use crate::storage::usage::Usage;
use crate::vm::destroy::VolumeToDelete;
use crate::vm::lookup::or_removed_meanwhile;
use crate::vm::plan_destroy::differs_from_plan;
use crate::{Context, Event};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::{Liveness, Record, RecordedVolume, VolumeRole};
use foundry_core::text::quote_for_shell;
use foundry_host::libvirt_xml::{DiskDevice, DiskSource};
use foundry_host::local::check_liveness;
use foundry_host::{Affect, View, Volume};

/// Time between two looks at a guest that releases a disk.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// How long the guest's agent may take to tell what is mounted.
const AGENT_WITHIN: Duration = Duration::from_secs(2);

/// What would be detached, and what would become of its volume.
#[derive(Debug, Clone, PartialEq)]
pub struct DetachPlan {
    /// The VM.
    pub vm: String,
    /// The guest's name of the disk.
    pub target: String,
    /// Whether a running guest has it.
    pub live: bool,
    /// The volume that goes.
    pub volume: Option<VolumeToDelete>,
    /// What stays, and why.
    pub kept: Option<(String, String)>,
    handle: VmHandle,
    found: DiskHandle,
    keep: bool,
    /// Whether the volume is not there any more.
    gone: bool,
}

/// Looks at a disk and decides what would go with it; changes nothing.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] where there is no such disk or it cannot be detached.
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
        kept: None,
        handle,
        found,
        keep,
        gone: false,
    };
    let decided = plan.decide_volume(context);
    decided.map_err(|e| or_removed_meanwhile(context, &plan.handle.domain, e))?;
    Ok(plan)
}

/// What stands in the way.
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
        _ if found.description().is_some_and(|d| d.device != DiskDevice::Disk) => Some("no hard disk"),
        _ => None,
    };
    if let Some(what) = what {
        return Err(refused_unchanged(
            Code::DiskNotOwn,
            format!("disk '{target}' of VM '{vm}' is {what} and is not detached"),
        ));
    }
    refuse_if_attaching(handle, found, keep)?;
    if found.live.is_some() && !handle.is_executing() {
        return Err(refused_unchanged(Code::GuestPaused, format!("VM '{vm}' is {}", handle.domain.state))
            .because("a guest that does not execute cannot let go of a disk")
            .hint(format!("virsh resume {0}, or stop it: virsh shutdown {0}", handle.domain.shell_name())));
    }
    check_block_job(context, handle, found)?;
    check_mounted(context, handle, found)
}

/// Who attaches it from another machine may be at it, and nobody here can say: to keep the volume does no harm then.
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

/// Linux lets go of a disk that is mounted, and what was not written yet is lost. Where an agent answers, it
/// is asked; one that does not know the question is no reason to refuse.
fn check_mounted(context: &Context, handle: &VmHandle, found: &DiskHandle) -> Result<(), Error> {
    if found.live.is_none() {
        return Ok(());
    }
    let question = r#"{"execute":"guest-get-fsinfo"}"#;
    let answer = context.host.agent(handle.domain.uuid, question, AGENT_WITHIN)?.unwrap_or_default();
    let serial = found.live.as_ref().and_then(|d| d.serial.as_deref());
    let mounts = mounts_on(&answer, serial.unwrap_or(&found.target));
    let Some(first) = mounts.first() else { return Ok(()) };
    let (vm, target) = (handle.name(), &found.target);
    Err(refused_unchanged(
        Code::DiskBusy,
        format!("disk '{target}' of VM '{vm}' is mounted in the guest at {}", mounts.join(", ")),
    )
    .hint(format!("in the guest: umount {}", quote_for_shell(first))))
}

/// Where a disk is mounted, by the agent's answer to `guest-get-fsinfo` (QEMU Guest Agent Protocol
/// Reference). The disk is known by its serial: its name is the guest's own choice, in the order in which it
/// finds them. A guest may say anything.
fn mounts_on(answer: &str, serial: &str) -> Vec<String> {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let systems = answer["return"].as_array().into_iter().flatten();
    let is_on = |system: &&serde_json::Value| {
        let mut disks = system["disk"].as_array().into_iter().flatten();
        disks.any(|d| d["serial"].as_str() == Some(serial))
    };
    systems.filter(is_on).filter_map(|s| s["mountpoint"].as_str().map(str::to_owned)).collect()
}

impl DetachPlan {
    /// What becomes of the volume: it goes only if the record names it, the disk is on it, and nobody else
    /// uses it.
    fn decide_volume(&mut self, context: &Context) -> Result<(), Error> {
        let Some(recorded) = self.found.recorded.clone() else {
            self.kept = self.describe_source().map(|path| (path, "foundry did not make it".into()));
            return Ok(());
        };
        self.found.own_volume(context, &self.handle)?;
        let Some(volume) = context.host.volume(&recorded.reference())? else {
            return self.check_missing_volume(context, &recorded);
        };
        let described = volume.reference().to_string();
        if self.keep {
            self.kept = Some((described, "as wanted".into()));
            return Ok(());
        }
        let why = "they may need the disk; --keep detaches it and keeps its volume";
        check_snapshots(context, &self.handle, why)?;
        self.handle.check_not_locked(context, &recorded)?;
        match self.reason_to_keep(context, &recorded, &volume)? {
            Some(reason) => self.kept = Some((described, reason)),
            None => self.volume = Some(volume_to_delete(volume)),
        }
        Ok(())
    }

    /// Pool and name of the volume that was to be kept and is not there any more.
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

    /// A volume that libvirt does not show is gone, unless its pool is stopped.
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

/// Does what a survey said. `patience` is how long the guest may take to let go of the disk.
///
/// # Errors
/// [`foundry_core::error::Kind::Timeout`] where the guest does not let go: then nothing is deleted. Else what failed; the same
/// command again finishes.
pub fn detach(context: &Context, plan: &DetachPlan, patience: Duration) -> Result<(), Error> {
    let DetachPlan { vm, target, handle, found, .. } = plan;
    context.progress.on_event(Event::Begins(format!("Detaching disk '{target}' from VM '{vm}'...")));
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
    context.report_done("Disk detached");
    delete_volume(context, plan).map_err(unfinished)?;
    forget_disk(context, plan).map_err(unfinished)?;
    if let Some((what, why)) = plan.kept.as_ref().filter(|_| !plan.keep) {
        context.warn(format!("left: {what}: {why}"));
    }
    Ok(())
}

fn finish_advice(plan: &DetachPlan) -> Advice {
    let (vm, target) = (plan.handle.domain.command_name(), plan.target.clone());
    Advice::from(Verb::DiskDetach { vm, target, keep: plan.keep }).text(" finishes it")
}

/// From here on nothing deletes the volume.
fn release_volume(context: &Context, plan: &DetachPlan) -> Result<(), Error> {
    let Some(RecordedVolume { pool, name, .. }) = &plan.found.recorded else { return Ok(()) };
    update_record(context, &plan.handle.domain, |record| remove_volume(record, pool, name)).map(drop)
}

/// The disk stays, and so it is the VM's again.
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
            "foundry does not count {} as the VM's any more: destroy keeps it",
            recorded.reference()
        )),
    }
}

/// libvirt only passes the wish on: the guest lets go of a disk, or it does not.
fn detach_live(context: &Context, plan: &DetachPlan, target: &str, patience: Duration) -> Result<(), Error> {
    let DetachPlan { vm, handle, .. } = plan;
    let uuid = handle.domain.uuid;
    context.report_working("Waiting for the guest to let go of the disk");
    context.host.detach_disk(uuid, target, Affect::Live)?;
    if wait_until_detached(context, uuid, target, patience, || context.cancel.is_requested())? {
        return Ok(());
    }
    context.cancel.check().map_err(|e| e.outcome("the guest was asked and may still let go of the disk"))?;
    Err(Error::new(
        Code::DiskHeld,
        format!("the guest of VM '{vm}' did not let go of disk '{target}' in {} s", patience.as_secs()),
    )
    .hint("is it still booting, or is its kernel without PCI hotplug? A VM that is off needs no guest")
    .outcome("nothing was deleted; it may still let go, and has the disk again at its next start"))
}

/// Waits until a running domain has no such disk any more, and returns whether that happened. A domain that is off has none.
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

/// The VM is now one without that disk.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_tells_where_a_disk_is_mounted() {
        let answer = r#"{"return": [
            {"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": [{"serial": "vda", "dev": "/dev/vda1"}]},
            {"name": "vdc", "mountpoint": "/data", "type": "xfs", "disk": [{"serial": "vdb", "dev": "/dev/vdc"}]},
            {"name": "vdc2", "mountpoint": "/more", "type": "xfs", "disk": [{"serial": "vdb"}, {"serial": "x"}]},
            {"name": "tmpfs", "mountpoint": "/tmp", "disk": []}, {"name": "odd"}]}"#;
        assert_eq!(mounts_on(answer, "vdb"), ["/data", "/more"]);
        assert_eq!(mounts_on(answer, "vdc"), [] as [String; 0]);
        for nothing in ["", "{", "[]", r#"{"return": {}}"#, r#"{"error": {"class": "CommandNotFound"}}"#] {
            assert_eq!(mounts_on(nothing, "vdb"), [] as [String; 0], "{nothing}");
        }
    }
}
