//! The list of what a creation has made so far.
//!
//! The list is data: it can be printed, compared and undone from the end. A resource is noted only after the call that
//! created it succeeded. If the connection broke during the call, it is unknown whether the resource exists; then it
//! is reported to the user and never deleted on suspicion.

use uuid::Uuid;

use super::created::CreatedResource;
use super::rollback::Rollback;
use crate::disk::ownership::differs_from_plan;
use crate::{Context, lock};
use foundry_core::error::Error;
use foundry_core::record::VolumeRef;
use foundry_host::HostError;

/// All resources that one process created, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    made: Vec<CreatedResource>,
    unknown: Vec<CreatedResource>,
}

impl Journal {
    /// Notes what a call created, or that this is unknown.
    pub(crate) fn note_result<T>(
        &mut self,
        context: &Context,
        what: CreatedResource,
        outcome: Result<T, HostError>,
    ) -> Result<T, Error> {
        self.note_result_with(context, what, outcome, Error::from)
    }

    /// As [`Self::note_result`]; `explain` turns a refusal into the error.
    pub(crate) fn note_result_with<T>(
        &mut self,
        context: &Context,
        what: CreatedResource,
        outcome: Result<T, HostError>,
        explain: impl FnOnce(HostError) -> Error,
    ) -> Result<T, Error> {
        match outcome {
            Ok(done) => {
                self.made.push(what);
                Ok(done)
            }
            Err(failed) => {
                self.note_failed(context, what, &failed);
                Err(explain(failed))
            }
        }
    }

    /// Notes a failed call. It may still have had its effect: the connection may have broken before the answer, or
    /// libvirt refused halfway. A definition is ours if it has our UUID. A volume that exists now may belong to another
    /// process, and certainly does if it differs from the plan.
    fn note_failed(&mut self, context: &Context, what: CreatedResource, failed: &HostError) {
        let there = match &what {
            CreatedResource::Domain { uuid, .. } => context.host.state(*uuid).map(|now| now.is_some()),
            CreatedResource::Volume(planned) => context
                .host
                .volume(&planned.reference())
                .map(|found| found.is_some_and(|v| differs_from_plan(planned, &v).is_none())),
            CreatedResource::Mark { .. } | CreatedResource::ConsoleLog(_) | CreatedResource::Guest { .. } => {
                Ok(false)
            }
        };
        match (&what, there) {
            (CreatedResource::Domain { .. }, Ok(true)) => self.made.push(what),
            (_, Ok(false)) if !failed.outcome_unknown() => {}
            _ => self.unknown.push(what),
        }
    }

    /// Notes a possible side effect whose rollback does no harm if it did not happen, such as a log that a start may
    /// have created.
    pub(crate) fn note_possible(&mut self, what: CreatedResource) {
        self.made.push(what);
    }

    /// Whether a volume was made, or may have been.
    pub(crate) fn may_have_made(&self, volume: &VolumeRef) -> bool {
        let is_it = |what: &CreatedResource| matches!(what, CreatedResource::Volume(made) if made.reference() == *volume);
        self.made.iter().chain(&self.unknown).any(is_it)
    }

    /// Deletes everything again, newest first, and adds the outcome to the error.
    pub(crate) fn roll_back(self, context: &Context, error: Error) -> Error {
        let lock = self.domain_uuid().map(|uuid| lock::lock_for_rollback(context, uuid)).transpose();
        let no_lock = lock.as_ref().err().cloned();
        let mut undoing = Rollback::begin(context, self.domain_uuid(), no_lock, &self.unknown);
        self.made.iter().rev().for_each(|what| undoing.take_back(what));
        undoing.into_error(error, self.vm_name().as_deref(), !self.made.is_empty())
    }

    fn domain_uuid(&self) -> Option<Uuid> {
        self.made.iter().find_map(|c| match c {
            CreatedResource::Domain { uuid, .. } => Some(*uuid),
            _ => None,
        })
    }

    fn vm_name(&self) -> Option<String> {
        self.made.iter().chain(&self.unknown).find_map(|c| match c {
            CreatedResource::Domain { name, .. } => Some(name.clone()),
            _ => None,
        })
    }
}
