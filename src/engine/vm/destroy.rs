//! Destroys a VM: mark, stop, delete the recorded volumes, undefine last.
//!
//! It has two steps. [`plan_destroy`] decides exactly what would be deleted and what would be kept; the user sees
//! that and confirms. [`execute_destroy`] does it. The definition is deleted last because it holds the record: if the
//! process is killed at any point, a second `destroy` finds the rest and finishes. If the guest could not be stopped,
//! nothing was deleted yet; the mark is taken back, and the VM is complete again.
//!
//! While the definition exists, its name is taken, and no other foundry VM can have volumes with these names. So before
//! each deletion, the definition is looked up again: while this process waited for the guest, another one may have
//! finished the work and created a new VM.

use super::destroy_mark::{
    DestroyMark, MarkOutcome, is_still_there, mark_destroying, mark_stopped, restore_record, taken_away,
};
use super::destroy_plan::refuse_locked;
use super::stop::{StopMethod, stop_domain};
use super::{console, lookup};
use crate::{Context, Step, Task, advice, lock};
use foundry_core::error::{Advice, Code, Error, Outcome, Verb};
use foundry_core::record::{RecordState, VolumeRole};
use foundry_host::Domain;

pub use super::destroy_plan::{DestroyOptions, DestroyPlan, LeftBehind, VolumeToDelete};
pub use super::plan_destroy::plan_destroy;

/// Executes a plan: marks the record, stops the guest, deletes the volumes, undefines the domain.
///
/// # Errors
/// The failure of a step, with what is left. The record is kept then, so that another `destroy` finishes the work.
pub fn execute_destroy(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    context.report_begun(Task::DestroyVm(name.to_string()));
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers(possible_leftovers(plan));
    let marking = mark_destroying(context, plan)?;
    let unfinished = |error: Error| explain_unfinished(context, plan, error);
    let patience =
        if plan.options.force { StopMethod::Force } else { StopMethod::Graceful(plan.options.timeout) };
    stop_domain(context, plan.domain.uuid, name, patience)
        .map_err(|error| explain_failed_stop(context, plan, marking.mark(), error))?;
    context.report_finished(Step::StopVm);
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
        context.report_finished(Step::RemoveStorage { only_seed });
    }
    // Before the definition, because only that names the log.
    let log = remove_log(context, plan);
    undefine_domain(context, plan).map_err(unfinished)?;
    context.report_finished(Step::UndefineDomain);
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

/// The error if the guest still runs, because it could not be stopped or the user interrupted. Nothing was deleted
/// yet, so the previous record is restored. If the mark stayed, `gc` would delete the VM's disks.
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
            format!("VM '{name}' has no definition, so nothing records what is left once it is off").into(),
            advice::list_unused().into(),
        ];
    }
    let again = advice::destroy_command(&plan.domain, plan.record.is_none() && plan.options.force);
    [
        format!("VM '{name}' is half destroyed; its definition still names what is left").into(),
        Advice::from(again).text(" finishes it").into(),
    ]
}

/// Deletes all volumes. It continues after a failure, so that one volume that cannot be deleted does not keep the
/// others.
fn delete_volumes(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let mut failures: Vec<Error> = Vec::new();
    for volume in &plan.volumes {
        context.cancel.check()?;
        check_still_there(context, plan)?;
        context.report_started(Step::DeleteVolume(volume.reference()));
        if let Err(failed) = context.host.delete_volume(&volume.reference()) {
            let lost = failed.outcome_unknown();
            failures.push(failed.into());
            // Without a connection, all further calls would fail, too.
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

/// Fails if the domain is gone: its name, and so these volumes, may belong to another VM by now. Fails, too, if it
/// was started again since it was stopped: a guest would go on without its disks.
fn check_still_there(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    if !plan.domain.persistent {
        return if is_still_there(context, plan)? { Ok(()) } else { Err(taken_away(plan)) };
    }
    match context.host.state(plan.domain.uuid)? {
        None => Err(taken_away(plan)),
        Some(now) if now.state.is_active() => Err(Error::new(
            Code::ChangedMeanwhile,
            format!("VM '{}' was started again while it was being destroyed", plan.domain.name),
        )),
        Some(_) => Ok(()),
    }
}

/// Undefines the domain. If the definition is gone afterwards, an error of the call does not matter.
fn undefine_domain(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    match context.host.undefine_keeping(plan.domain.uuid, plan.kept_on_undefine) {
        Err(failed) if !lookup::is_gone(context, plan.domain.uuid) => Err(failed.into()),
        _ => Ok(()),
    }
}

/// Deletes the console log. Returns what is left of it, if anything.
fn remove_log(context: &Context, plan: &DestroyPlan) -> Option<String> {
    let log = plan.console_log.as_deref()?;
    console::remove_logs(context.host.as_ref(), log).err()
}
