//! From what was written to what is meant.

use super::{Problem, Problems, VmPlan};
use crate::manifest::VirtualMachine;
use crate::names::PoolName;

/// What stands in for what a manifest leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Pool of the VMs' disks.
    pub vm_pool: PoolName,
    /// Pool of the images.
    pub image_pool: PoolName,
    /// A pool that beats the manifest's (`--pool`).
    pub pool_override: Option<PoolName>,
}

impl VmPlan {
    /// Judges a manifest.
    ///
    /// # Errors
    /// All problems of the manifest at once.
    pub fn from_manifest(manifest: &VirtualMachine, defaults: &Defaults) -> Result<Self, Problems> {
        let _ = (manifest, defaults);
        Err(Problems {
            subject: "?".into(),
            list: vec![Problem { path: "spec".into(), value: None, message: "not judged yet".into() }],
        })
    }
}
