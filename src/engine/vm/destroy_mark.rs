//! Marks in a VM's record that it is being destroyed, and takes the mark back if the guest could not be stopped.

use super::destroy_plan::{DestroyOptions, DestroyPlan};
use super::lookup;
use crate::{Context, advice, lock};
use foundry_core::error::{Advice, Code, Error};
use foundry_core::record::{Maker, Record, RecordState, RecordedVolume};
use foundry_host::{Domain, HostError};

/// The mark in a record that the VM is being destroyed.
pub(super) struct DestroyMark {
    /// The record's text before the mark.
    before: String,
    /// The process that wrote the mark.
    maker: Maker,
}

/// The result of writing the mark.
pub(super) enum MarkOutcome {
    /// It was written; `None` if the VM has no record.
    Written(Option<DestroyMark>),
    /// Another job is running on the domain, and libvirt refuses changes.
    Held,
    /// The host's disk is full.
    NoRoom,
}

impl MarkOutcome {
    pub(super) fn mark(&self) -> Option<&DestroyMark> {
        match self {
            Self::Written(mark) => mark.as_ref(),
            Self::Held | Self::NoRoom => None,
        }
    }
}

/// Marks the record as being destroyed, and leaves only the volumes to delete in it: whatever happens from here on, a
/// volume that is to be kept must not be deleted.
pub(super) fn mark_destroying(context: &Context, plan: &DestroyPlan) -> Result<MarkOutcome, Error> {
    let Domain { uuid, name, .. } = &plan.domain;
    // Also without a record: without the lock, the guest must not be stopped.
    let _lock = lock::lock_vm(context, *uuid, name).map_err(|e| e.outcome("nothing was removed"))?;
    if plan.record.is_none() {
        return Ok(MarkOutcome::Written(None));
    }
    let marking = write_mark(context, plan)?;
    if matches!(marking, MarkOutcome::Held) {
        context.warn(format!("another job is running on VM '{name}'; its guest is forced off anyway"));
    }
    Ok(marking)
}

/// Writes the mark after the guest was stopped, if that was impossible before. If the disk is still full, the
/// deletion continues without the mark: it frees space, and the definition names everything until the end.
pub(super) fn mark_stopped(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    match write_mark(context, plan).map_err(|e| e.outcome(format!("VM '{name}' is off")))? {
        MarkOutcome::Written(_) => Ok(()),
        MarkOutcome::NoRoom => {
            context.warn(format!(
                "the host's disk is full, so there is no note that VM '{name}' is being destroyed"
            ));
            Ok(())
        }
        MarkOutcome::Held => Err(Error::new(Code::VmHeld, format!("another job is running on VM '{name}'"))
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
    let goes =
        |v: &RecordedVolume| plan.volumes.iter().any(|goes| goes.pool == v.pool && goes.name == v.name);
    marked.volumes.retain(goes);
    marked.repave.iter_mut().for_each(|note| note.spare.retain(goes));
    let text = marked.to_text()?;
    // libvirt may refuse after it wrote one of the two definitions; then only the mark is there, which does no harm.
    match context.host.set_record(*uuid, &text) {
        Ok(()) => Ok(MarkOutcome::Written(before.map(|before| DestroyMark { before, maker: marked.maker }))),
        Err(refused) => explain_refused_mark(context, plan, refused),
    }
}

/// Decides what a refused mark means. If QEMU hangs, nothing can be written while it runs; on a full file system,
/// nothing can be written before something is deleted. Such a VM could never be destroyed if the mark were required.
/// It is required if disks are to be kept, because only the mark protects them.
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
                        .text(" forces the guest off first"),
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
    let known = || record.all_volumes().chain(&plan.only_older);
    let is_new = |v: &&RecordedVolume| !known().any(|r| r.pool == v.pool && r.name == v.name);
    match now.iter().flat_map(Record::all_volumes).find(is_new) {
        // A mark that is taken back is written to both definitions.
        None if plan.has_two_records => record.to_text().map(Some),
        None => Ok(domain.and_then(|d| d.record)),
        Some(new) => Err(Error::new(
            Code::ChangedMeanwhile,
            format!("VM '{name}' has got a new disk since it was checked"),
        )
        .because(format!("{} is in its record now", new.reference()))
        .hint(Advice::from(advice::destroy_command(&plan.domain, false)).text(" checks again"))
        .outcome("nothing was removed")),
    }
}

/// Restores the record from before the mark, unless the mark belongs to another process by now. Returns whether it did.
pub(super) fn restore_record(context: &Context, domain: &Domain, mark: &DestroyMark) -> bool {
    let Ok(_lock) = lock::lock_for_rollback(context, domain.uuid) else { return false };
    let now = context.host.domain(&domain.name).ok().flatten().filter(|d| d.uuid == domain.uuid);
    let is_ours = |record: Record| record.state == RecordState::Destroying && record.maker == mark.maker;
    now.and_then(|d| d.own_record()).is_some_and(is_ours)
        && context.host.set_record(domain.uuid, &mark.before).is_ok()
}

/// Returns whether the domain still exists. A transient domain is gone as soon as it stops; for that, its name must be
/// unused.
pub(super) fn is_still_there(context: &Context, plan: &DestroyPlan) -> Result<bool, Error> {
    let Domain { uuid, name, persistent, .. } = &plan.domain;
    if *persistent {
        return Ok(context.host.state(*uuid)?.is_some());
    }
    Ok(context.host.domain(name)?.is_none_or(|d| d.uuid == *uuid))
}

pub(super) fn taken_away(plan: &DestroyPlan) -> Error {
    lookup::removed_meanwhile(&plan.domain.name).outcome("nothing more was deleted")
}
