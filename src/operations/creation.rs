//! What a creation has made so far, and how it is undone.
//!
//! The list is data: it can be printed, compared and gone through backwards. A thing is noted only
//! after the call that made it succeeded; where a connection broke inside the call, nobody knows, and
//! the thing is named to the user and not deleted on suspicion.

use std::fmt;

use uuid::Uuid;

use super::survey::differs_from_plan;
use super::{Session, console, lookup, turn};
use crate::error::{Error, Kind};
use crate::host::HostError;
use crate::record::RecordedVolume;

/// Something that this run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Created {
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
pub(super) struct Creation {
    made: Vec<Created>,
    unknown: Vec<Created>,
}

impl Creation {
    /// Notes what a call made, or that nobody knows whether it did.
    pub(super) fn note<T>(
        &mut self,
        session: &Session<'_>,
        what: Created,
        outcome: Result<T, HostError>,
    ) -> Result<T, Error> {
        self.note_with(session, what, outcome, Error::from)
    }

    /// As [`Self::note`], with the error that a refusal is.
    pub(super) fn note_with<T>(
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
    pub(super) fn note_possible(&mut self, what: Created) {
        self.made.push(what);
    }

    /// Takes everything away again, newest first, and adds to the error what became of it.
    ///
    /// No disk goes while the guest may run. The definition goes last and only if all volumes are gone: it
    /// holds the record that names them. Where it is gone already, the name may be another VM's by now: then nothing
    /// that goes by the name is touched.
    pub(super) fn undo(self, session: &Session<'_>, error: Error) -> Error {
        let vm = self.vm_name();
        let turn = self.domain().map(|uuid| turn::to_undo(session, uuid));
        let is_kept = matches!(turn, Some(None));
        let mut left: Vec<String> = self.unknown.iter().map(|u| format!("{u} (it may exist)")).collect();
        let mut stays = if left.is_empty() { None } else { Some("its record names the rest") };
        let (mut runs, mut is_lost) = (false, false);
        for what in self.made.iter().rev() {
            is_lost = is_lost || self.name_is_lost(session);
            let outcome = match (what, stays) {
                (Created::Domain { .. } | Created::Guest { .. } | Created::Mark { .. }, _) if is_lost => {
                    Ok(())
                }
                (Created::Volume(planned), _) if is_lost && is_gone(session, planned) => Ok(()),
                _ if is_lost => Err("it may be somebody else's by now".to_owned()),
                _ if runs => Err("the guest may run".to_owned()),
                (Created::Volume(_), _) if is_kept => Err("another foundry works on this VM".to_owned()),
                (Created::Domain { .. }, Some(reason)) => Err(reason.to_owned()),
                _ if session.cancel.is_insisted() => Err("the undoing was interrupted".to_owned()),
                _ => remove(session, what),
            };
            let Err(reason) = outcome else { continue };
            runs |= matches!(what, Created::Guest { .. });
            if matches!(what, Created::Volume(_) | Created::Domain { .. } | Created::Guest { .. }) {
                stays = Some("its record names the rest");
            }
            // A mark that stays is no thing that could be found.
            if !matches!(what, Created::Mark { .. }) {
                left.push(format!("{what} ({reason})"));
            }
        }
        let error = if session.cancel.is_insisted() { error.of_kind(Kind::Interrupted) } else { error };
        if is_lost {
            return tell_loss(error, &left, vm.as_deref().unwrap_or_default());
        }
        let vm = vm.filter(|_| stays.is_some());
        tell_outcome(error, !self.made.is_empty(), &left, vm.as_deref())
    }

    /// Whether our own definition is gone, and with it the name that kept these volumes ours.
    fn name_is_lost(&self, session: &Session<'_>) -> bool {
        self.domain().is_some_and(|uuid| matches!(session.host.state(uuid), Ok(None)))
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

fn tell_outcome(error: Error, had_made_any: bool, left: &[String], vm: Option<&str>) -> Error {
    match (left, vm) {
        ([], _) if had_made_any => error.outcome("everything that was made is removed again"),
        ([], _) => error.outcome("nothing was changed"),
        (left, Some(vm)) => error
            .outcome(format!("left behind: {}", left.join(", ")))
            .outcome(format!("foundry destroy {vm} removes it")),
        (left, None) => error.outcome(format!("left behind: {}", left.join(", "))),
    }
}

/// Whoever took the definition away may have made another VM of that name: no advice may lead to that.
fn tell_loss(error: Error, left: &[String], vm: &str) -> Error {
    let error = match error.kind() {
        // What failed then failed because of that.
        Kind::Vm | Kind::Storage => lookup::taken_away(vm),
        _ => error.outcome(format!("VM '{vm}' was taken away by somebody else meanwhile")),
    };
    if left.is_empty() {
        return error;
    }
    error
        .outcome(format!("still there: {}", left.join(", ")))
        .outcome("foundry gc lists which volumes nobody uses")
}

/// Whoever took the definition away has mostly taken its volumes, too.
fn is_gone(session: &Session<'_>, planned: &RecordedVolume) -> bool {
    matches!(session.host.volume(&planned.pool, &planned.name), Ok(None))
}

fn remove(session: &Session<'_>, what: &Created) -> Result<(), String> {
    let told = |e: HostError| Error::from(e).to_string();
    match what {
        Created::Domain { uuid, .. } => {
            session.host.force_off(*uuid).map_err(told)?;
            session.host.undefine(*uuid).map_err(told)
        }
        Created::Volume(planned) => session.host.delete_volume(&planned.pool, &planned.name).map_err(told),
        Created::Mark { uuid, before } => session.host.set_record(*uuid, before).map_err(told),
        Created::ConsoleLog(path) => {
            console::remove(session.host, path).map_err(|_| "it may exist on the host".into())
        }
        Created::Guest { uuid, .. } => session.host.force_off(*uuid).map_err(told),
    }
}
