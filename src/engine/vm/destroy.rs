//! Destroys a VM: mark, stop, delete the recorded volumes, undefine last.
//!
//! It has two steps. [`plan_destroy`] decides exactly what would be deleted and what would be kept; the user sees that
//! and confirms. [`execute_destroy`] does it. The definition is deleted last because it holds the record: if the process
//! is killed at any point, a second `destroy` finds the rest and finishes. If the guest could not be stopped, nothing
//! was deleted yet; the mark is taken back, and the VM is complete again.
//!
//! While the definition exists, its name is taken, and no other foundry VM can have volumes with these names. So before
//! each deletion, the definition is looked up again: while this process waited for the guest, another one may have
//! finished the work and created a new VM.

use std::sync::Arc;
use std::time::Duration;

use super::stop::{StopMethod, stop_domain};
use super::{console, lookup};
use crate::storage::file_locks;
use crate::{Context, Event, advice, lock};
use foundry_core::error::{Advice, Code, Error, Outcome, Verb};
use foundry_core::record::{Maker, Record, RecordState, RecordedVolume, VolumeRef, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::{Domain, HostError, KeptOnUndefine};

pub use super::plan_destroy::plan_destroy;

/// The options of a destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestroyOptions {
    /// Force the guest off at once, and also destroy domains without a foundry record.
    pub force: bool,
    /// Keep the boot and data disks.
    pub keep_disks: bool,
    /// Time limit for the guest's shutdown.
    pub timeout: Duration,
}

/// Something of a destroyed VM that is left behind: nothing uses it, but foundry does not delete it.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftBehind {
    /// The volume, or the path of a file.
    pub what: String,
    /// Why it is not deleted.
    pub why: String,
    /// How to delete it.
    pub advice: Option<Advice>,
}

/// What would be deleted and what would be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct DestroyPlan {
    /// The domain.
    pub domain: Domain,
    /// The volumes to delete.
    pub volumes: Vec<VolumeToDelete>,
    /// The disks that the user wants to keep.
    pub kept: Vec<VolumeToDelete>,
    /// What is kept because it does not, or not certainly, belong to the VM: a volume or path, and the reason.
    pub kept_back: Vec<(String, String)>,
    /// What is left behind unused; reported at the end.
    pub left: Vec<LeftBehind>,
    /// What its record lists but was not found, a sentence each.
    pub missing: Vec<String>,
    pub(crate) record: Option<Record>,
    /// The volumes that only the older of two records names.
    pub(crate) only_older: Vec<RecordedVolume>,
    /// Whether the running definition has another record than the persistent one.
    pub(crate) has_two_records: bool,
    /// The path of its EFI variables.
    pub(crate) nvram: Option<String>,
    /// What libvirt must not delete with the definition.
    pub(crate) kept_on_undefine: KeptOnUndefine,
    pub(crate) console_log: Option<String>,
    pub(crate) options: DestroyOptions,
}

impl DestroyPlan {
    /// The volumes to delete, as `POOL/VOLUME`.
    pub fn named_volumes(&self) -> Vec<String> {
        self.volumes.iter().map(|v| format!("{}/{}", v.pool, v.name)).collect()
    }
}

/// A volume that is going to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeToDelete {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// The size that the guest sees.
    pub capacity: Bytes,
    /// Boot disk, data disk or seed; `None` for a snapshot's overlay.
    pub role: Option<VolumeRole>,
}

impl VolumeToDelete {
    /// What names it.
    pub fn reference(&self) -> VolumeRef {
        VolumeRef::new(self.pool.clone(), self.name.clone())
    }
}

/// The mark in a record that the VM is being destroyed.
struct DestroyMark {
    /// The record's text before the mark.
    before: String,
    /// The process that wrote the mark.
    maker: Maker,
}

/// The result of writing the mark.
enum MarkOutcome {
    /// It was written; `None` if the VM has no record.
    Written(Option<DestroyMark>),
    /// Another job is running on the domain, and libvirt refuses changes.
    Held,
    /// The host's disk is full.
    NoRoom,
}

impl MarkOutcome {
    fn mark(&self) -> Option<&DestroyMark> {
        match self {
            Self::Written(mark) => mark.as_ref(),
            Self::Held | Self::NoRoom => None,
        }
    }
}

/// Executes a plan.
///
/// # Errors
/// What failed, and what is left. The record is kept then, so that another `destroy` finishes.
pub fn execute_destroy(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    context.progress.on_event(Event::Begins(format!("Destroying VM '{name}'...")));
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers(possible_leftovers(plan));
    let marking = mark_destroying(context, plan)?;
    let unfinished = |error: Error| explain_unfinished(context, plan, error);
    let patience =
        if plan.options.force { StopMethod::Force } else { StopMethod::Graceful(plan.options.timeout) };
    stop_domain(context, plan.domain.uuid, name, patience)
        .map_err(|error| explain_failed_stop(context, plan, marking.mark(), error))?;
    context.report_done("VM stopped");
    // From here on locked: otherwise another process could finish this destroy and create a new VM with these names.
    let _lock = lock::lock_vm(context, plan.domain.uuid, name).map_err(unfinished)?;
    if !plan.options.force {
        refuse_locked(context, plan).map_err(unfinished)?;
    }
    if !matches!(marking, MarkOutcome::Written(_)) {
        mark_stopped(context, plan)?;
    }
    delete_volumes(context, plan).map_err(unfinished)?;
    if !plan.volumes.is_empty() {
        let only_seed = plan.volumes.iter().all(|volume| volume.role == Some(VolumeRole::Seed));
        context.report_done(if only_seed { "Seed removed" } else { "Storage removed" });
    }
    // Before the definition, because only that names the log.
    let log = remove_log(context, plan);
    undefine_domain(context, plan).map_err(unfinished)?;
    context.report_done("Domain undefined");
    let kept_back = plan.kept_back.iter().map(|(what, why)| format!("{what}: {why}"));
    for left in log.into_iter().chain(kept_back) {
        context.warn(format!("left: {left}"));
    }
    for left in &plan.left {
        context.warn_about(format!("left: {}: {}", left.what, left.why), left.advice.clone());
    }
    for missing in &plan.missing {
        let back = Advice::from("if it comes back, ").run(Verb::Gc { only: None }).text(" finds it");
        context.warn_about(missing, Some(back));
    }
    Ok(())
}

/// Marks the record as being destroyed, and leaves only the volumes to delete in it: whatever happens from here on, a
/// volume that is to be kept must not be deleted.
fn mark_destroying(context: &Context, plan: &DestroyPlan) -> Result<MarkOutcome, Error> {
    let Domain { uuid, name, .. } = &plan.domain;
    // Also without a record: without the lock, the guest must not be stopped.
    let _lock = lock::lock_vm(context, *uuid, name).map_err(|e| e.outcome("nothing was removed"))?;
    if plan.record.is_none() {
        return Ok(MarkOutcome::Written(None));
    }
    let marking = write_mark(context, plan)?;
    if matches!(marking, MarkOutcome::Held) {
        context.warn(format!("something else works on VM '{name}', and its plug is pulled all the same"));
    }
    Ok(marking)
}

/// Writes the mark after the guest was stopped, if that was impossible before. If the disk is still full, the deletion goes
/// on without the mark: it frees space, and the definition names everything until the end.
fn mark_stopped(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    match write_mark(context, plan).map_err(|e| e.outcome(format!("VM '{name}' is off")))? {
        MarkOutcome::Written(_) => Ok(()),
        MarkOutcome::NoRoom => {
            context.warn(format!("the host has no room to note that VM '{name}' is being destroyed"));
            Ok(())
        }
        MarkOutcome::Held => Err(Error::new(Code::VmHeld, format!("something else works on VM '{name}'"))
            .hint(job_hint(&plan.domain))
            .outcome(format!("nothing was removed; VM '{name}' is off"))),
    }
}

fn job_hint(domain: &Domain) -> String {
    let word = domain.shell_name();
    format!("virsh domjobinfo {word} shows what it is, virsh domjobabort {word} ends it")
}

fn write_mark(context: &Context, plan: &DestroyPlan) -> Result<MarkOutcome, Error> {
    let Some(record) = &plan.record else { return Ok(MarkOutcome::Written(None)) };
    let Domain { uuid, .. } = &plan.domain;
    let before = check_nothing_came(context, plan, record)?;
    let mut marked = record.with_state(RecordState::Destroying, &context.clock.timestamp());
    // From here on, this process owns the VM.
    marked.maker = context.lease.maker();
    marked.volumes.retain(|v| plan.volumes.iter().any(|goes| goes.pool == v.pool && goes.name == v.name));
    let text = marked.to_text()?;
    // libvirt may refuse after it wrote one of the two definitions; then only the mark is there, which does no harm.
    match context.host.set_record(*uuid, &text) {
        Ok(()) => Ok(MarkOutcome::Written(before.map(|before| DestroyMark { before, maker: marked.maker }))),
        Err(refused) => explain_refused_mark(context, plan, refused),
    }
}

/// Decides what a refused mark means. If QEMU hangs, nothing can be written while it runs; on a full file system, nothing
/// can be written before something is deleted. Such a VM could never be destroyed if the mark were required. It is
/// required if disks are to be kept, because only the mark protects them.
fn explain_refused_mark(
    context: &Context,
    plan: &DestroyPlan,
    refused: HostError,
) -> Result<MarkOutcome, Error> {
    let DestroyOptions { force, keep_disks, .. } = plan.options;
    if matches!(is_still_there(context, plan), Ok(false)) {
        return Err(taken_away(plan));
    }
    let is_full = refused.code() == Code::OutOfSpace;
    match &refused {
        HostError::Busy { .. } if force => return Ok(MarkOutcome::Held),
        HostError::Busy { .. } => {
            let hint = job_hint(&plan.domain);
            return Err(Error::from(refused)
                .hint(
                    Advice::from(hint)
                        .text("; ")
                        .run(advice::destroy_command(&plan.domain, true))
                        .text(" pulls the plug first"),
                )
                .outcome("nothing was removed"));
        }
        _ if is_full && !keep_disks && !plan.volumes.is_empty() => return Ok(MarkOutcome::NoRoom),
        _ => {}
    }
    let error = Error::from(refused).outcome("nothing was removed");
    Err(if is_full {
        error
    } else {
        error.outcome(Advice::from(advice::destroy_command(&plan.domain, false)).text(" finishes it"))
    })
}

/// Checks that no disk was attached while the user decided. The user did not agree to delete it, and a mark without it
/// would leave its volume without an owner.
///
/// Returns the record's text.
fn check_nothing_came(
    context: &Context,
    plan: &DestroyPlan,
    record: &Record,
) -> Result<Option<String>, Error> {
    let Domain { uuid, name, .. } = &plan.domain;
    let domain = context.host.domain(name)?.filter(|d| d.uuid == *uuid);
    let now = domain.as_ref().and_then(Domain::own_record);
    let known = || record.volumes.iter().chain(&plan.only_older);
    let is_new = |v: &&RecordedVolume| !known().any(|r| r.pool == v.pool && r.name == v.name);
    match now.iter().flat_map(|n| &n.volumes).find(is_new) {
        // A mark that is taken back is written to both definitions.
        None if plan.has_two_records => record.to_text().map(Some),
        None => Ok(domain.and_then(|d| d.record)),
        Some(new) => Err(Error::new(
            Code::ChangedMeanwhile,
            format!("VM '{name}' has got a disk since it was looked at"),
        )
        .because(format!("{} is in its record now", new.reference()))
        .hint(Advice::from(advice::destroy_command(&plan.domain, false)).text(" checks again"))
        .outcome("nothing was removed")),
    }
}

/// The error if the guest still runs, because it could not be stopped or the user interrupted. Nothing was deleted yet, so
/// the previous record is restored. If the mark stayed, `gc` would delete the VM's disks.
fn explain_failed_stop(
    context: &Context,
    plan: &DestroyPlan,
    mark: Option<&DestroyMark>,
    error: Error,
) -> Error {
    let Domain { uuid, name, .. } = &plan.domain;
    let runs = context.host.state(*uuid).is_ok_and(|now| now.is_some_and(|now| now.state.is_active()));
    if !runs || !mark.is_none_or(|mark| restore_record(context, &plan.domain, mark)) {
        return explain_unfinished(context, plan, error);
    }
    let error = error.outcome(format!("nothing was removed; VM '{name}' still runs"));
    match &plan.record {
        Some(record) if record.state != RecordState::Created => {
            error.outcome(Advice::from(advice::destroy_command(&plan.domain, false)).text(" finishes it"))
        }
        _ => error,
    }
}

/// Restores the record from before the mark, unless the mark belongs to another process by now. Returns whether it did.
fn restore_record(context: &Context, domain: &Domain, mark: &DestroyMark) -> bool {
    let Ok(_lock) = lock::lock_for_rollback(context, domain.uuid) else { return false };
    let now = context.host.domain(&domain.name).ok().flatten().filter(|d| d.uuid == domain.uuid);
    let is_ours = |record: Record| record.state == RecordState::Destroying && record.maker == mark.maker;
    now.and_then(|d| d.own_record()).is_some_and(is_ours)
        && context.host.set_record(domain.uuid, &mark.before).is_ok()
}

/// The error of a failed destroy: the rest is left to another run, or the VM was deleted by another process.
fn explain_unfinished(context: &Context, plan: &DestroyPlan, error: Error) -> Error {
    if matches!(is_still_there(context, plan), Ok(false)) {
        return taken_away(plan);
    }
    possible_leftovers(plan).into_iter().fold(error, Error::outcome)
}

/// What is left if the process ends during the destroy.
fn possible_leftovers(plan: &DestroyPlan) -> [Outcome; 2] {
    let name = &plan.domain.name;
    if !plan.domain.persistent {
        return [
            format!("VM '{name}' has no definition, so that nothing names what is left when it is off")
                .into(),
            advice::list_unused().into(),
        ];
    }
    let again = advice::destroy_command(&plan.domain, plan.record.is_none() && plan.options.force);
    [
        format!("VM '{name}' is half destroyed; its definition still names what is left").into(),
        Advice::from(again).text(" finishes it").into(),
    ]
}

/// Deletes all volumes. It goes on after a failure, so that one stubborn volume does not keep the others.
fn delete_volumes(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let mut failures: Vec<Error> = Vec::new();
    for volume in &plan.volumes {
        context.cancel.check()?;
        check_still_there(context, plan)?;
        context.report_working(format!("Deleting volume {}", volume.name));
        if let Err(failed) = context.host.delete_volume(&volume.reference()) {
            let lost = failed.outcome_unknown();
            failures.push(failed.into());
            if lost {
                break;
            }
        }
    }
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
            Err(Error::new(failures[0].code(), format!("{} volumes cannot be deleted", all.len()))
                .because(all.join("; ")))
        }
    }
}

/// Fails if the domain is gone: its name, and so these volumes, may belong to another VM by now.
fn check_still_there(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    if is_still_there(context, plan)? { Ok(()) } else { Err(taken_away(plan)) }
}

/// Returns whether the domain still exists. A transient domain is gone as soon as it stops; for that, its name must be
/// unused.
fn is_still_there(context: &Context, plan: &DestroyPlan) -> Result<bool, Error> {
    let Domain { uuid, name, persistent, .. } = &plan.domain;
    if *persistent {
        return Ok(context.host.state(*uuid)?.is_some());
    }
    Ok(context.host.domain(name)?.is_none_or(|d| d.uuid == *uuid))
}

fn taken_away(plan: &DestroyPlan) -> Error {
    lookup::removed_meanwhile(&plan.domain.name).outcome("nothing more was deleted")
}

/// Undefines the domain. If the definition is gone afterwards, an error of the call does not matter.
fn undefine_domain(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    match context.host.undefine_keeping(plan.domain.uuid, plan.kept_on_undefine) {
        Err(failed) if !lookup::is_gone(context, plan.domain.uuid) => Err(failed.into()),
        _ => Ok(()),
    }
}

/// Refuses if a program outside this libvirt has a disk open: a guest of another host or libvirt may run from it.
pub(crate) fn refuse_locked(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    let held = plan.volumes.iter().find(|volume| file_locks::is_locked(context, &volume.path));
    let Some(volume) = held else { return Ok(()) };
    Err(file_locks::open_elsewhere(name, &volume.pool, &volume.name)
        .hint(Advice::from("if nobody needs it: ").run(advice::destroy_command(&plan.domain, true))))
}

/// Deletes the console log. Returns what is left of it, if anything.
fn remove_log(context: &Context, plan: &DestroyPlan) -> Option<String> {
    let log = plan.console_log.as_deref()?;
    console::remove_logs(context.host.as_ref(), log).err()
}

/// Deletes what an interrupted creation left, before its name is used again, and reports the volumes first. Another
/// process may do the same meanwhile.
pub(crate) fn remove_leftover(context: &Context, domain: &Domain) -> Result<(), Error> {
    match remove_half_made(context, domain) {
        Err(_) if matches!(context.host.domain(&domain.name), Ok(None)) => Ok(()),
        outcome => outcome,
    }
}

fn remove_half_made(context: &Context, domain: &Domain) -> Result<(), Error> {
    let plan = plan_leftover(context, domain)?;
    let volumes = plan.named_volumes();
    if !volumes.is_empty() {
        context.progress.on_event(Event::Begins(format!(
            "Removing what an interrupted creation left: {}",
            volumes.join(", ")
        )));
    }
    let quiet = context.with_progress(Arc::new(()));
    execute_destroy(&quiet, &plan)
}

/// Plans the deletion of an interrupted creation; changes nothing.
///
/// # Errors
/// If it was replaced meanwhile, or a part of it must be kept.
pub(crate) fn plan_leftover(context: &Context, domain: &Domain) -> Result<DestroyPlan, Error> {
    let options = DestroyOptions { force: true, keep_disks: false, timeout: Duration::ZERO };
    let mut plan = plan_destroy(context, &domain.name, options)?;
    // Saved memory with its name belongs to an earlier domain.
    plan.kept_on_undefine.saved = true;
    refuse_locked(context, &plan).map_err(|e| e.unchanged())?;
    if plan.domain.uuid != domain.uuid {
        return Err(Error::new(
            Code::ChangedMeanwhile,
            format!("domain '{}' was redefined meanwhile", domain.name),
        )
        .unchanged());
    }
    if plan.domain.state.is_active() || plan.domain.saved {
        return Err(Error::new(Code::HalfCreated, format!("VM '{}' was started meanwhile", domain.name))
            .because("its creation was interrupted, and it runs")
            .hint(Advice::from(advice::destroy_command(domain, false)).text(" removes it"))
            .unchanged());
    }
    if let Some((what, reason)) = plan.kept_back.first() {
        return Err(Error::new(
            Code::VolumeTaken,
            format!("an interrupted creation of VM '{}' left {what}", domain.name),
        )
        .because(reason.clone())
        .hint(
            Advice::from("look at it; ")
                .run(advice::destroy_command(domain, false))
                .text(" removes the rest and leaves it"),
        )
        .unchanged());
    }
    Ok(plan)
}
