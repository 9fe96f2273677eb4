//! The steps of a change: disks, definition, running VM, record.

use foundry_core::domain_xml;
use foundry_core::error::{Code, Error};
use foundry_core::names::DiskTarget;
use foundry_core::plan::{DataDiskPlan, VmPlan};
use foundry_core::units::SizeRequest;
use foundry_host::libvirt_xml::{edit, has_free_port};
use foundry_host::local::user_and_host;
use foundry_host::{HostError, View};

use super::applied::{Applied, ApplyOptions, ApplyOutcome};
use super::definition::DefinitionChange;
use super::field::{FieldDiff, Verdict};
use super::look::{ComparedVm, WantedVm, compare_with, manifest_to_record};
use super::sides::round_up;
use crate::disk::{AttachRequest, DiskContent, attach, current_record, resize, update_locked_record};
use crate::vm::handle::VmHandle;
use crate::vm::lookup::removed_meanwhile;
use crate::{Context, Step, lock};

/// Refuses a manifest that was made from an older one.
pub(super) fn check_generation(wanted: &WantedVm, compared: &ComparedVm) -> Result<(), Error> {
    let now = compared.handle.record.generation;
    if wanted.generation.is_none_or(|generation| generation == now) {
        return Ok(());
    }
    let message = format!("the manifest of VM '{}' was changed by another command meanwhile", wanted.name());
    Err(Error::new(Code::ChangedMeanwhile, message).hint("run the same command again").unchanged())
}

/// A change in progress.
pub(super) struct ApplyRun<'a> {
    pub(super) context: &'a Context,
    pub(super) wanted: &'a WantedVm,
    /// The plan, with what the host knows about its interfaces.
    pub(super) checked: &'a VmPlan,
    pub(super) options: ApplyOptions,
    pub(super) has_changed: bool,
}

impl ApplyRun<'_> {
    /// Grows disks and attaches new ones. Both write the record themselves.
    pub(super) fn change_disks(&mut self, compared: &ComparedVm) -> Result<(), Error> {
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
    pub(super) fn change_the_rest(&mut self, before: &ComparedVm) -> Result<Applied, Error> {
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
