//! What a creation has made so far, and how it is undone.
//!
//! The list is data: it can be printed, compared and gone through backwards. A thing is noted only
//! after the call that made it succeeded; where a connection broke inside the call, nobody knows, and
//! the thing is named to the user and not deleted on suspicion.

use std::fmt;

use uuid::Uuid;

use super::{Session, console};
use crate::error::Error;
use crate::host::HostError;

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
    /// A volume.
    Volume {
        /// Its pool.
        pool: String,
        /// Its name.
        name: String,
    },
    /// The serial console's log, which the start of the domain makes.
    ConsoleLog(String),
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain { name, .. } => write!(f, "domain '{name}'"),
            Self::Volume { pool, name } => write!(f, "volume '{name}' in pool '{pool}'"),
            Self::ConsoleLog(path) => write!(f, "the console log {path}"),
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
        match outcome {
            Ok(done) => {
                self.made.push(what);
                Ok(done)
            }
            Err(failed) => {
                self.doubt(session, what, &failed);
                Err(failed.into())
            }
        }
    }

    /// A call that failed may have done its work all the same: broken off before the answer, or refused
    /// halfway. A definition is surely ours by its UUID. A volume that is there now may be anybody's.
    fn doubt(&mut self, session: &Session<'_>, what: Created, failed: &HostError) {
        let there = match &what {
            Created::Domain { uuid, .. } => session.host.state(*uuid).map(|now| now.is_some()),
            Created::Volume { pool, name } => session.host.volume(pool, name).map(|found| found.is_some()),
            Created::ConsoleLog(_) => Ok(false),
        };
        match (&what, there) {
            (Created::Domain { .. }, Ok(true)) => self.made.push(what),
            (_, Ok(false)) if !failed.outcome_unknown() => {}
            _ => self.unknown.push(what),
        }
    }

    /// Notes a side effect that needs no proof, like a log that a start may have begun.
    pub(super) fn note_possible(&mut self, what: Created) {
        self.made.push(what);
    }

    /// Takes everything away again, newest first, and adds to the error what became of it.
    ///
    /// The definition goes last and only if all volumes are gone: it holds the record that names them.
    pub(super) fn undo(self, session: &Session<'_>, error: Error) -> Error {
        let vm = self.vm_name();
        let mut left = self.unknown.iter().map(|u| format!("{u} (it may exist)")).collect::<Vec<_>>();
        let mut record_is_needed = !left.is_empty();
        let had_made_any = !self.made.is_empty();
        for what in self.made.iter().rev() {
            let is_record = matches!(what, Created::Domain { .. });
            let outcome = if is_record && record_is_needed {
                Err("its record names the rest".to_owned())
            } else if session.cancel.is_insisted() {
                Err("the undoing was interrupted".to_owned())
            } else {
                remove(session, what)
            };
            if let Err(reason) = outcome {
                record_is_needed |= matches!(what, Created::Volume { .. });
                left.push(format!("{what} ({reason})"));
            }
        }
        tell_outcome(error, had_made_any, &left, vm.as_deref())
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

fn remove(session: &Session<'_>, what: &Created) -> Result<(), String> {
    let told = |e: HostError| Error::from(e).to_string();
    match what {
        Created::Domain { uuid, .. } => {
            session.host.force_off(*uuid).map_err(told)?;
            session.host.undefine(*uuid).map_err(told)
        }
        Created::Volume { pool, name } => session.host.delete_volume(pool, name).map_err(told),
        Created::ConsoleLog(path) => {
            console::remove(session.host, path).map_err(|_| "it is on the host".into())
        }
    }
}
