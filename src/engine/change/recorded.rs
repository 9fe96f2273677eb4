//! Changes the manifest in a VM's record, for commands that have no file.

use foundry_core::error::{Code, Error};
use foundry_core::manifest::VirtualMachine;
use foundry_core::plan::{VmPlan, pin_mac_addresses};
use foundry_core::record::{Record, Revision};

use super::look::{WantedVm, manifest_to_plan, recorded_defaults};
use crate::Context;
use crate::vm::handle::{read_own_record, refused_unchanged};
use crate::vm::lookup::{find_vm, vm_not_found};

/// The manifest in a VM's record, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedManifest {
    /// The manifest.
    pub manifest: VirtualMachine,
    /// The VM's generation with it.
    pub generation: u64,
    record: Record,
}

/// Reads the manifest in a VM's record.
///
/// # Errors
/// If there is no such VM, or foundry did not create it.
pub fn recorded_manifest(context: &Context, name: &str) -> Result<RecordedManifest, Error> {
    let record = find_record(context, name)?;
    Ok(RecordedManifest { manifest: record.manifest.clone(), generation: record.generation, record })
}

impl RecordedManifest {
    /// The VM with another manifest; its secrets stay.
    ///
    /// # Errors
    /// All problems of the manifest, or another name than the VM's.
    pub fn with_manifest(&self, context: &Context, manifest: VirtualMachine) -> Result<WantedVm, Error> {
        let own = self.manifest.metadata.name.as_deref();
        if manifest.metadata.name.as_deref() != own {
            let message = "metadata.name: a VM keeps its name";
            return Err(Error::new(Code::ChangeRefused, message).unchanged());
        }
        let changed = Record { manifest, ..self.record.clone() };
        let plan =
            VmPlan::from_manifest(&manifest_to_plan(&changed, None), &recorded_defaults(&context.settings))?;
        Ok(WantedVm { plan, is_recorded: true, generation: Some(self.generation) })
    }

    /// The VM with the manifest of an earlier generation.
    ///
    /// # Errors
    /// If the record does not have it.
    pub fn with_revision(&self, context: &Context, generation: u64) -> Result<WantedVm, Error> {
        let Some(manifest) = self.record.manifest_of(generation) else {
            let kept = self.record.revisions();
            let kept = kept.iter().filter(|r| self.record.manifest_of(r.generation).is_some());
            let kept: Vec<String> = kept.map(|revision| revision.generation.to_string()).collect();
            let name = self.manifest.metadata.name.clone().unwrap_or_default();
            let message = format!("the record of VM '{name}' has no revision {generation}");
            return Err(
                refused_unchanged(Code::WordUnknown, message).hint(format!("it has {}", kept.join(", ")))
            );
        };
        let mut manifest = manifest.clone();
        // The VM may have been renamed since.
        if manifest.metadata.name != self.manifest.metadata.name {
            pin_mac_addresses(&mut manifest);
            manifest.metadata.name.clone_from(&self.manifest.metadata.name);
        }
        self.with_manifest(context, manifest)
    }
}

/// The versions of a VM's manifest that its record keeps, oldest first, each with its manifest.
///
/// # Errors
/// If there is no such VM, or foundry did not create it.
pub fn list_revisions(context: &Context, name: &str) -> Result<Vec<Revision>, Error> {
    let record = find_record(context, name)?;
    let mut revisions = record.revisions();
    for revision in &mut revisions {
        revision.manifest = record.manifest_of(revision.generation).cloned().map(Box::new);
    }
    Ok(revisions)
}

fn find_record(context: &Context, name: &str) -> Result<Record, Error> {
    match find_vm(context, name)? {
        Some(domain) => read_own_record(&domain),
        None => Err(vm_not_found(context, name)?),
    }
}
