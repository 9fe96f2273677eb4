//! Rolls back a creation.
//!
//! No disk is deleted while the guest may be running. The definition is deleted last, and only if all volumes are gone,
//! because it holds the record that names them. If the definition is already gone, another VM may have its name by now;
//! then nothing is deleted by that name.

use uuid::Uuid;

use super::created::CreatedResource;
use super::{console, lookup};
use crate::Context;
use crate::advice::list_unused;
use crate::storage::usage::Usage;
use foundry_core::error::{Advice, Error, Kind, Outcome, Remainder, Verb};
use foundry_core::record::RecordedVolume;
use foundry_host::{HostError, KeptOnUndefine, View};

/// A rollback in progress.
pub(crate) struct Rollback<'a> {
    context: &'a Context,
    domain: Option<Uuid>,
    /// Why this process does not hold the VM's lock, if it does not.
    no_lock: Option<String>,
    /// The definition was gone before the rollback reached it.
    is_lost: bool,
    /// The guest could not be stopped.
    runs: bool,
    /// Something is left that only the record names, so the definition is kept.
    is_needed: bool,
    /// What is left behind, and why.
    remainders: Vec<Remainder>,
}

impl<'a> Rollback<'a> {
    /// Begins a rollback. Resources that may or may not be ours (`unknown`) are reported, never deleted.
    pub(crate) fn begin(
        context: &'a Context,
        domain: Option<Uuid>,
        no_lock: Option<String>,
        unknown: &[CreatedResource],
    ) -> Self {
        let may_exist = |what: &CreatedResource| Remainder::new(what.to_string(), "it may exist");
        let remainders: Vec<Remainder> = unknown.iter().map(may_exist).collect();
        let is_needed = !remainders.is_empty();
        Self { context, domain, no_lock, is_lost: false, runs: false, is_needed, remainders }
    }

    /// Deletes one resource, or notes why it is left behind.
    pub(crate) fn take_back(&mut self, what: &CreatedResource) {
        self.is_lost = self.is_lost || self.name_is_lost();
        let outcome = match self.find_obstacle(what) {
            _ if self.is_lost => self.check_lost(what),
            Some(obstacle) => Err(obstacle),
            None => remove_resource(self.context, what),
        };
        if let Err(reason) = outcome {
            self.note_left_behind(what, &reason);
        }
    }

    /// Whether our definition is gone, and with it the claim to the name that made these volumes ours.
    fn name_is_lost(&self) -> bool {
        self.domain.is_some_and(|uuid| lookup::is_gone(self.context, uuid))
    }

    fn find_obstacle(&self, what: &CreatedResource) -> Option<String> {
        // Without the lock, another process may use the volumes of that name by now.
        let no_lock = self.no_lock.as_ref().filter(|_| matches!(what, CreatedResource::Volume(_)));
        match (what, no_lock) {
            _ if self.runs => Some("the guest may be running".to_owned()),
            (_, Some(why)) => Some(why.clone()),
            (CreatedResource::Domain { .. }, _) if self.is_needed => {
                Some("its record names the rest".to_owned())
            }
            _ if self.context.cancel.is_insisted() => Some("the rollback was interrupted".to_owned()),
            _ => None,
        }
    }

    /// Checks what is left if the definition is gone: the process that deleted it usually deleted the volumes, too.
    fn check_lost(&self, what: &CreatedResource) -> Result<(), String> {
        match what {
            CreatedResource::Domain { .. } | CreatedResource::Guest { .. } | CreatedResource::Mark { .. } => {
                Ok(())
            }
            CreatedResource::Volume(planned) if is_gone(self.context, planned) => Ok(()),
            _ => Err("it may belong to another VM by now".to_owned()),
        }
    }

    fn note_left_behind(&mut self, what: &CreatedResource, reason: &str) {
        self.runs |= matches!(what, CreatedResource::Guest { .. });
        self.is_needed |= matches!(
            what,
            CreatedResource::Volume(_) | CreatedResource::Domain { .. } | CreatedResource::Guest { .. }
        );
        // A mark that could not be taken back is not a resource to report.
        if !matches!(what, CreatedResource::Mark { .. }) {
            self.remainders.push(Remainder::new(what.to_string(), reason));
        }
    }

    /// Adds to the error what became of all resources.
    pub(crate) fn into_error(self, error: Error, vm: Option<&str>, had_made_any: bool) -> Error {
        let is_insisted = self.context.cancel.is_insisted();
        let error = if is_insisted { error.of_kind(Kind::Interrupted) } else { error };
        if self.is_lost {
            return with_loss(error, self.remainders, vm.unwrap_or_default());
        }
        with_outcome(error, had_made_any, self.remainders, vm.filter(|_| self.is_needed))
    }
}

fn with_outcome(error: Error, had_made_any: bool, remainders: Vec<Remainder>, vm: Option<&str>) -> Error {
    match (remainders, vm) {
        (remainders, _) if remainders.is_empty() && had_made_any => error.outcome(Outcome::RolledBack),
        (remainders, _) if remainders.is_empty() => error.unchanged(),
        (remainders, Some(vm)) => error
            .outcome(Outcome::Left(remainders))
            .outcome(Advice::from(Verb::Destroy { vm: vm.into(), force: false }).text(" removes it")),
        (remainders, None) => error.outcome(Outcome::Left(remainders)),
    }
}

/// The error if the definition is gone. Another VM may have the name by now, so no advice may name it.
fn with_loss(error: Error, remainders: Vec<Remainder>, vm: &str) -> Error {
    let error = match error.kind() {
        // What failed then failed because of that.
        Kind::Vm | Kind::Storage => lookup::removed_meanwhile(vm),
        _ => error.outcome(format!("VM '{vm}' was deleted by another process meanwhile")),
    };
    if remainders.is_empty() {
        return error;
    }
    error.outcome(Outcome::Left(remainders)).outcome(list_unused())
}

fn is_gone(context: &Context, planned: &RecordedVolume) -> bool {
    matches!(context.host.volume(&planned.reference()), Ok(None))
}

/// What libvirt must keep when it undefines the domain, because this process did not create it: saved memory, and EFI
/// variables that another domain uses or may use.
fn parts_to_keep(context: &Context, uuid: Uuid) -> KeptOnUndefine {
    let is_shared = || -> Result<bool, Error> {
        let described = context.host.describe(uuid, View::Config)?;
        let Some(path) = described.and_then(|described| described.nvram) else { return Ok(false) };
        Ok(!Usage::collect(context, Some(uuid))?.domains_using(&path).is_empty())
    };
    KeptOnUndefine { nvram: is_shared().unwrap_or(true), saved: true }
}

fn remove_resource(context: &Context, what: &CreatedResource) -> Result<(), String> {
    let told = |e: HostError| Error::from(e).to_string();
    match what {
        CreatedResource::Domain { uuid, .. } => {
            context.host.force_off(*uuid).map_err(told)?;
            context.host.undefine_keeping(*uuid, parts_to_keep(context, *uuid)).map_err(told)
        }
        CreatedResource::Volume(planned) => context.host.delete_volume(&planned.reference()).map_err(told),
        CreatedResource::Mark { uuid, before } => context.host.set_record(*uuid, before).map_err(told),
        CreatedResource::ConsoleLog(path) => {
            console::remove_logs(context.host.as_ref(), path).map_err(|_| "it may exist on the host".into())
        }
        CreatedResource::Guest { uuid, .. } => context.host.force_off(*uuid).map_err(told),
    }
}
