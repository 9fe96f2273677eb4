//! What a creation has made so far.
//!
//! The list is data: it can be printed, compared and gone through backwards. A thing is noted only
//! after the call that made it succeeded; where a connection broke inside the call, nobody knows, and
//! the thing is named to the user and not deleted on suspicion.

use std::fmt;

use uuid::Uuid;

use super::plan_destroy::differs_from_plan;
use super::rollback::Undoing;
use crate::Session;
use crate::lock;
use foundry_core::error::Error;
use foundry_core::record::RecordedVolume;
use foundry_host::HostError;

/// Something that this run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Created {
    /// The definition, with the record in it.
    Domain {
        /// Its identity.
        uuid: Uuid,
        /// Its name.
        name: String,
    },
    /// A volume, as it was planned.
    Volume(RecordedVolume),
    /// The mark that the VM is whole; undone by the record as it was before. What an undoing that fails
    /// leaves is then an interrupted creation, and not a VM without its disks.
    Mark {
        /// The domain.
        uuid: Uuid,
        /// The record before the mark.
        before: String,
    },
    /// The serial console's log, which the start of the domain makes.
    ConsoleLog(String),
    /// The guest, which may run.
    Guest {
        /// The domain.
        uuid: Uuid,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain { name, .. } => write!(f, "domain '{name}'"),
            Self::Volume(planned) => write!(f, "volume '{}' in pool '{}'", planned.name, planned.pool),
            Self::Mark { .. } => f.write_str("the mark that the VM is whole"),
            Self::ConsoleLog(path) => write!(f, "the console log {path}"),
            Self::Guest { name, .. } => write!(f, "the guest of domain '{name}'"),
        }
    }
}

/// All that one run made, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Creation {
    made: Vec<Created>,
    unknown: Vec<Created>,
}

impl Creation {
    /// Notes what a call made, or that nobody knows whether it did.
    pub(crate) fn note<T>(
        &mut self,
        session: &Session<'_>,
        what: Created,
        outcome: Result<T, HostError>,
    ) -> Result<T, Error> {
        self.note_with(session, what, outcome, Error::from)
    }

    /// As [`Self::note`], with the error that a refusal is.
    pub(crate) fn note_with<T>(
        &mut self,
        session: &Session<'_>,
        what: Created,
        outcome: Result<T, HostError>,
        explain: impl FnOnce(HostError) -> Error,
    ) -> Result<T, Error> {
        match outcome {
            Ok(done) => {
                self.made.push(what);
                Ok(done)
            }
            Err(failed) => {
                self.doubt(session, what, &failed);
                Err(explain(failed))
            }
        }
    }

    /// A call that failed may have done its work all the same: broken off before the answer, or refused
    /// halfway. A definition is surely ours by its UUID. A volume that is there now may be anybody's, and
    /// one of another form than the planned one surely is.
    fn doubt(&mut self, session: &Session<'_>, what: Created, failed: &HostError) {
        let there = match &what {
            Created::Domain { uuid, .. } => session.host.state(*uuid).map(|now| now.is_some()),
            Created::Volume(planned) => session
                .host
                .volume(&planned.pool, &planned.name)
                .map(|found| found.is_some_and(|v| differs_from_plan(planned, &v).is_none())),
            Created::Mark { .. } | Created::ConsoleLog(_) | Created::Guest { .. } => Ok(false),
        };
        match (&what, there) {
            (Created::Domain { .. }, Ok(true)) => self.made.push(what),
            (_, Ok(false)) if !failed.outcome_unknown() => {}
            _ => self.unknown.push(what),
        }
    }

    /// Notes a side effect that needs no proof and whose undoing does no harm where it did not happen,
    /// like a log that a start may have begun.
    pub(crate) fn note_possible(&mut self, what: Created) {
        self.made.push(what);
    }

    /// Takes everything away again, newest first, and adds to the error what became of it.
    pub(crate) fn undo(self, session: &Session<'_>, error: Error) -> Error {
        let turn = self.domain().map(|uuid| lock::to_undo(session, uuid)).transpose();
        let kept = turn.as_ref().err().cloned();
        let mut undoing = Undoing::begin(session, self.domain(), kept, &self.unknown);
        self.made.iter().rev().for_each(|what| undoing.take_back(what));
        undoing.tell(error, self.vm_name().as_deref(), !self.made.is_empty())
    }

    fn domain(&self) -> Option<Uuid> {
        self.made.iter().find_map(|c| match c {
            Created::Domain { uuid, .. } => Some(*uuid),
            _ => None,
        })
    }

    fn vm_name(&self) -> Option<String> {
        self.made.iter().chain(&self.unknown).find_map(|c| match c {
            Created::Domain { name, .. } => Some(name.clone()),
            _ => None,
        })
    }
}
