//! Repaves a VM, or takes the repave back.

use foundry_core::error::{Code, Error, Outcome};
use foundry_core::plan::VmPlan;
use foundry_core::record::{Maker, RecordedVolume, Repave, RepaveStage, VolumeRef, VolumeRole};
use foundry_host::{Domain, DomainState};

use super::plan::{RepavePlan, check_repave, is_same_target};
use super::spare::delete_spare;
use super::state::{refuse_if_busy, undecided_error};
use super::undo::{define_exchanged, find_same, half_done_outcomes, start_method, undo_repave};
use super::{RepaveChange, RepaveReport, RepaveRequest};
use crate::disk::update_locked_record;
use crate::preflight::conflicts::find_conflicts;
use crate::storage::pending_volumes::wait_for_volumes;
use crate::storage::volumes::{fill_seed, make_disk};
use crate::vm::create::{CreatedVm, ensure_pool};
use crate::vm::handle::{VmHandle, find_own_vm};
use crate::vm::journal::Journal;
use crate::vm::power;
use crate::vm::wait::wait_for_vm;
use crate::{Context, Step, Task, lock};

/// Gives a VM a new boot disk and a new seed. If a step or the wait fails, it gets the old ones again.
///
/// The same command finishes a repave that was interrupted.
///
/// # Errors
/// A problem that the checks found, before any change; or the failure of a step or of the wait, after a rollback.
pub fn repave_vm(context: &Context, request: &RepaveRequest<'_>) -> Result<RepaveReport, Error> {
    let (domain, _) = find_own_vm(context, request.vm)?;
    context.report_begun(Task::RepaveVm(domain.name.clone()));
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers(half_done_outcomes(&domain, &request.source));
    let run = Run { context, request, domain: &domain, maker: context.lease.maker() };
    let report = |change, addresses| RepaveReport::new(&domain, change, addresses);
    match run.begin()? {
        Begun::Finished => return Ok(report(RepaveChange::Repaved, Vec::new())),
        Begun::Prepared(plan) => run.replace_boot_disk(*plan)?,
        Begun::OnTrial => run.resume_trial()?,
    }
    let Some((goal, timeout)) = request.wait else {
        run.keep()?;
        return Ok(report(RepaveChange::RepavedOnTrial, Vec::new()));
    };
    let vm = CreatedVm { uuid: domain.uuid, record: find_same(context, &domain)?.record };
    let addresses = wait_for_vm(context, &vm, goal, timeout).map_err(|error| run.take_back(error))?;
    run.accept()?;
    Ok(report(RepaveChange::Repaved, addresses))
}

struct Run<'a> {
    context: &'a Context,
    request: &'a RepaveRequest<'a>,
    domain: &'a Domain,
    maker: Maker,
}

/// How far a repave is when this run has begun.
enum Begun {
    /// An earlier run had done everything but deleting the old volumes.
    Finished,
    /// The new volumes are made.
    Prepared(Box<RepavePlan>),
    /// An earlier run ended during the trial.
    OnTrial,
}

impl Run<'_> {
    /// Continues what an earlier run left, or checks everything and makes the new volumes.
    fn begin(&self) -> Result<Begun, Error> {
        let context = self.context;
        let _lock = lock::lock_vm(context, self.domain.uuid, &self.domain.name).map_err(Error::unchanged)?;
        let mut handle = find_same(context, self.domain)?;
        let mut ran = false;
        if let Some(note) = handle.record.repave.clone() {
            refuse_if_busy(&handle.domain, &note, self.request.stop.force)?;
            let is_same = || is_same_target(context, &handle, &self.request.source);
            match note.stage {
                RepaveStage::Kept => return Err(undecided_error(&handle.domain)),
                RepaveStage::OnTrial if is_same().map_err(Error::unchanged)? => {
                    self.write_note(|note| note.maker = self.maker.clone())?;
                    return Ok(Begun::OnTrial);
                }
                RepaveStage::OnTrial => {
                    return Err(undecided_error(&handle.domain)
                        .because("that repave was interrupted, and was to another image or manifest"));
                }
                RepaveStage::Accepted if is_same().map_err(Error::unchanged)? => {
                    delete_spare(context, &handle, &[])?;
                    return Ok(Begun::Finished);
                }
                RepaveStage::Preparing | RepaveStage::Accepted | RepaveStage::Rejected => {}
            }
            ran = note.ran && note.stage != RepaveStage::Accepted;
            wait_for_volumes(context, &handle.record)?;
            delete_spare(context, &handle, &[])?;
            handle = find_same(context, self.domain)?;
        }
        let plan = check_repave(context, self.request, handle)?;
        context.cancel.check_unchanged()?;
        let mut journal = Journal::default();
        match self.prepare(&plan, ran, &mut journal) {
            Ok(()) => Ok(Begun::Prepared(Box::new(plan))),
            Err(error) => Err(self.undo_after(error, &foreign_volumes(&plan, &journal))),
        }
    }

    /// Notes the new volumes and makes them.
    fn prepare(&self, plan: &RepavePlan, ran: bool, journal: &mut Journal) -> Result<(), Error> {
        let context = self.context;
        let storage = &plan.storage;
        for pool in std::iter::once(&storage.pool).chain(storage.seed.iter().map(|(pool, _)| pool)) {
            ensure_pool(context, pool)?;
        }
        let note = plan.note(context, ran);
        {
            // The note names the image, so from here on it counts as in use.
            let image = storage.image.as_ref().and_then(|image| image.volume.as_ref());
            let _lock = image.map(|image| lock::lock_image(context, image)).transpose()?;
            context.cancel.check()?;
            update_locked_record(context, self.domain, |record| record.repave = Some(note.clone()))?;
        }
        for planned in &storage.volumes {
            context.cancel.check()?;
            if planned.role == VolumeRole::Seed {
                fill_seed(context, planned, plan.iso.as_deref().unwrap_or_default(), journal)?;
                context.report_finished(Step::GenerateSeed);
            } else {
                make_disk(context, storage, planned, journal)?;
                context.report_finished(Step::CreateVolume(planned.reference()));
            }
        }
        context.cancel.check()
    }

    /// Stops the guest, exchanges the boot disk, and starts it again.
    fn replace_boot_disk(&self, plan: RepavePlan) -> Result<(), Error> {
        let context = self.context;
        if let Err(error) = self.stop() {
            return Err(self.take_back(error));
        }
        let _lock = self.lock()?;
        let exchanged = self.define_new(plan).and_then(|()| self.start_again());
        exchanged.map_err(|error| self.undo_after(cause_of(context, error), &[]))
    }

    fn stop(&self) -> Result<(), Error> {
        let domain = find_same(self.context, self.domain)?.domain;
        if domain.state == DomainState::ShutOff {
            return Ok(());
        }
        power::stop_found(self.context, &domain, self.request.stop)?;
        self.context.report_finished(Step::StopVm);
        Ok(())
    }

    fn define_new(&self, plan: RepavePlan) -> Result<(), Error> {
        let context = self.context;
        context.cancel.check()?;
        let handle = self.find_own_note(RepaveStage::Preparing)?;
        if handle.domain.state != DomainState::ShutOff {
            let message = format!("VM '{}' was started again while it was being repaved", handle.name());
            return Err(Error::new(Code::ChangedMeanwhile, message));
        }
        let mut after = handle.record.clone();
        let backing_format = plan.parts.backing_format.clone();
        let contested = plan.contested.clone();
        let before = after.exchange_boot(plan.parts, plan.old_backing_format);
        if let Some(note) = &mut after.repave {
            note.stage = RepaveStage::OnTrial;
            note.before = Some(Box::new(before));
        }
        context.report_started(Step::ExchangeBootDisk);
        define_exchanged(context, &handle, after, backing_format)?;
        context.report_finished(Step::ExchangeBootDisk);
        contested.map_or(Ok(()), |plan| self.check_addresses(&plan))
    }

    /// A VM that was created since the checks may have one of the new addresses. One that is created from now on sees
    /// this definition.
    fn check_addresses(&self, plan: &VmPlan) -> Result<(), Error> {
        let domains = self.context.host.domains(false)?;
        match find_conflicts(plan, &domains).into_iter().next() {
            None => Ok(()),
            Some((_, issue)) => {
                let message = format!("VM '{}' cannot have its new address", self.domain.name);
                Err(Error::new(issue.code, message).because(issue.message))
            }
        }
    }

    /// Starts the VM if it ran, or if it is to be waited for.
    fn start_again(&self) -> Result<(), Error> {
        let context = self.context;
        context.cancel.check()?;
        let handle = self.find_own_note(RepaveStage::OnTrial)?;
        if let Some(before) =
            handle.record.autostart_before().filter(|before| *before == handle.domain.autostart)
        {
            context.host.set_autostart(self.domain.uuid, !before)?;
        }
        let ran = handle.record.repave.as_ref().is_some_and(|note| note.ran);
        if handle.domain.state != DomainState::ShutOff || !(ran || self.request.wait.is_some()) {
            return Ok(());
        }
        power::start_off_vm(context, &handle.domain, &handle.record, start_method(&handle))?;
        context.report_finished(Step::StartVm);
        Ok(())
    }

    /// Continues the trial of an earlier run.
    fn resume_trial(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.start_again().map_err(|error| self.undo_after(cause_of(self.context, error), &[]))
    }

    /// The new boot disk has passed: the old one is deleted. From here on nothing is taken back.
    fn accept(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let done = self.find_own_note(RepaveStage::OnTrial).and_then(|_| {
            self.write_note(accept_note)?;
            delete_spare(self.context, &find_same(self.context, self.domain)?, &[])
        });
        done.map_err(|error| self.still_to_delete(error))
    }

    fn still_to_delete(&self, error: Error) -> Error {
        let vm = &self.domain.name;
        self.half_done().into_iter().fold(error.outcome(format!("VM '{vm}' is repaved")), Error::outcome)
    }

    /// Keeps both, until the user decides.
    fn keep(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let kept = self
            .find_own_note(RepaveStage::OnTrial)
            .and_then(|_| self.write_note(|note| note.stage = RepaveStage::Kept));
        kept.map_err(|error| self.still_to_delete(error))
    }

    fn write_note(&self, change: impl Fn(&mut Repave)) -> Result<(), Error> {
        let change = |note: &mut Option<Repave>| note.iter_mut().for_each(&change);
        update_locked_record(self.context, self.domain, |record| change(&mut record.repave)).map(drop)
    }

    /// The VM, if the repave is still this process's and at that stage.
    fn find_own_note(&self, stage: RepaveStage) -> Result<VmHandle, Error> {
        let handle = find_same(self.context, self.domain)?;
        let is_ours = |note: &Repave| note.maker == self.maker && note.stage == stage;
        if handle.record.repave.as_ref().is_some_and(is_ours) {
            return Ok(handle);
        }
        let message = format!("the repave of VM '{}' was ended by another process", handle.name());
        Err(Error::new(Code::ChangedMeanwhile, message))
    }

    fn lock(&self) -> Result<foundry_host::HostLock, Error> {
        let Domain { uuid, name, .. } = self.domain;
        lock::lock_vm(self.context, *uuid, name)
            .map_err(|error| self.half_done().into_iter().fold(error, Error::outcome))
    }

    /// Takes everything back, and adds to the error what became of it.
    fn take_back(&self, error: Error) -> Error {
        match self.lock() {
            Ok(_lock) => self.undo_after(error, &[]),
            Err(no_lock) => no_lock.outcomes().iter().cloned().fold(error, Error::outcome),
        }
    }

    fn half_done(&self) -> [Outcome; 2] {
        half_done_outcomes(self.domain, &self.request.source)
    }

    fn undo_after(&self, error: Error, strangers: &[VolumeRef]) -> Error {
        undo_repave(self.context, self.domain, (&self.maker, strangers), self.half_done(), error)
    }
}

/// Marks the old volumes as to be deleted.
pub(super) fn accept_note(note: &mut Repave) {
    note.stage = RepaveStage::Accepted;
    note.before = None;
}

/// A signal can surface as a failed call; then the interruption is reported.
fn cause_of(context: &Context, error: Error) -> Error {
    match context.cancel.check() {
        Err(interrupted) if error.kind() != interrupted.kind() => error.of_kind(interrupted.kind()),
        _ => error,
    }
}

/// The planned volumes that this run has certainly not made: if they exist, they are another program's.
fn foreign_volumes(plan: &RepavePlan, journal: &Journal) -> Vec<VolumeRef> {
    let planned = plan.storage.volumes.iter().map(RecordedVolume::reference);
    planned.filter(|volume| !journal.may_have_made(volume)).collect()
}
