//! What a creation makes, one thing at a time.

use std::fmt;

use foundry_core::record::RecordedVolume;
use uuid::Uuid;

/// Something that this run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CreatedResource {
    /// The definition, with the record in it.
    Domain {
        /// Its identity.
        uuid: Uuid,
        /// Its name.
        name: String,
    },
    /// A volume, as it was planned.
    Volume(Box<RecordedVolume>),
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

impl fmt::Display for CreatedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain { name, .. } => write!(f, "domain '{name}'"),
            Self::Volume(planned) => write!(f, "{}", planned.reference()),
            Self::Mark { .. } => f.write_str("the mark that the VM is whole"),
            Self::ConsoleLog(path) => write!(f, "the console log {path}"),
            Self::Guest { name, .. } => write!(f, "the guest of domain '{name}'"),
        }
    }
}
