//! Deletes the volume of a disk that was unplugged.

use super::record_update::read_record;
use crate::Step;
use crate::storage::usage::Usage;
use crate::vm::destroy::VolumeToDelete;
use crate::{Context, lock};
use foundry_core::error::{Code, Error};
use foundry_core::record::RecordedVolume;
use foundry_host::Domain;

/// Deletes a volume if the VM's record still names it (`is_same`) and no disk of this or another VM is on it. If one
/// is, the volume is kept with a warning.
///
/// While this process waited for the guest, another one may have finished this work and given the name to a new disk,
/// or destroyed and recreated the VM with volumes of the same names. The VM's lock, which this takes, excludes both
/// from here on.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if another process was faster; `what` describes what it did. Otherwise a failed
/// call to the host.
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
        return Err(Error::new(Code::ChangedMeanwhile, format!("{what} by another process")));
    }
    let users = Usage::collect(context, None)?.users_of(&volume.reference(), &volume.path);
    if let Some(reason) = users.reason_to_keep() {
        context.warn(format!("left: {}: {reason}", volume.reference()));
        return Ok(());
    }
    context.report_started(Step::DeleteVolume(volume.reference()));
    context.host.delete_volume(&volume.reference())?;
    context.report_finished(Step::DeleteVolume(volume.reference()));
    Ok(())
}
