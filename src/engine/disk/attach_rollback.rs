//! Rolls back a failed attach.

use std::time::Duration;

use super::attach_plan::AttachPlan;
use super::detach::wait_until_detached;
use super::record_update::{add_disk, insert_volume, read_record, remove_disk, remove_volume, update_record};
use crate::Context;
use crate::advice::list_unused;
use crate::vm::lookup::{is_gone, or_removed_meanwhile};
use foundry_core::error::{Advice, Error, Kind, Outcome, Remainder, Verb};
use foundry_core::plan::DiskFormat;
use foundry_core::record::{Record, RecordedVolume, VolumeRef};
use foundry_core::units::GIB;
use foundry_host::{Affect, HostError, View};

/// How long a guest may take to release a disk that was just attached.
const PATIENCE: Duration = Duration::from_secs(10);

/// The steps that this run has done.
#[derive(Debug, Default)]
pub(super) struct AttachSteps {
    /// It created the volume.
    pub(super) volume: bool,
    /// It is unknown whether this run or another process created the existing volume.
    pub(super) doubtful: bool,
    /// The disk may be plugged in.
    pub(super) plugged: bool,
}

/// Undoes all steps, newest first. The note in the record is kept as long as anything else is left: `detach` and
/// `destroy` find it by that note.
pub(super) fn roll_back(context: &Context, plan: &AttachPlan, made: &AttachSteps, error: Error) -> Error {
    let error = if context.cancel.is_requested() { error.of_kind(Kind::Interrupted) } else { error };
    let taken_back = undo_steps(context, plan, made);
    let domain = &plan.handle.domain;
    let error = or_removed_meanwhile(context, domain, error);
    match taken_back {
        Ok(()) => error.outcome(Outcome::RolledBack),
        Err(left) => {
            let next = if is_gone(context, domain.uuid) { list_unused() } else { removal_advice(plan) };
            error.outcome(Outcome::Left(vec![left])).outcome(next)
        }
    }
}

/// As [`roll_back`], if writing the note failed. If the record does not have the note, nothing was changed.
pub(super) fn roll_back_unrecorded(context: &Context, plan: &AttachPlan, error: Error) -> Error {
    if !matches!(is_noted_by_us(context, plan), Ok(false)) {
        return roll_back(context, plan, &AttachSteps::default(), error);
    }
    let error = if context.cancel.is_requested() { error.of_kind(Kind::Interrupted) } else { error };
    or_removed_meanwhile(context, &plan.handle.domain, error).unchanged()
}

/// The commands that finish or remove an attach that could not be rolled back.
pub(super) fn removal_advice(plan: &AttachPlan) -> Advice {
    let (vm, target) = (plan.handle.domain.command_name(), plan.disk.target.to_string());
    Advice::from(retry_command(plan))
        .text(" finishes it, ")
        .run(Verb::DiskDetach { vm, target, keep: false })
        .text(" removes it")
}

/// The command that continues with this disk. It names the device: without it, the command would attach a second disk
/// if this one turns out to be complete.
fn retry_command(plan: &AttachPlan) -> Verb {
    let at_next_start = plan.handle.live.is_some() && !plan.live;
    attach_command(plan, Some(plan.disk.target.to_string()), at_next_start)
}

/// The command that attaches a disk as planned.
pub(super) fn attach_command(plan: &AttachPlan, target: Option<String>, at_next_start: bool) -> Verb {
    let (vm, disk) = (plan.handle.domain.command_name(), &plan.disk);
    let content = match plan.volume.adopted {
        true => plan.volume.reference().to_argument(),
        false => format!("{}GiB", disk.size.0 / GIB),
    };
    let raw = disk.format == DiskFormat::Raw && !plan.volume.adopted;
    let serial = disk.serial.as_ref().map(ToString::to_string);
    Verb::DiskAttach { vm, content, target, raw, serial, at_next_start }
}

/// Undoes the steps. The error says what is left and why.
fn undo_steps(context: &Context, plan: &AttachPlan, made: &AttachSteps) -> Result<(), Remainder> {
    let volume = plan.volume.reference().to_string();
    check_insisted(context, &volume)?;
    let told = |e: HostError| Error::from(e).to_string();
    if is_gone(context, plan.handle.domain.uuid) {
        return clear_after_destroy(context, plan, made).map_err(|why| Remainder::new(&volume, why));
    }
    if made.plugged {
        let disk = format!("disk '{}' of VM '{}' with {volume}", plan.disk.target, plan.handle.name());
        detach_again(context, plan, made).map_err(|why| Remainder::new(&disk, why))?;
    }
    check_insisted(context, &volume)?;
    if made.doubtful {
        return leave_to_its_maker(context, plan);
    }
    if plan.volume_is_there && !plan.volume.adopted {
        return Err(Remainder::new(&volume, "an earlier run made it"));
    }
    if made.volume {
        let deleted = context.host.delete_volume(&plan.volume.reference());
        deleted.map_err(|e| Remainder::new(&volume, told(e)))?;
    }
    change_record(context, plan, |record| {
        record.volumes.retain(|v| *v != plan.volume);
        if made.volume || plan.volume.adopted {
            // The record may already have been updated to list it as an ordinary disk.
            remove_volume(record, &plan.volume.pool, &plan.volume.name);
            remove_disk(&mut record.manifest.spec, plan.disk.target.as_str());
        }
    })
}

/// Deletes the volume after the VM was destroyed meanwhile and its record is gone. As long as no other VM has its
/// name, no other process can have created a volume with this name.
fn clear_after_destroy(context: &Context, plan: &AttachPlan, made: &AttachSteps) -> Result<(), String> {
    let told = |e: HostError| Error::from(e).to_string();
    let RecordedVolume { pool, name, .. } = &plan.volume;
    if made.volume && context.host.domain(plan.handle.name()).map_err(told)?.is_none() {
        return context.host.delete_volume(&plan.volume.reference()).map_err(told);
    }
    match context.host.volume(&VolumeRef::new(pool, name)).map_err(told)? {
        None => Ok(()),
        Some(_) if plan.volume.adopted => Ok(()),
        Some(_) => {
            Err("the VM was deleted by another process meanwhile; it may belong to another VM now".into())
        }
    }
}

fn check_insisted(context: &Context, volume: &str) -> Result<(), Remainder> {
    if context.cancel.is_insisted() {
        return Err(Remainder::new(volume, "the rollback was interrupted"));
    }
    Ok(())
}

fn change_record(context: &Context, plan: &AttachPlan, act: impl Fn(&mut Record)) -> Result<(), Remainder> {
    let vm = plan.handle.name();
    update_record(context, &plan.handle.domain, act).map(drop).map_err(|e| Remainder {
        object: format!("the note of {} in the record of VM '{vm}'", plan.volume.reference()),
        why: e.to_string(),
    })
}

/// Returns whether the record has this run's note. Another process may have attached a disk at the same time and
/// overwritten it with its own.
fn is_noted_by_us(context: &Context, plan: &AttachPlan) -> Result<bool, String> {
    let record = read_record(context, &plan.handle.domain).map_err(|e| e.to_string())?;
    Ok(record.volumes.contains(&plan.volume))
}

/// Leaves a volume that may belong to another process. If the domain already has it as a disk, that process has
/// finished, and this run's note may have overwritten its entry; then the entry is restored.
fn leave_to_its_maker(context: &Context, plan: &AttachPlan) -> Result<(), Remainder> {
    let RecordedVolume { pool, name, .. } = &plan.volume;
    let left = |why: String| Remainder::new(VolumeRef::new(pool, name).to_string(), why);
    let unknown = || Err(left("it may exist".into()));
    let told = |e: HostError| Error::from(e).to_string();
    if !is_plugged(context, plan, View::Config).map_err(left)? {
        return unknown();
    }
    let Some(found) = context.host.volume(&VolumeRef::new(pool, name)).map_err(|e| left(told(e)))? else {
        return unknown();
    };
    change_record(context, plan, |record| {
        if record.volumes.contains(&plan.volume) {
            let (capacity, format) = (found.capacity, found.format.clone());
            remove_volume(record, pool, name);
            insert_volume(
                record,
                RecordedVolume { attaching: None, capacity, format, ..plan.volume.clone() },
            );
            add_disk(&mut record.manifest.spec, &plan.disk_as(&found));
        }
    })
}

/// Returns whether the domain has the disk on this volume.
fn is_plugged(context: &Context, plan: &AttachPlan, view: View) -> Result<bool, String> {
    let described = context.host.describe(plan.handle.domain.uuid, view);
    let described = described.map_err(|e| Error::from(e).to_string())?;
    let disk = described.as_ref().and_then(|d| d.disk(plan.disk.target.as_str()));
    Ok(disk.and_then(|d| d.source.path()) == Some(&plan.volume.path))
}

/// Unplugs the disk from the running and the persistent definition, and returns when neither has it.
fn detach_again(context: &Context, plan: &AttachPlan, made: &AttachSteps) -> Result<(), String> {
    if !made.volume && !plan.volume.adopted && !is_noted_by_us(context, plan)? {
        return Ok(());
    }
    let told = |e: HostError| Error::from(e).to_string();
    let (uuid, target) = (plan.handle.domain.uuid, plan.disk.target.as_str());
    let is_active = context.host.state(uuid).map_err(told)?.is_some_and(|now| now.state.is_active());
    if is_active && is_plugged(context, plan, View::Current)? {
        context.host.detach_disk(uuid, target, Affect::Live).map_err(told)?;
        let give_up = || context.cancel.is_insisted();
        if !wait_until_detached(context, uuid, target, PATIENCE, give_up).map_err(|e| e.to_string())? {
            return Err("the guest does not release it".into());
        }
    }
    if is_plugged(context, plan, View::Config)? {
        context.host.detach_disk(uuid, target, Affect::Config).map_err(told)?;
    }
    Ok(())
}
