//! Takes a repave back: the VM gets its previous boot disk and seed again, and the new ones are deleted.

use std::time::Duration;

use foundry_core::error::{Code, Error, Outcome};
use foundry_core::record::{Maker, RepaveStage, VolumeRef};
use foundry_host::local::user_and_host;
use foundry_host::{Domain, DomainState};

use super::RepaveSource;
use super::definition::exchange_disks;
use super::spare::delete_spare;
use super::state::{again_advice, has_work_to_finish};
use crate::change::edit_repaved;
use crate::poll::{Poll, Waited};
use crate::storage::pending_volumes::wait_for_volumes;
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::vm::lookup::{or_removed_meanwhile, removed_meanwhile};
use crate::vm::power::{self, StartMethod};
use crate::vm::stop;
use crate::{Context, Step, lock};

/// How long the guest of a failed repave may take to shut down. Its boot disk is deleted anyway, but it may have
/// mounted the data disks.
pub(super) const LONGEST_SHUTDOWN: Duration = Duration::from_secs(20);

/// Time between two checks of a guest that shuts down.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Takes back a repave that failed, and adds to the error what became of it. The caller holds the VM's lock.
pub(super) fn undo_repave(
    context: &Context,
    domain: &Domain,
    (maker, strangers): (&Maker, &[VolumeRef]),
    half_done: [Outcome; 2],
    error: Error,
) -> Error {
    // What the failed step advises is out of date after the rollback.
    let is_kept = |outcome: &&Outcome| matches!(outcome, Outcome::Excerpt { .. } | Outcome::Note(_));
    let excerpts: Vec<Outcome> = error.outcomes().iter().filter(is_kept).cloned().collect();
    let error = or_removed_meanwhile(context, domain, error);
    if error.code() == Code::ChangedMeanwhile && crate::vm::lookup::is_gone(context, domain.uuid) {
        return error;
    }
    let told = |error: Error, outcomes: Vec<Outcome>| {
        let all = outcomes.into_iter().chain(excerpts.clone());
        let mut all = all.collect::<Vec<_>>().into_iter();
        let first = all.next().unwrap_or(Outcome::Unchanged);
        all.fold(error.only_outcome(first), Error::outcome)
    };
    match try_undo(context, domain, maker, strangers) {
        Ok(Undone::Nothing) => told(error, vec![Outcome::Unchanged]),
        Ok(Undone::NotOurs) => error,
        Ok(Undone::VolumesDeleted) => told(error, vec![Outcome::RolledBack]),
        Ok(Undone::BroughtBack) => {
            let back = format!("VM '{}' has its previous boot disk again", domain.name);
            told(error, vec![back.into()])
        }
        Err(failed) => {
            let why = format!("the repave of VM '{}' could not be taken back: {failed}", domain.name);
            told(error, std::iter::once(why.into()).chain(half_done).collect())
        }
    }
}

/// What was undone.
enum Undone {
    /// Nothing had been noted.
    Nothing,
    /// Another process works on it now.
    NotOurs,
    /// The new volumes.
    VolumesDeleted,
    /// The definition, and the new volumes.
    BroughtBack,
}

fn try_undo(
    context: &Context,
    domain: &Domain,
    maker: &Maker,
    strangers: &[VolumeRef],
) -> Result<Undone, Error> {
    refuse_if_insisted(context)?;
    let handle = find_same(context, domain)?;
    let Some(note) = &handle.record.repave else { return Ok(Undone::Nothing) };
    if note.maker != *maker {
        return Ok(Undone::NotOurs);
    }
    match note.stage {
        RepaveStage::OnTrial => bring_back(context, domain).map(|()| Undone::BroughtBack),
        RepaveStage::Preparing => {
            take_back_prepared(context, domain, strangers).map(|()| Undone::VolumesDeleted)
        }
        RepaveStage::Kept | RepaveStage::Accepted | RepaveStage::Rejected => Ok(Undone::NotOurs),
    }
}

/// Gives the VM its previous boot disk and seed, starts it if it ran, and deletes the new ones. The caller holds the
/// VM's lock.
///
/// # Errors
/// A failed step; the same again finishes it.
pub(super) fn bring_back(context: &Context, domain: &Domain) -> Result<(), Error> {
    context.report_started(Step::BringBackBootDisk);
    stop_soon(context, domain)?;
    refuse_if_insisted(context)?;
    let handle = find_same(context, domain)?;
    // The definition comes last: until then the note says what was there before.
    if let Some(autostart) = handle.record.autostart_before().filter(|on| *on != handle.domain.autostart) {
        context.host.set_autostart(domain.uuid, autostart)?;
    }
    let mut after = handle.record.clone();
    let Some(parts) = after.repave.as_mut().and_then(|note| note.before.take()) else {
        return Err(Error::new(Code::NothingToRollBack, no_previous_disk(&domain.name)));
    };
    let backing_format = parts.backing_format.clone();
    after.exchange_boot(*parts, None);
    if let Some(note) = &mut after.repave {
        note.stage = RepaveStage::Rejected;
    }
    define_exchanged(context, &handle, after, backing_format)?;
    context.report_finished(Step::BringBackBootDisk);
    finish_rejected(context, domain)
}

/// Starts a VM that has its previous boot disk again, if it ran, and deletes the new one.
pub(super) fn finish_rejected(context: &Context, domain: &Domain) -> Result<(), Error> {
    let method = start_method(&find_same(context, domain)?);
    start_and_delete_spare(context, domain, method, &[])
}

/// Takes back a repave that has not exchanged the boot disk. The caller holds the VM's lock.
pub(super) fn take_back_prepared(
    context: &Context,
    domain: &Domain,
    strangers: &[VolumeRef],
) -> Result<(), Error> {
    start_and_delete_spare(context, domain, StartMethod::AsItIs, strangers)
}

/// The note that the VM ran is deleted with the volumes, so the start comes first.
fn start_and_delete_spare(
    context: &Context,
    domain: &Domain,
    method: StartMethod,
    strangers: &[VolumeRef],
) -> Result<(), Error> {
    let handle = find_same(context, domain)?;
    let ran = handle.record.repave.as_ref().is_some_and(|note| note.ran);
    if ran && handle.domain.state == DomainState::ShutOff {
        power::start_off_vm(context, &handle.domain, &handle.record, method)?;
        context.report_finished(Step::StartVm);
    }
    // The definitions of a running VM are other ones than before.
    delete_spare(context, &find_same(context, domain)?, strangers)
}

/// Deletes the spare volumes that an interrupted repave left. A VM that was stopped for a repave that is taken back is
/// started again.
///
/// # Errors
/// If the VM has changed since, or a call to the host fails.
pub(crate) fn finish_spare(context: &Context, domain: &Domain) -> Result<(), Error> {
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name)?;
    let handle = VmHandle::find(context, &domain.name)?;
    if handle.domain.uuid != domain.uuid || !has_work_to_finish(&handle.record) {
        let message = format!("VM '{}' has changed since it was checked", domain.name);
        return Err(refused_unchanged(Code::ChangedMeanwhile, message));
    }
    wait_for_volumes(context, &handle.record)?;
    match handle.record.repave.as_ref().map(|note| note.stage) {
        Some(RepaveStage::Preparing) => take_back_prepared(context, domain, &[]),
        Some(RepaveStage::Rejected) => finish_rejected(context, domain),
        _ => delete_spare(context, &handle, &[]),
    }
}

/// Defines the domain with the other boot disk; `after` is its record then.
pub(super) fn define_exchanged(
    context: &Context,
    handle: &VmHandle,
    mut after: foundry_core::record::Record,
    backing_format: Option<String>,
) -> Result<(), Error> {
    let before = &handle.record;
    let now = context.clock.timestamp();
    if after.manifest != before.manifest {
        after.note_revision(&before.manifest, user_and_host(), &now);
    }
    after.changed_at = now;
    let Some(xml) = context.host.full_definition(handle.domain.uuid)? else {
        return Err(removed_meanwhile(handle.name()));
    };
    let xml = edit_repaved(context, handle, &after, xml)?;
    let xml = exchange_disks(context, &xml, before, &after, backing_format)?;
    context.host.define_domain(&xml)?;
    Ok(())
}

/// The EFI variables name the boot entries of the disk that was there.
pub(super) fn start_method(handle: &VmHandle) -> StartMethod {
    let has_variables = handle.next.firmware.as_deref() == Some("efi") || handle.next.nvram.is_some();
    if has_variables { StartMethod::NewVariables } else { StartMethod::AsItIs }
}

/// Finds the VM again; it must be the same domain.
pub(super) fn find_same(context: &Context, domain: &Domain) -> Result<VmHandle, Error> {
    let handle = VmHandle::find(context, &domain.name)?;
    match handle.domain.uuid == domain.uuid {
        true => Ok(handle),
        false => Err(removed_meanwhile(&domain.name)),
    }
}

/// Asks the guest to shut down, also after an interruption, and forces it off if it does not.
fn stop_soon(context: &Context, domain: &Domain) -> Result<(), Error> {
    let state = context.host.state(domain.uuid)?.map_or(DomainState::ShutOff, |now| now.state);
    if state == DomainState::ShutOff {
        return Ok(());
    }
    let asked = match state.is_executing() {
        true => context.host.request_shutdown(domain.uuid).is_ok(),
        false => false,
    };
    if asked {
        let is_off = || -> Result<Option<()>, Error> {
            let now = context.host.state(domain.uuid)?;
            Ok(now.is_none_or(|now| now.state == DomainState::ShutOff).then_some(()))
        };
        let waited = Poll::new(context, POLL_EVERY)
            .woken_by(domain.uuid)
            .within(LONGEST_SHUTDOWN)
            .unless(|| context.cancel.is_insisted())
            .until(is_off)?;
        if waited == Waited::Done(()) {
            return Ok(());
        }
        refuse_if_insisted(context)?;
    }
    stop::force_off(context, domain.uuid, &domain.name)
}

/// A second interrupt ends the rollback.
fn refuse_if_insisted(context: &Context) -> Result<(), Error> {
    match context.cancel.is_insisted() {
        true => Err(Error::new(Code::InterruptedAgain, "the rollback was interrupted")),
        false => Ok(()),
    }
}

pub(super) fn no_previous_disk(vm: &str) -> String {
    format!("VM '{vm}' has no boot disk from before a repave")
}

/// What is left if the process ends during a repave.
pub(super) fn half_done_outcomes(domain: &Domain, source: &RepaveSource) -> [Outcome; 2] {
    [
        format!("the repave of VM '{}' is not finished; its record names all volumes", domain.name).into(),
        again_advice(domain, source).into(),
    ]
}
