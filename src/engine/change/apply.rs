//! Makes a VM what its manifest says: creates it, or changes what can be changed without losing anything.
//!
//! ```text
//!   check ▸ grow and attach disks ▸ [lock ▸ compare again ▸ define ▸ change what runs ▸ write the record]
//! ```
//!
//! The record is written last: until then it has the old manifest, so the same command again finds what is left to do.
//! Nothing is undone: each step is what the manifest says.

use foundry_core::domain_xml;
use foundry_core::error::{Advice, Code, Error, Issue, Outcome, Verb};
use foundry_core::plan::VmPlan;
use foundry_core::record::{Liveness, RecordState};
use foundry_host::local::check_liveness;
use foundry_host::{Domain, View};

use super::applied::{Applied, ApplyOptions, ApplyOutcome};
use super::apply_run::{ApplyRun, check_generation};
use super::field::{FieldDiff, Verdict};
use super::look::{ComparedVm, WantedVm, look};
use crate::preflight::issues::PreflightReport;
use crate::preflight::{check_changed_machine, links};
use crate::vm::create;
use crate::vm::lookup::{find_vm, or_removed_meanwhile, removed_meanwhile};
use crate::{Context, Task};

/// Compares a VM with its manifest; `None` if it does not exist.
///
/// # Errors
/// If the VM is incomplete or not foundry's, or a call to the host fails.
pub fn diff_vm(context: &Context, wanted: &WantedVm) -> Result<Option<Vec<FieldDiff>>, Error> {
    let Some(domain) = find_existing(context, wanted)? else { return Ok(None) };
    look(context, wanted, domain).map(|compared| Some(compared.fields))
}

/// Finds the VM, unless there is only what an interrupted creation left: a creation replaces that.
fn find_existing(context: &Context, wanted: &WantedVm) -> Result<Option<Domain>, Error> {
    let Some(domain) = find_vm(context, wanted.name())? else { return Ok(None) };
    let is_leftover = domain.own_record().is_some_and(|record| {
        record.state == RecordState::Creating && check_liveness(&record.maker) == Liveness::Dead
    });
    Ok((!is_leftover || domain.state.is_active() || domain.saved).then_some(domain))
}

/// Checks what [`apply_vm`] would do, without changing anything.
///
/// # Errors
/// As for [`apply_vm`], as far as that is known before a change.
pub fn plan_apply(
    context: &Context,
    wanted: &WantedVm,
    options: ApplyOptions,
) -> Result<Option<Vec<FieldDiff>>, Error> {
    let Some(domain) = find_existing(context, wanted)? else {
        return create::dry_run(context, &wanted.plan).map(|_| None);
    };
    let compared = look(context, wanted, domain)?;
    check_change(context, wanted, &compared, options)?;
    Ok(Some(compared.fields.into_iter().filter(|field| field.is_change(options.force)).collect()))
}

/// Applies a manifest to its VM, or creates the VM.
///
/// # Errors
/// [`Code::ChangeRefused`] if a field cannot be changed in place, before any change. Otherwise the failure of a step;
/// the same again finishes the work.
pub fn apply_vm(context: &Context, wanted: &WantedVm, options: ApplyOptions) -> Result<Applied, Error> {
    let Some(domain) = find_existing(context, wanted)? else {
        // The manifest of a record is for the VM with that record.
        if wanted.generation.is_some() {
            return Err(removed_meanwhile(wanted.name()));
        }
        let created = create::create_vm(context, &wanted.plan)?;
        return Ok(Applied { created: Some(created), ..Applied::of_fields(ApplyOutcome::Created, &[]) });
    };
    let compared = look(context, wanted, domain)?;
    check_generation(wanted, &compared)?;
    if !compared.fields.iter().any(|field| field.is_change(options.force)) {
        return Ok(Applied::of_fields(ApplyOutcome::Unchanged, &compared.fields));
    }
    let checked = check_change(context, wanted, &compared, options)?;
    context.report_begun(Task::ChangeVm(wanted.name().to_owned()));
    context.cancel.check_unchanged()?;
    let _leaves = context.cancel.announce_leftovers([half_changed(wanted)]);
    let domain = compared.handle.domain.clone();
    let mut run = ApplyRun { context, wanted, checked: &checked, options, has_changed: false };
    let outcome = run.change_disks(&compared).and_then(|()| run.change_the_rest(&compared));
    let has_changed = run.has_changed;
    outcome.map_err(|error| {
        let error = or_removed_meanwhile(context, &domain, error);
        // A step that names a command of its own left something that this command finishes, too.
        let is_half = has_changed || error.outcomes().iter().any(|o| matches!(o, Outcome::Next(_)));
        match error.code() {
            Code::ChangedMeanwhile => error,
            _ if is_half => error.only_outcome(half_changed(wanted)),
            _ => error,
        }
    })
}

fn half_changed(wanted: &WantedVm) -> Outcome {
    format!("VM '{}' may be changed in part; the same command again finishes it", wanted.name()).into()
}

/// Checks on the host what the changes need. Returns the plan, completed with what the host knows.
fn check_change(
    context: &Context,
    wanted: &WantedVm,
    compared: &ComparedVm,
    options: ApplyOptions,
) -> Result<VmPlan, Error> {
    let changes: Vec<&FieldDiff> =
        compared.fields.iter().filter(|field| field.is_change(options.force)).collect();
    let refused: Vec<&FieldDiff> = changes.iter().copied().filter(|field| !field.is_possible()).collect();
    if !refused.is_empty() {
        let title = format!("VM '{}' cannot be changed in place", compared.handle.name());
        let issues = refused.iter().map(|field| refusal(compared, field)).collect();
        // A command that makes a VM anew is not advised: it deletes the disks.
        let hint: Advice = if refused.iter().all(|field| field.verdict == Verdict::Repave) {
            Advice::from(Verb::RepaveFromFile { wait: true })
                .text(" gives it a new boot disk and a new seed with these values; its data disks stay")
        } else {
            "set these fields back; with the other values, it would be a new VM without the content of its disks"
                .into()
        };
        return Err(Error::of_issues(title, issues).hint(hint).unchanged());
    }
    let mut report = PreflightReport::default();
    let mut plan = wanted.plan.clone();
    check_values(context, &mut plan, (compared, &changes), &mut report)?;
    if let Some(first) = changes.iter().find_map(|field| field.path.strip_prefix("spec.xmlPatch[")) {
        let first = first.trim_end_matches(']').parse().unwrap_or_default();
        if let Some(xml) = context.host.domain_xml(compared.handle.domain.uuid, View::Config)? {
            domain_xml::patch_definition(&xml, &plan, first).map_err(Error::unchanged)?;
        }
    }
    if report.is_empty() { Ok(plan) } else { Err(report.to_error(wanted.name())) }
}

/// Checks that the host has what the changed fields need, and completes the plan with what it knows about the
/// interfaces.
pub(super) fn check_values(
    context: &Context,
    plan: &mut VmPlan,
    (compared, changes): (&ComparedVm, &[&FieldDiff]),
    report: &mut PreflightReport,
) -> Result<(), Error> {
    let touches = |begin: &str| changes.iter().any(|field| field.path.starts_with(begin));
    if touches("spec.networkInterfaces") {
        let version = context.host.capabilities()?.libvirt_version;
        plan.interfaces = links::check_links(context, plan, version, report)?;
    }
    const OF_MACHINE: [&str; 4] = ["spec.vcpus", "spec.memoryGiB", "spec.resources", "spec.graphics"];
    if OF_MACHINE.into_iter().any(touches) {
        check_changed_machine(context, plan, &compared.handle.next.domain_type, report)?;
    }
    Ok(())
}

/// Why a field cannot be changed.
pub(super) fn refusal(compared: &ComparedVm, field: &FieldDiff) -> Issue {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let now = if field.persistent.is_some() { &field.persistent } else { &field.recorded };
    let why = field.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!("{}: from {} to {}{why}", field.path, text(now), text(&field.wanted));
    let issue = Issue::new(Code::ChangeRefused, message);
    let left_out = field.path.strip_prefix("spec.dataDisks[").and_then(|rest| rest.strip_suffix(']'));
    match left_out.filter(|_| field.wanted.is_none()) {
        Some(target) => {
            let (vm, target) = (compared.handle.domain.command_name(), target.to_owned());
            issue.hint(Advice::from(Verb::DiskDetach { vm, target, keep: true }).text(" keeps its volume"))
        }
        None => issue,
    }
}
