//! Ejects the cloud-init seed of a VM: [`plan_eject`] checks whether cloud-init is done with it, [`eject_seed`]
//! deletes it.
//!
//! ```text
//!   unplug the CD-ROM ▸ delete the volume ▸ out of the record
//! ```
//!
//! The record names the volume until it is deleted. So if the command is killed, the same command or `destroy`
//! finishes the work. Afterwards only the guest has the secrets from the seed; the record keeps their digests.

use std::time::Duration;

use super::destroy::VolumeToDelete;
use super::lookup::or_removed_meanwhile;
use super::wait;
use crate::disk::own_disk::{is_on, is_same_file};
use crate::storage::usage::Usage;
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::{Context, Step, Task, disk};
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::record::{RecordedVolume, VolumeRef, VolumeRole};
use foundry_host::libvirt_xml::{DiskDescription, DiskDevice, DiskSource, DomainDescription};
use foundry_host::{Affect, Volume};

/// How long to wait until a guest releases a CD-ROM. A SCSI drive is detached without asking the guest.
const PATIENCE: Duration = Duration::from_secs(10);

/// What would be ejected.
#[derive(Debug, Clone, PartialEq)]
pub struct EjectPlan {
    /// The name of the VM with the seed.
    pub vm: String,
    /// Whether a running guest has the seed.
    pub live: bool,
    /// The volume to delete.
    pub volume: Option<VolumeToDelete>,
    /// The volume or path that is not deleted, and why.
    pub kept_back: Option<(String, String)>,
    handle: VmHandle,
    seed: RecordedVolume,
    force: bool,
}

/// Checks whether the seed of a VM can be ejected; changes nothing. Returns `None` if it was ejected already. With
/// `force`, the seed can be ejected even if it is unknown whether cloud-init is done.
///
/// # Errors
/// [`Kind::Vm`] if there is no such VM, it was created without a seed, or cloud-init is not known to be done.
pub fn plan_eject(context: &Context, vm: &str, force: bool) -> Result<Option<EjectPlan>, Error> {
    let handle = VmHandle::find(context, vm)?;
    let vm = handle.domain.name.clone();
    let Some(seed) = handle.record.volumes.iter().find(|v| v.role == VolumeRole::Seed).cloned() else {
        return match handle.record.instance_id {
            Some(_) => Ok(None),
            None => Err(refused_unchanged(
                Code::SeedMissing,
                format!("VM '{vm}' was made without a cloud-init seed"),
            )),
        };
    };
    let live = handle.live.as_ref().is_some_and(|d| find_drive(d, &seed).is_some());
    // If the seed is in no drive any more, an earlier run that was interrupted has already checked this.
    if !force && (live || find_drive(&handle.next, &seed).is_some()) {
        check_done(context, &handle).map_err(|e| or_removed_meanwhile(context, &handle.domain, e))?;
    }
    disk::check_snapshots(context, &handle, "reverting to one would need the seed again")
        .map_err(|e| or_removed_meanwhile(context, &handle.domain, e))?;
    if !force {
        handle.check_not_locked(context, &seed).map_err(|e| e.hint(by_force(&handle)))?;
    }
    let mut plan = EjectPlan { vm, live, volume: None, kept_back: None, handle, seed, force };
    plan.decide_volume(context)?;
    Ok(Some(plan))
}

/// Finds the CD-ROM drive with the seed, or the empty drive that it was in.
pub(super) fn find_drive<'a>(
    described: &'a DomainDescription,
    seed: &RecordedVolume,
) -> Option<&'a DiskDescription> {
    let target = seed.disk_target()?;
    let has_it = |d: &&DiskDescription| {
        let is_empty = d.target == target && d.device == DiskDevice::Cdrom && d.source == DiskSource::None;
        is_empty || is_on(d, seed)
    };
    described.disks.iter().find(has_it)
}

fn by_force(handle: &VmHandle) -> Advice {
    Advice::from(Verb::SeedEject { vm: handle.domain.command_name(), force: true }).text(" ejects it anyway")
}

fn check_done(context: &Context, handle: &VmHandle) -> Result<(), Error> {
    let (vm, by_force) = (&handle.domain.name, by_force(handle));
    let is_done = wait::is_cloud_init_done(context, &handle.domain, &handle.record)
        .map_err(|e| if e.kind() == Kind::Vm { e.hint(by_force.clone()) } else { e })?;
    if is_done {
        return Ok(());
    }
    Err(refused_unchanged(Code::CloudInitUndone, format!("cloud-init in VM '{vm}' is not known to be done"))
        .because("neither its guest agent nor its console says so")
        .hint(Advice::from("wait for it").and_then("; if you know that it is done: ", by_force)))
}

impl EjectPlan {
    /// Plans to delete the volume if it is the recorded one and nothing else uses it.
    fn decide_volume(&mut self, context: &Context) -> Result<(), Error> {
        let RecordedVolume { pool, name, path, .. } = &self.seed;
        let Some(found) = context.host.volume(&VolumeRef::new(pool, name))? else {
            return self.check_missing_volume(context);
        };
        let reason = if !is_same_file(context, &found.path, path) {
            Some(format!("it is at {} and not at {path}", found.path))
        } else if let Some(doubt) = self.handle.ownership().reason_to_doubt(&self.seed, &found) {
            Some(doubt)
        } else {
            Usage::collect(context, Some(self.handle.domain.uuid))?.reason_to_keep_of(
                &VolumeRef::new(pool, name),
                path,
                &[],
            )
        };
        match reason {
            Some(reason) => self.kept_back = Some((VolumeRef::new(pool, name).to_string(), reason)),
            None => self.volume = Some(volume_to_delete(found)),
        }
        Ok(())
    }

    /// Fails if libvirt does not list the volume because its pool is stopped; otherwise the volume is gone.
    fn check_missing_volume(&self, context: &Context) -> Result<(), Error> {
        let RecordedVolume { pool, name, .. } = &self.seed;
        match context.host.pool(pool)? {
            Some(found) if !found.active => Err(Error::new(
                Code::PoolInactive,
                format!("pool '{pool}' with volume '{name}' is not started"),
            )
            .hint(Verb::PoolStart { pool: pool.clone() })
            .unchanged()),
            _ => Ok(()),
        }
    }
}

fn volume_to_delete(volume: Volume) -> VolumeToDelete {
    let Volume { pool, name, path, capacity, .. } = volume;
    VolumeToDelete { pool, name, path, capacity, role: Some(VolumeRole::Seed) }
}

/// Executes a plan: detaches the drive, deletes the volume, removes it from the record.
///
/// # Errors
/// The failure of a step. The same command again finishes the work.
pub fn eject_seed(context: &Context, plan: &EjectPlan) -> Result<(), Error> {
    let vm = &plan.vm;
    context.report_begun(Task::EjectSeed(vm.to_string()));
    context.cancel.check_unchanged()?;
    // The same `force` as before: the drive may still be there, and then the next run checks cloud-init again.
    let again = Verb::SeedEject { vm: plan.handle.domain.command_name(), force: plan.force };
    let finishing = Advice::from(again).text(" finishes it");
    let unfinished =
        |error: Error| or_removed_meanwhile(context, &plan.handle.domain, error.outcome(finishing.clone()));
    detach_drive(context, plan).map_err(unfinished)?;
    context.report_finished(Step::DetachCdrom);
    delete_volume(context, plan).map_err(unfinished)?;
    let RecordedVolume { pool, name, .. } = &plan.seed;
    disk::remove_from_record(context, &plan.handle.domain, pool, name).map_err(unfinished)?;
    if let Some((what, why)) = &plan.kept_back {
        context.warn(format!("left: {what}: {why}"));
    }
    Ok(())
}

/// Detaches the drive. Does nothing if the drive is gone or has another medium by now.
fn detach_drive(context: &Context, plan: &EjectPlan) -> Result<(), Error> {
    let EjectPlan { vm, handle, seed, .. } = plan;
    let uuid = handle.domain.uuid;
    let target = |described: Option<&DomainDescription>| {
        described.and_then(|d| find_drive(d, seed)).map(|d| d.target.clone())
    };
    if let Some(target) = target(handle.live.as_ref()) {
        context.host.detach_disk(uuid, &target, Affect::Live)?;
        if !disk::wait_until_detached(context, uuid, &target, PATIENCE, || context.cancel.is_requested())? {
            context.cancel.check()?;
            let message = format!("the guest of VM '{vm}' does not release its CD-ROM '{target}'");
            return Err(Error::new(Code::DiskHeld, message));
        }
    }
    if let Some(target) = target(Some(&handle.next)) {
        context.cancel.check()?;
        context.host.detach_disk(uuid, &target, Affect::Config)?;
    }
    Ok(())
}

fn delete_volume(context: &Context, plan: &EjectPlan) -> Result<(), Error> {
    let Some(volume) = &plan.volume else { return Ok(()) };
    let what = format!("the seed of VM '{}' was ejected", plan.vm);
    // The path is not compared: it differs if the pool was moved.
    let is_seed = |v: &RecordedVolume| (&v.pool, &v.name) == (&plan.seed.pool, &plan.seed.name);
    disk::delete_unplugged(context, &plan.handle.domain, volume, |v| is_seed(v), &what)
}
