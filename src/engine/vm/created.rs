//! The kinds of resources that a creation makes.

use std::fmt;

use foundry_core::record::RecordedVolume;
use uuid::Uuid;

/// A resource that this process created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CreatedResource {
    /// The definition, with the record in it.
    Domain {
        /// The domain's UUID.
        uuid: Uuid,
        /// The domain's name.
        name: String,
    },
    /// A volume, as planned.
    Volume(Box<RecordedVolume>),
    /// The mark in the record that the VM is complete. A rollback restores the previous record first, so that a
    /// rollback that fails leaves an interrupted creation and not a complete VM without disks.
    Mark {
        /// The domain's UUID.
        uuid: Uuid,
        /// The record's text before the mark.
        before: String,
    },
    /// The log of the serial console, which the domain's start creates.
    ConsoleLog(String),
    /// The guest, which may be running.
    Guest {
        /// The domain's UUID.
        uuid: Uuid,
        /// The domain's name.
        name: String,
    },
}

impl fmt::Display for CreatedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain { name, .. } => write!(f, "domain '{name}'"),
            Self::Volume(planned) => write!(f, "{}", planned.reference()),
            Self::Mark { .. } => f.write_str("the mark that the VM is complete"),
            Self::ConsoleLog(path) => write!(f, "the console log {path}"),
            Self::Guest { name, .. } => write!(f, "the guest of domain '{name}'"),
        }
    }
}
