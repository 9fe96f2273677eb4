//! What a destroy deletes and keeps, and the options that decide it.

use std::time::Duration;

use crate::storage::file_locks;
use crate::{Context, advice};
use foundry_core::error::{Advice, Error};
use foundry_core::record::{Record, RecordedVolume, VolumeRef, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::{Domain, KeptOnUndefine};

/// The options of a destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestroyOptions {
    /// Force the guest off at once, and also destroy domains without a foundry record.
    pub force: bool,
    /// Keep the boot and data disks.
    pub keep_disks: bool,
    /// Time limit for the guest's shutdown.
    pub timeout: Duration,
}

/// Something of a destroyed VM that is left behind: nothing uses it, but foundry does not delete it.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftBehind {
    /// The volume, or the path of a file.
    pub what: String,
    /// Why it is not deleted.
    pub why: String,
    /// How to delete it.
    pub advice: Option<Advice>,
}

/// What would be deleted and what would be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct DestroyPlan {
    /// The domain as it was when the plan was made.
    pub domain: Domain,
    /// The volumes to delete.
    pub volumes: Vec<VolumeToDelete>,
    /// The disks that the user wants to keep.
    pub kept: Vec<VolumeToDelete>,
    /// What is kept because it does not, or not certainly, belong to the VM: a volume or path, and the reason.
    pub kept_back: Vec<(String, String)>,
    /// What is left behind unused; reported at the end.
    pub left: Vec<LeftBehind>,
    /// What its record lists but was not found, a sentence each.
    pub missing: Vec<String>,
    pub(crate) record: Option<Record>,
    /// The volumes that only the older of two records names.
    pub(crate) only_older: Vec<RecordedVolume>,
    /// Whether the running definition has another record than the persistent one.
    pub(crate) has_two_records: bool,
    /// The path of its EFI variables.
    pub(crate) nvram: Option<String>,
    /// What libvirt must not delete with the definition.
    pub(crate) kept_on_undefine: KeptOnUndefine,
    pub(crate) console_log: Option<String>,
    pub(crate) options: DestroyOptions,
}

impl DestroyPlan {
    /// Whether the VM belongs to a pool of runners.
    pub fn is_of_pool(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.runner.is_some())
    }

    /// The volumes to delete, as `POOL/VOLUME`.
    pub fn named_volumes(&self) -> Vec<String> {
        self.volumes.iter().map(|v| format!("{}/{}", v.pool, v.name)).collect()
    }
}

/// A volume that is going to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeToDelete {
    /// The name of its pool.
    pub pool: String,
    /// Its name in the pool.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// The size that the guest sees.
    pub capacity: Bytes,
    /// Boot disk, data disk or seed; `None` for a snapshot's overlay.
    pub role: Option<VolumeRole>,
}

impl VolumeToDelete {
    /// Its pool and name.
    pub fn reference(&self) -> VolumeRef {
        VolumeRef::new(self.pool.clone(), self.name.clone())
    }
}

/// Refuses if a program outside this libvirt has a disk open: a guest of another host or libvirt may run from it.
pub(super) fn refuse_locked(context: &Context, plan: &DestroyPlan) -> Result<(), Error> {
    let name = &plan.domain.name;
    let held = plan.volumes.iter().find(|volume| file_locks::is_locked(context, &volume.path));
    let Some(volume) = held else { return Ok(()) };
    Err(file_locks::open_elsewhere(name, &volume.reference())
        .hint(Advice::from("if nobody needs it: ").run(advice::destroy_command(&plan.domain, true))))
}
