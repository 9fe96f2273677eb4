//! What a repave from a manifest changes.
//!
//! Boot disk and seed are made anew, and the VM is off in between. So it takes all values that a changed definition can
//! have, and gets those in the same definition as the new disks. What a rollback could not take back is refused: disks
//! that would be attached or grown, and patches.

use foundry_core::error::{Advice, Code, Error, Issue, Verb};
use foundry_core::plan::VmPlan;
use foundry_core::record::Record;
use foundry_core::units::GIB;
use std::sync::Arc;

use super::apply::{check_values, refusal};
use super::definition::DefinitionChange;
use super::field::{FieldDiff, Verdict};
use super::look::{
    ComparedVm, WantedVm, compare_with, manifest_to_plan, manifest_to_record, recorded_defaults,
};
use crate::Context;
use crate::preflight::conflicts::check_conflicts;
use crate::preflight::issues::PreflightReport;
use crate::vm::handle::VmHandle;

/// A manifest that a VM can be repaved from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RepavedManifest {
    /// The VM as it is to be, with the MAC addresses that it has. Of the secrets it has those that the manifest names.
    pub(crate) plan: VmPlan,
    /// The fields that change.
    pub(crate) fields: Vec<FieldDiff>,
}

impl RepavedManifest {
    /// Whether the guest gets other addresses.
    pub(crate) fn changes_addresses(&self) -> bool {
        let is_address = |path: &str| path.ends_with(".ip") || path.ends_with(".addresses");
        self.fields.iter().any(|field| is_address(&field.path))
    }
}

/// Checks that a VM can be repaved from a manifest; changes nothing.
///
/// # Errors
/// [`Code::ChangeRefused`] with all fields that a repave does not change; all that the host lacks for the others.
pub(crate) fn check_repaved(
    context: &Context,
    wanted: &WantedVm,
    handle: &VmHandle,
) -> Result<RepavedManifest, Error> {
    let compared = compare_with(context, wanted, handle.clone())?;
    let fields: Vec<FieldDiff> =
        compared.fields.iter().filter(|field| field.is_change(false)).cloned().collect();
    let refused: Vec<Issue> = fields
        .iter()
        .filter(|field| !is_repavable(field))
        .map(|field| refuse_field(&compared, wanted, field))
        .collect();
    if !refused.is_empty() {
        let title = format!("VM '{}' cannot be repaved from this manifest", handle.name());
        return Err(Error::of_issues(title, refused)
            .hint("set these fields back; a repave does the other changes")
            .unchanged());
    }
    let mut manifest = manifest_to_record(wanted, &compared);
    manifest.spec.cloud_init.clone_from(&wanted.plan.manifest.spec.cloud_init);
    let mut plan = VmPlan::from_manifest(&manifest, &recorded_defaults(&context.settings))
        .map_err(|problems| Error::from(problems).unchanged())?;
    let repaved = RepavedManifest { plan: plan.clone(), fields };
    let mut report = PreflightReport::default();
    check_values(context, &mut plan, (&compared, &repaved.fields.iter().collect::<Vec<_>>()), &mut report)?;
    if repaved.changes_addresses() {
        check_conflicts(context, &plan, &context.host.domains(false)?, &mut report)?;
    }
    if report.is_empty() {
        return Ok(repaved);
    }
    let title = format!("VM '{}' cannot be repaved from this manifest", handle.name());
    Err(Error::of_issues(title, report.issues().cloned().collect()).unchanged())
}

/// Whether a VM is as a manifest says, apart from what another program changed.
///
/// # Errors
/// A failed call to the host.
pub(crate) fn is_as_wanted(context: &Context, wanted: &WantedVm, handle: &VmHandle) -> Result<bool, Error> {
    let compared = compare_with(context, wanted, handle.clone())?;
    Ok(!compared.fields.iter().any(|field| field.is_change(false)))
}

fn is_repavable(field: &FieldDiff) -> bool {
    let is_disk = field.path.starts_with("spec.dataDisks[") && !field.path.ends_with(".serial");
    field.verdict != Verdict::Refused && !is_disk && !field.path.starts_with("spec.xmlPatch[")
}

/// Why a repave does not change a field, and which command does.
fn refuse_field(compared: &ComparedVm, wanted: &WantedVm, field: &FieldDiff) -> Issue {
    if field.verdict == Verdict::Refused {
        return refusal(compared, field);
    }
    let why = match field.path.starts_with("spec.xmlPatch[") {
        true => "a rollback could not take it back; apply it alone before",
        false => "a repave keeps the data disks as they are",
    };
    let issue = refusal(compared, &FieldDiff { why: Some(why.into()), ..field.clone() });
    let disks = &wanted.plan.data_disks;
    let is_it = |target: &str| field.path.starts_with(&format!("spec.dataDisks[{target}]"));
    let Some(disk) = disks.iter().find(|disk| is_it(disk.target.as_str())) else { return issue };
    let (vm, target, size_gib) =
        (compared.handle.domain.command_name(), disk.target.to_string(), disk.size.0 / GIB);
    let verb = if field.path.ends_with(".sizeGiB") {
        Verb::DiskResize { vm, target, size_gib }
    } else {
        Verb::DiskAttach {
            vm,
            content: format!("{size_gib}GiB"),
            target: Some(target),
            raw: disk.format == foundry_core::plan::DiskFormat::Raw,
            serial: disk.serial.as_ref().map(ToString::to_string),
            at_next_start: false,
        }
    };
    issue.hint(Advice::from(verb).text(" does it before"))
}

/// Writes into the definition of a VM that is off what differs between its recorded manifest and that of `after`, apart
/// from boot disk and seed.
///
/// # Errors
/// If the definition lacks what is to be changed, or a call to the host fails.
pub(crate) fn edit_repaved(
    context: &Context,
    handle: &VmHandle,
    after: &Record,
    xml: String,
) -> Result<String, Error> {
    if !changes_definition(&handle.record, after) {
        return Ok(xml);
    }
    // What there is to say about the host was said when it was checked.
    let context = &context.with_progress(Arc::new(()));
    let manifest = manifest_to_plan(after, None);
    let plan =
        VmPlan::from_manifest(&manifest, &recorded_defaults(&context.settings)).map_err(|problems| {
            let message = format!("the manifest for VM '{}' is not valid", handle.name());
            Error::new(Code::RecordUnreadable, message).because(problems.to_string())
        })?;
    let wanted = WantedVm { plan, is_recorded: true, generation: None };
    let compared = compare_with(context, &wanted, handle.clone())?;
    let fields: Vec<&FieldDiff> = compared.fields.iter().filter(|field| field.is_change(false)).collect();
    let mut plan = wanted.plan.clone();
    // A rollback does not fail because something is missing by now.
    check_values(context, &mut plan, (&compared, &fields), &mut PreflightReport::default())?;
    let change = DefinitionChange {
        fields: &fields,
        wanted: &plan,
        recorded: &compared.recorded.interfaces,
        described: &compared.handle.next,
        native: compared.native,
    };
    Ok(change.write_into(&xml)?)
}

/// Whether the manifests differ in more than boot disk, seed and labels.
fn changes_definition(before: &Record, after: &Record) -> bool {
    let rest = |record: &Record| {
        let mut spec = record.manifest.spec.clone();
        (spec.boot_disk, spec.cloud_init) = (None, None);
        spec
    };
    rest(before) != rest(after)
}
