//! Finds the boot disk of a VM that is to be replaced.

use super::resize::{check_block_job, check_snapshots};
use crate::Context;
use crate::vm::handle::{VmHandle, refused_unchanged};
use foundry_core::error::{Code, Error};
use foundry_core::record::{RecordedVolume, VolumeRole};

/// The boot disk of a VM.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnBootDisk {
    /// Its volume.
    pub(crate) volume: RecordedVolume,
    /// Its device name in the persistent definition.
    pub(crate) target: String,
    /// Whether the persistent definition names the file below it, as the record does, and no other.
    pub(crate) names_backing: bool,
}

/// Finds the boot disk of a VM. `why` says why a snapshot stands in the way.
///
/// # Errors
/// If the VM has snapshots, a job works on the disk, or the VM is not on its own volume.
pub(crate) fn find_boot_disk(context: &Context, handle: &VmHandle, why: &str) -> Result<OwnBootDisk, Error> {
    let vm = handle.name();
    check_snapshots(context, handle, why)?;
    let Some(boot) = handle.record.volumes.iter().find(|volume| volume.role == VolumeRole::Boot) else {
        let message = format!("the record of VM '{vm}' names no boot disk");
        return Err(refused_unchanged(Code::DiskMissing, message));
    };
    let found = handle.find_disk(&boot.name)?;
    check_block_job(context, handle, &found)?;
    let volume = found.own_volume(context, handle)?.clone();
    let Some(next) = &found.next else {
        let message = format!("VM '{vm}' has its boot disk only until it stops");
        return Err(refused_unchanged(Code::DiskNotOwn, message));
    };
    handle.check_not_locked(context, &volume)?;
    let names_backing = volume
        .backing
        .as_ref()
        .is_some_and(|backing| next.backing_chain.len() == 1 && next.backing_chain.first() == Some(backing));
    Ok(OwnBootDisk { target: next.target.clone(), volume, names_backing })
}
