//! Deletes a volume of a VM.

use super::record_update::read_record;
use crate::storage::usage::Usage;
use crate::vm::destroy::VolumeToDelete;
use crate::{Context, lock};
use foundry_core::error::{Code, Error};
use foundry_core::record::RecordedVolume;
use foundry_host::Domain;

/// Deletes a volume that the VM's record still names (`is_same`) and that no disk is on any more, neither of this VM
/// nor of another: else it stays, and that is told.
///
/// While the guest was waited for, somebody else may have finished this work and given the name to a new disk, or
/// destroyed the VM and made it anew, with volumes of the same names. Both have to wait for the turn that this takes.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] where somebody else was faster, of which `what` says what that did; else the host's.
pub(crate) fn delete_unplugged(
    context: &Context,
    domain: &Domain,
    volume: &VolumeToDelete,
    is_same: impl Fn(&RecordedVolume) -> bool,
    what: &str,
) -> Result<(), Error> {
    context.cancel.check()?;
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name)?;
    if !read_record(context, domain)?.volumes.iter().any(is_same) {
        return Err(Error::new(Code::ChangedMeanwhile, format!("{what} by somebody else")));
    }
    let users = Usage::collect(context, None)?.users_of(&volume.reference(), &volume.path);
    if let Some(reason) = users.reason_to_keep() {
        context.warn(format!("left: {}: {reason}", volume.reference()));
        return Ok(());
    }
    context.report_working(format!("Deleting volume {}", volume.name));
    context.host.delete_volume(&volume.reference())?;
    context.report_done(format!("Volume '{}' deleted", volume.name));
    Ok(())
}
