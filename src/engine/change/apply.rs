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
use foundry_core::names::DiskTarget;
use foundry_core::plan::{DataDiskPlan, VmPlan};
use foundry_core::record::{Liveness, RecordState};
use foundry_core::units::SizeRequest;
use foundry_host::libvirt_xml::{edit, has_free_port};
use foundry_host::local::{check_liveness, user_and_host};
use foundry_host::{Domain, HostError, View};

use super::definition::DefinitionChange;
use super::field::{FieldDiff, Verdict};
use super::look::{ComparedVm, WantedVm, compare_with, look, manifest_to_record};
use super::sides::round_up;
use crate::disk::{AttachRequest, DiskContent, attach, current_record, resize, update_locked_record};
use crate::preflight::issues::PreflightReport;
use crate::preflight::{check_changed_size, links};
use crate::vm::create::{self, CreatedVm};
use crate::vm::handle::VmHandle;
use crate::vm::lookup::{find_vm, or_removed_meanwhile, removed_meanwhile};
use crate::{Context, Step, Task, lock};

/// How to apply a manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Also undo what other programs changed.
    pub force: bool,
}

/// The result of applying a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Whether the VM was created, changed, or left as it was.
    pub outcome: ApplyOutcome,
    /// The created VM.
    pub created: Option<CreatedVm>,
    /// The fields that take effect at its next start.
    pub pending: Vec<String>,
    /// The fields that another program changed, and that were kept so.
    pub drift: Vec<String>,
}

/// The outcome for a VM whose manifest was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// It was created.
    Created,
    /// It was changed.
    Configured,
    /// It is as the manifest says.
    Unchanged,
}

impl Applied {
    fn of_fields(outcome: ApplyOutcome, fields: &[FieldDiff]) -> Self {
        let drift = fields.iter().filter(|field| field.drift).map(|field| field.path.clone()).collect();
        Self { outcome, created: None, pending: pending_fields(fields), drift }
    }
}

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
    let mut run = Run { context, wanted, checked: &checked, options, has_changed: false };
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

/// Refuses a manifest that was made from an older one.
fn check_generation(wanted: &WantedVm, compared: &ComparedVm) -> Result<(), Error> {
    let now = compared.handle.record.generation;
    if wanted.generation.is_none_or(|generation| generation == now) {
        return Ok(());
    }
    let message = format!("the manifest of VM '{}' was changed by another command meanwhile", wanted.name());
    Err(Error::new(Code::ChangedMeanwhile, message).hint("run the same command again").unchanged())
}

fn half_changed(wanted: &WantedVm) -> Outcome {
    format!("VM '{}' may be changed in part; the same command again finishes it", wanted.name()).into()
}

/// The fields that only a new start brings into effect.
pub(crate) fn pending_fields(fields: &[FieldDiff]) -> Vec<String> {
    fields.iter().filter(|field| field.pending).map(|field| field.short_name().to_owned()).collect()
}

/// Checks on the host what the changes need. Returns the plan, completed with what the host knows.
fn check_change(
    context: &Context,
    wanted: &WantedVm,
    compared: &ComparedVm,
    options: ApplyOptions,
) -> Result<VmPlan, Error> {
    let changes = || compared.fields.iter().filter(|field| field.is_change(options.force));
    let refused: Vec<Issue> =
        changes().filter(|field| !field.is_possible()).map(|field| refusal(compared, field)).collect();
    if !refused.is_empty() {
        let title = format!("VM '{}' cannot be changed in place", compared.handle.name());
        // No command is advised: what makes a VM anew deletes its disks.
        return Err(Error::of_issues(title, refused)
            .hint("set these fields back; with the other values, it would be a new VM without the content of its disks")
            .unchanged());
    }
    let mut report = PreflightReport::default();
    let mut plan = wanted.plan.clone();
    let touches = |begin: &str| changes().any(|field| field.path.starts_with(begin));
    if touches("spec.networkInterfaces") {
        let version = context.host.capabilities()?.libvirt_version;
        plan.interfaces = links::check_links(context, &plan, version, &mut report)?;
    }
    if touches("spec.vcpus") || touches("spec.memoryGiB") || touches("spec.resources") {
        check_changed_size(context, &plan, &compared.handle.next.domain_type, &mut report)?;
    }
    if let Some(first) = changes().find_map(|field| field.path.strip_prefix("spec.xmlPatch[")) {
        let first = first.trim_end_matches(']').parse().unwrap_or_default();
        if let Some(xml) = context.host.domain_xml(compared.handle.domain.uuid, View::Config)? {
            domain_xml::patch_definition(&xml, &plan, first).map_err(Error::unchanged)?;
        }
    }
    if report.is_empty() { Ok(plan) } else { Err(report.to_error(wanted.name())) }
}

fn refusal(compared: &ComparedVm, field: &FieldDiff) -> Issue {
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

/// A change in progress.
struct Run<'a> {
    context: &'a Context,
    wanted: &'a WantedVm,
    /// The plan, with what the host knows about its interfaces.
    checked: &'a VmPlan,
    options: ApplyOptions,
    has_changed: bool,
}

impl Run<'_> {
    /// Grows disks and attaches new ones. Both write the record themselves.
    fn change_disks(&mut self, compared: &ComparedVm) -> Result<(), Error> {
        let changes = |path: &str| {
            compared.fields.iter().any(|field| field.path == path && field.is_change(self.options.force))
        };
        let boot = &self.wanted.plan.boot_disk;
        let mut grow: Vec<(&str, _)> =
            changes("spec.bootDisk.sizeGiB").then_some(("boot", boot.size)).into_iter().collect();
        let mut new = Vec::new();
        for disk in &self.wanted.plan.data_disks {
            let target = disk.target.as_str();
            if changes(&format!("spec.dataDisks[{target}].sizeGiB")) {
                grow.push((target, disk.size));
            } else if changes(&format!("spec.dataDisks[{target}]")) {
                new.push(disk);
            }
        }
        for (disk, size) in grow {
            self.context.cancel.check()?;
            resize(self.context, self.wanted.name(), disk, SizeRequest::To(size))?;
            self.has_changed = true;
        }
        for disk in new {
            self.context.cancel.check()?;
            self.attach_disk(compared, disk)?;
            self.has_changed = true;
        }
        Ok(())
    }

    /// Attaches a new disk: to the running guest if it has a free slot, otherwise from its next start on.
    fn attach_disk(&self, compared: &ComparedVm, disk: &DataDiskPlan) -> Result<(), Error> {
        let device: DiskTarget = disk.target.clone();
        let is_full = match &compared.handle.live {
            None => false,
            Some(_) => {
                let xml = self.context.host.domain_xml(compared.handle.domain.uuid, View::Current)?;
                xml.is_some_and(|xml| has_free_port(&xml) == Some(false))
            }
        };
        let request = AttachRequest {
            vm: self.wanted.name(),
            content: DiskContent::New { size: disk.size, format: disk.format },
            device: Some(device),
            serial: disk.serial.clone(),
            at_next_start: is_full,
        };
        attach(self.context, &request).map(drop)
    }

    /// Changes definition, running VM and record, under the VM's lock. What another process changed meanwhile is
    /// compared again.
    fn change_the_rest(&mut self, before: &ComparedVm) -> Result<Applied, Error> {
        let context = self.context;
        let domain = &before.handle.domain;
        let _lock = lock::lock_vm(context, domain.uuid, &domain.name)?;
        let compared = self.look_again(before)?;
        if !self.has_changed {
            check_generation(self.wanted, &compared)?;
        }
        let fields: Vec<&FieldDiff> =
            compared.fields.iter().filter(|field| field.is_change(self.options.force)).collect();
        if let Some(rival) = fields.iter().find(|field| !field.is_possible()) {
            let why = format!("{} was changed by another process meanwhile", rival.path);
            return Err(Error::new(Code::ChangedMeanwhile, why));
        }
        let change = DefinitionChange {
            fields: &fields,
            wanted: self.checked,
            recorded: &compared.recorded.interfaces,
            described: &compared.handle.next,
            native: compared.native,
        };
        self.change_definition(&compared, &change)?;
        self.change_running(&compared, &change)?;
        if fields.iter().any(|field| field.path == "spec.autostart") {
            context.cancel.check()?;
            context.host.set_autostart(domain.uuid, self.wanted.plan.autostart)?;
            self.has_changed = true;
        }
        context.cancel.check()?;
        let manifest = manifest_to_record(self.wanted, &compared);
        update_locked_record(context, domain, |record| record.manifest.clone_from(&manifest))?;
        self.has_changed = true;
        let after = self.look_again(before)?;
        Ok(Applied::of_fields(ApplyOutcome::Configured, &after.fields))
    }

    fn look_again(&self, before: &ComparedVm) -> Result<ComparedVm, Error> {
        let handle = VmHandle::find(self.context, self.wanted.name())?;
        if handle.domain.uuid != before.handle.domain.uuid {
            return Err(removed_meanwhile(self.wanted.name()));
        }
        compare_with(self.context, self.wanted, handle)
    }

    /// One definition for all fields. A failed call may have had its effect; the same command again sees that.
    fn change_definition(
        &mut self,
        compared: &ComparedVm,
        change: &DefinitionChange<'_>,
    ) -> Result<(), Error> {
        let (context, uuid) = (self.context, compared.handle.domain.uuid);
        if !change.fields.iter().any(|field| field.is_to_define()) {
            return Ok(());
        }
        let Some(full) = context.host.full_definition(uuid)? else {
            return Err(removed_meanwhile(self.wanted.name()));
        };
        let mut changed = change.write_into(&full)?;
        if let Some(first) = change.first_patch() {
            changed = self.patch_definition(compared, &changed, first)?;
        }
        context.cancel.check()?;
        context.report_started(Step::ChangeDefinition);
        let defined = context.host.define_domain(&changed);
        self.has_changed |= defined.as_ref().map_or_else(HostError::outcome_unknown, |_| true);
        defined?;
        context.report_finished(Step::ChangeDefinition);
        Ok(())
    }

    /// Applies the new entries of the patch, and notes them in the record that the definition contains: nothing else
    /// shows that an entry was applied, and a second time would add its elements twice.
    fn patch_definition(&self, compared: &ComparedVm, xml: &str, first: usize) -> Result<String, Error> {
        let patched = domain_xml::patch_definition(xml, self.checked, first)?;
        let mut record = current_record(self.context, &compared.handle.domain)?;
        let before = record.manifest.clone();
        record.manifest.spec.xml_patch.clone_from(&self.wanted.plan.manifest.spec.xml_patch);
        let now = self.context.clock.timestamp();
        record.note_revision(&before, user_and_host(), &now);
        record.changed_at = now;
        Ok(edit::set_record(&patched, &record.to_text()?)?)
    }

    /// Changes what a running VM can change. A refusal is a warning: the definition has the value, so the VM gets it
    /// when it starts next.
    fn change_running(&mut self, compared: &ComparedVm, change: &DefinitionChange<'_>) -> Result<(), Error> {
        let Some(live) = &compared.handle.live else { return Ok(()) };
        let (host, uuid, plan) = (&self.context.host, compared.handle.domain.uuid, self.checked);
        let touches = |path: &str| change.fields.iter().any(|field| field.path == path);
        let is_live = |path: &str| {
            change.fields.iter().any(|field| field.path == path && field.verdict == Verdict::Live)
        };
        if touches("spec.memoryGiB") && round_up(plan.memory) <= live.memory {
            self.try_now("memory", || host.set_memory_now(uuid, round_up(plan.memory)))?;
        }
        if is_live("spec.vcpus") && live.vcpus != plan.vcpus {
            self.try_now("vcpus", || host.set_vcpus_now(uuid, plan.vcpus))?;
        }
        for index in (0..plan.interfaces.len()).filter(|index| change.moves(*index)) {
            let Some(xml) = host.domain_xml(uuid, View::Current)? else { return Ok(()) };
            if let Some(element) = change.moved_interface(&xml, index)?
                && !xml.contains(&element)
            {
                let what = format!("interface {index}");
                self.try_now(&what, || host.update_interface_now(uuid, &element))?;
            }
        }
        Ok(())
    }

    fn try_now(&mut self, what: &str, call: impl FnOnce() -> Result<(), HostError>) -> Result<(), Error> {
        self.context.cancel.check()?;
        self.context.report_started(Step::ChangeRunning(what.to_owned()));
        match call() {
            Ok(()) => {
                self.has_changed = true;
                self.context.report_finished(Step::ChangeRunning(what.to_owned()));
                Ok(())
            }
            Err(lost) if lost.outcome_unknown() => {
                self.has_changed = true;
                Err(lost.into())
            }
            Err(refused) => {
                let cause = refused.cause().unwrap_or_default();
                self.context.warn(format!(
                    "{what} of VM '{}' changes at its next start; the running VM refuses it: {cause}",
                    self.wanted.name()
                ));
                Ok(())
            }
        }
    }
}
