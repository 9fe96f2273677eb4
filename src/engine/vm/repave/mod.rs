//! Repaves a VM: gives it a new boot disk and a new seed, and keeps everything else.
//!
//! ```text
//!   [lock: check ▸ note ▸ make the volumes] ▸ stop ▸ [lock: define ▸ start] ▸ wait ▸ [lock: decide ▸ delete the spare]
//! ```
//!
//! The record names all volumes before they exist, and which of the two boot disks the VM has is one definition, so a
//! repave that is killed anywhere is finished or taken back by another run. The old boot disk and the old seed are kept
//! until the new ones have passed the wait or the user accepts them. The stages are in [`foundry_core::record::Repave`].

mod decide;
mod definition;
mod manifest_seed;
mod new_seed;
mod plan;
mod run;
mod spare;
mod state;
mod undo;

use std::time::Duration;

use foundry_core::error::{Advice, Verb};
use foundry_core::record::RecordedVolume;
use foundry_host::Domain;
use uuid::Uuid;

use super::goal::Goal;
use super::power::StopOptions;
use crate::change::{FieldDiff, WantedVm};

pub use decide::{accept_repave, roll_back_repave};
pub use plan::plan_repave;
pub use run::repave_vm;
use state::decide_advice;
pub(super) use state::refuse_if_busy;
pub(crate) use state::{has_work_to_finish, next_advice, refuse_undecided};
pub(crate) use undo::finish_spare;

/// What to repave, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct RepaveRequest<'a> {
    /// Name or UUID of the VM.
    pub vm: &'a str,
    /// The new boot disk.
    pub source: RepaveSource,
    /// How to stop the guest.
    pub stop: StopOptions,
    /// What the new boot disk has to reach, and in which time; without it, the old one is kept.
    pub wait: Option<(Goal, Duration)>,
}

/// The new boot disk of a VM.
#[derive(Debug, Clone, PartialEq)]
pub enum RepaveSource {
    /// As the VM's manifest says.
    Recorded,
    /// From this image, as `spec.bootDisk.image` names it.
    Image(String),
    /// As this manifest of the VM says, together with the seed and everything else that a VM can change.
    Manifest(Box<WantedVm>),
}

impl RepaveSource {
    /// The image, if it alone is another one than the manifest names.
    fn image(&self) -> Option<&str> {
        match self {
            Self::Recorded | Self::Manifest(_) => None,
            Self::Image(image) => Some(image),
        }
    }

    /// The command that finishes a repave from it.
    fn again(&self, domain: &Domain) -> Verb {
        let vm = domain.command_name();
        match self {
            Self::Recorded => Verb::RepaveAgain { vm, image: None },
            Self::Image(image) => Verb::RepaveAgain { vm, image: Some(image.clone()) },
            Self::Manifest(_) => Verb::RepaveFromFile { wait: false },
        }
    }
}

/// What a repave would change.
#[derive(Debug, Clone, PartialEq)]
pub struct RepavePreview {
    /// The volumes that it would replace.
    pub volumes: Vec<RecordedVolume>,
    /// The fields that differ from a manifest that the VM is repaved from.
    pub fields: Vec<FieldDiff>,
}

/// The change that a repave made to a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepaveChange {
    /// It has the new boot disk, and the old one is deleted.
    Repaved,
    /// It has the new boot disk, and the old one is kept.
    RepavedOnTrial,
    /// The old boot disk is deleted now.
    Accepted,
    /// It has the old boot disk again.
    RolledBack,
    /// There is no old boot disk.
    NothingKept,
}

/// A VM, and the change that a repave made to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepaveReport {
    /// The VM's name; it may have been given by its UUID.
    pub vm: String,
    /// What was done.
    pub change: RepaveChange,
    /// The domain's UUID.
    pub uuid: Uuid,
    /// The addresses of the VM, if it was waited for.
    pub addresses: Vec<String>,
    /// How to end the repave, if the previous boot disk is kept.
    pub advice: Option<Advice>,
}

impl RepaveReport {
    fn new(domain: &Domain, change: RepaveChange, addresses: Vec<String>) -> Self {
        let advice = (change == RepaveChange::RepavedOnTrial).then(|| decide_advice(domain));
        Self { vm: domain.name.clone(), change, uuid: domain.uuid, addresses, advice }
    }
}
