//! Ends a repave by the user's decision: the previous boot disk is deleted, or brought back.

use foundry_core::error::{Code, Error};
use foundry_core::record::{Repave, RepaveStage, VolumeRole};
use foundry_host::Domain;

use super::run::accept_note;
use super::spare::delete_spare;
use super::state::refuse_if_busy;
use super::undo::{
    bring_back, find_same, finish_rejected, half_done_outcomes, no_previous_disk, take_back_prepared,
};
use super::{RepaveChange, RepaveReport, RepaveSource};
use crate::disk::{find_boot_disk, update_locked_record};
use crate::storage::pending_volumes::wait_for_volumes;
use crate::vm::handle::{VmHandle, find_own_vm, refused_unchanged};
use crate::vm::power::{self, StopOptions};
use crate::{Context, Task, lock};

/// Accepts the last repave of a VM: its previous boot disk and seed are deleted. Does nothing if there are none.
///
/// # Errors
/// If a process works on the repave; the failure of a step, which the same again finishes.
pub fn accept_repave(context: &Context, name: &str) -> Result<RepaveReport, Error> {
    let (domain, _) = find_own_vm(context, name)?;
    let report = |change| RepaveReport::new(&domain, change, Vec::new());
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(Error::unchanged)?;
    let handle = find_same(context, &domain)?;
    let Some(note) = &handle.record.repave else { return Ok(report(RepaveChange::NothingKept)) };
    refuse_if_busy(&domain, note, false)?;
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers(half_done_outcomes(&domain, &RepaveSource::Recorded));
    let change = match note.stage {
        RepaveStage::OnTrial | RepaveStage::Kept => {
            change_note(context, &domain, accept_note)?;
            RepaveChange::Accepted
        }
        RepaveStage::Accepted => RepaveChange::Accepted,
        // What was being made, or had failed, is nothing to accept.
        RepaveStage::Preparing | RepaveStage::Rejected => RepaveChange::NothingKept,
    };
    wait_for_volumes(context, &handle.record)?;
    let deleted = find_same(context, &domain).and_then(|handle| delete_spare(context, &handle, &[]));
    deleted.map_err(|error| {
        half_done_outcomes(&domain, &RepaveSource::Recorded).into_iter().fold(error, Error::outcome)
    })?;
    Ok(report(change))
}

/// Brings the previous boot disk and seed of a VM back. The VM is stopped for that, and started again if it ran.
///
/// # Errors
/// [`Code::NothingToRollBack`] if there are none; the failure of a step, which the same again finishes.
pub fn roll_back_repave(context: &Context, name: &str, stop: StopOptions) -> Result<RepaveReport, Error> {
    let (domain, _) = find_own_vm(context, name)?;
    context.report_begun(Task::RollBackVm(domain.name.clone()));
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers(half_done_outcomes(&domain, &RepaveSource::Recorded));
    let report = RepaveReport::new(&domain, RepaveChange::RolledBack, Vec::new());
    let half_done = |error: Error| {
        half_done_outcomes(&domain, &RepaveSource::Recorded).into_iter().fold(error, Error::outcome)
    };
    let Some(before) = begin_rollback(context, &domain, stop)? else { return Ok(report) };
    if let Err(error) = stop_guest(context, &domain, stop) {
        let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(half_done)?;
        // If it still runs, nothing has changed but the note. Otherwise the note says that it ran.
        let handle = find_same(context, &domain).map_err(half_done)?;
        if !handle.domain.state.is_active() {
            return Err(half_done(error));
        }
        change_note(context, &domain, |note| *note = before.clone()).map_err(half_done)?;
        return Err(error);
    }
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(half_done)?;
    bring_back(context, &domain).map_err(half_done)?;
    Ok(report)
}

/// Finishes what is decided, or notes that a rollback is under way; then it returns the note from before.
fn begin_rollback(context: &Context, domain: &Domain, stop: StopOptions) -> Result<Option<Repave>, Error> {
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(Error::unchanged)?;
    let handle = find_same(context, domain)?;
    let Some(note) = handle.record.repave.clone() else { return Err(nothing_to_roll_back(domain)) };
    refuse_if_busy(domain, &note, stop.force)?;
    match note.stage {
        RepaveStage::Accepted => {
            return Err(nothing_to_roll_back(domain).because("it was being deleted"));
        }
        RepaveStage::Preparing => {
            wait_for_volumes(context, &handle.record)?;
            return take_back_prepared(context, domain, &[]).map(|()| None);
        }
        RepaveStage::Rejected => return finish_rejected(context, domain).map(|()| None),
        RepaveStage::OnTrial | RepaveStage::Kept => {}
    }
    check_rollback(context, &handle, &note, stop)?;
    context.cancel.check_unchanged()?;
    // If this process is killed while the guest shuts down, the next one knows that the VM ran.
    let (maker, is_active) = (context.lease.maker(), handle.domain.state.is_active());
    let ran = is_active || (note.ran && note.stage == RepaveStage::OnTrial);
    change_note(context, domain, |note| {
        (note.stage, note.maker, note.ran) = (RepaveStage::OnTrial, maker.clone(), ran);
    })?;
    Ok(Some(note))
}

/// Checks what a rollback needs before the guest is stopped.
fn check_rollback(
    context: &Context,
    handle: &VmHandle,
    note: &Repave,
    stop: StopOptions,
) -> Result<(), Error> {
    power::check_stoppable(&handle.domain, stop)?;
    find_boot_disk(context, handle, "it describes the boot disk that is replaced")?;
    for volume in &note.spare {
        if context.host.volume(&volume.reference())?.is_none() {
            let what = if volume.role == VolumeRole::Boot { "boot disk" } else { "seed" };
            let message =
                format!("the previous {what} of VM '{}' is gone: {}", handle.name(), volume.reference());
            return Err(refused_unchanged(Code::VolumeMissing, message));
        }
    }
    Ok(())
}

fn stop_guest(context: &Context, domain: &Domain, stop: StopOptions) -> Result<(), Error> {
    let domain = find_same(context, domain)?.domain;
    power::stop_found(context, &domain, stop).map(drop)
}

fn change_note(context: &Context, domain: &Domain, change: impl Fn(&mut Repave)) -> Result<(), Error> {
    let change = |note: &mut Option<Repave>| note.iter_mut().for_each(&change);
    update_locked_record(context, domain, |record| change(&mut record.repave)).map(drop)
}

fn nothing_to_roll_back(domain: &Domain) -> Error {
    refused_unchanged(Code::NothingToRollBack, no_previous_disk(&domain.name))
}
