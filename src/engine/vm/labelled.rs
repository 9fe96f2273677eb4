//! VMs that another program owns: their labels name it, and they are thrown away once their work is done.

use std::collections::BTreeMap;

use foundry_core::error::{Code, Error};
use foundry_core::record::{Liveness, Record, RecordState};
use foundry_host::local::check_liveness;
use foundry_host::{Domain, DomainState, StateReason};

use super::destroy::{DestroyOptions, execute_destroy, plan_destroy};
use super::inspect::{VmView, view_vm};
use crate::Context;

/// A VM of foundry, with its record.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledVm {
    /// The domain as libvirt listed it.
    pub domain: Domain,
    /// Its record.
    pub record: Record,
}

/// Finds the VMs of foundry whose labels fit, with one call to the host.
///
/// # Errors
/// A failed call to the host.
pub fn find_labelled(
    context: &Context,
    fits: impl Fn(&BTreeMap<String, String>) -> bool,
) -> Result<Vec<LabelledVm>, Error> {
    Ok(find_recorded(context)?.into_iter().filter(|vm| fits(vm.labels())).collect())
}

/// Finds all VMs of foundry, with one call to the host.
///
/// # Errors
/// A failed call to the host.
pub(crate) fn find_recorded(context: &Context) -> Result<Vec<LabelledVm>, Error> {
    let domains = context.host.domains(false)?.into_iter();
    Ok(domains.filter_map(|domain| Some(LabelledVm { record: domain.own_record()?, domain })).collect())
}

impl LabelledVm {
    /// The labels of its manifest.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.record.manifest.metadata.labels
    }

    /// Whether it is complete and off because its guest ended: by itself, by a crash, or with the host, of which libvirt
    /// gives no reason. A VM that somebody stopped by force, or whose memory was saved, is not.
    pub fn is_spent(&self) -> bool {
        let Domain { state, why, saved, .. } = &self.domain;
        let has_ended = matches!(why, StateReason::ShutDown | StateReason::Crashed | StateReason::NotSaid);
        // Between its mark and its start, a new VM looks the same; but the process that makes it lives.
        let is_complete =
            self.record.state == RecordState::Created && check_liveness(&self.record.maker) == Liveness::Dead;
        *state == DomainState::ShutOff && has_ended && !saved && is_complete
    }

    /// Returns the VM as `foundry get` shows it.
    ///
    /// # Errors
    /// A failed call to the host.
    pub fn view(&self, context: &Context) -> Result<VmView, Error> {
        view_vm(context, self.domain.clone(), false)
    }

    /// Destroys the VM without waiting for its guest.
    ///
    /// # Errors
    /// Those of [`execute_destroy`]; [`Code::ChangedMeanwhile`] if the name belongs to another domain by now.
    pub fn destroy(&self, context: &Context) -> Result<(), Error> {
        let options = DestroyOptions { force: true, keep_disks: false, timeout: std::time::Duration::ZERO };
        let plan = match plan_destroy(context, &self.domain.name, options) {
            Err(gone) if gone.code() == Code::VmMissing => return Ok(()),
            planned => planned?,
        };
        if plan.domain.uuid != self.domain.uuid {
            let what = format!("'{}' is the name of another domain by now", self.domain.name);
            return Err(Error::new(Code::ChangedMeanwhile, what).unchanged());
        }
        execute_destroy(context, &plan)
    }
}
