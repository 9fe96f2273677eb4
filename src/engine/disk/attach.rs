//! Attaches a disk: note its volume, create it if it is new, plug it in, add it to the manifest.

use super::attach_existing::plan_existing_disk;
use super::attach_plan::{AttachPlan, AttachRequest, DiskContent, plan_new_disk, target_taken_meanwhile};
use super::attach_rollback::{AttachSteps, attach_command, removal_advice, roll_back, roll_back_unrecorded};
use super::record_update::{add_disk, insert_volume, remove_volume, update_record};
use super::resize::is_own_snapshot;
use crate::Context;
use crate::diagnose::FailureContext;
use crate::preflight::storage::PoolNeed;
use crate::storage::volumes::{check_path, volume_xml};
use crate::vm::create::ensure_pool;
use crate::vm::handle::VmHandle;
use crate::vm::lookup::or_removed_meanwhile;
use crate::{Step, Task, lock};
use foundry_core::domain_xml;
use foundry_core::error::{Advice, Error};
use foundry_core::plan::DataDiskPlan;
use foundry_core::record::VolumeRef;
use foundry_core::record::{Liveness, Record, RecordedVolume};
use foundry_host::diagnosis::RequestedVm;
use foundry_host::libvirt_xml::has_free_port;
use foundry_host::local::check_liveness;
use foundry_host::{HostError, View};

/// A disk that was attached.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// The name of the VM that has the disk.
    pub vm: String,
    /// The disk, as the manifest describes it.
    pub disk: DataDiskPlan,
    /// The volume that holds it.
    pub volume: RecordedVolume,
    /// Whether a running guest has it already.
    pub live: bool,
}

/// Attaches a disk to a foundry VM, on a new volume or on one that exists.
///
/// # Errors
/// A problem that the checks found, before any change; or the failure of a step, after a rollback. If the rollback
/// failed too, the error lists what is left behind.
pub fn attach(context: &Context, request: &AttachRequest<'_>) -> Result<Attached, Error> {
    let plan = reserve_target(context, request)?;
    let volume = plan.volume.reference().to_string();
    let left = match plan.volume.adopted {
        true => format!("VM '{}' may have {volume} as a disk", plan.handle.name()),
        false => format!("may be left behind: {volume}"),
    };
    let _leaves = context.cancel.announce_leftovers([left.into(), removal_advice(&plan).into()]);
    let mut made = AttachSteps::default();
    execute_attach(context, &plan, &mut made).map_err(|error| roll_back(context, &plan, &made, error))?;
    Ok(Attached {
        vm: plan.handle.name().to_owned(),
        live: plan.live,
        volume: RecordedVolume { attaching: None, ..plan.volume.clone() },
        disk: plan.disk,
    })
}

/// Plans the attach and notes it in the record. If another process takes the same target at the same time, the next
/// free one is used, unless the user named the target.
fn reserve_target(context: &Context, request: &AttachRequest<'_>) -> Result<AttachPlan, Error> {
    // Until the record names the volume, the lock keeps other foundry processes from giving it to another VM.
    let _lock = match &request.content {
        DiskContent::Existing(volume) => Some(lock::lock_volume(context, volume)?),
        DiskContent::New { .. } => None,
    };
    let mut plan = plan_attach(context, request)?;
    warn_of_snapshots(context, &plan)?;
    let name = plan.handle.name();
    context.report_begun(Task::AttachDisk { vm: name.to_string(), size: plan.disk.size });
    while !record_attempt(context, &plan)? {
        if request.device.is_some() {
            return Err(target_taken_meanwhile(plan.handle.name(), &plan.disk.target));
        }
        plan = plan_attach(context, request)?;
    }
    Ok(plan)
}

/// Decides everything; changes nothing.
fn plan_attach(context: &Context, request: &AttachRequest<'_>) -> Result<AttachPlan, Error> {
    let handle = VmHandle::find(context, request.vm)?;
    match &request.content {
        DiskContent::New { size, format } => plan_new_disk(context, handle, request, *size, *format),
        DiskContent::Existing(volume) => plan_existing_disk(context, handle, request, volume),
    }
}

/// Warns if the VM has snapshots of another tool: reverting to one removes the disk, and then nothing uses its volume.
/// Foundry's own restore leaves other disks alone.
fn warn_of_snapshots(context: &Context, plan: &AttachPlan) -> Result<(), Error> {
    let domain = &plan.handle.domain;
    let listed = context.host.snapshots(domain.uuid);
    let mut snapshots = listed.map_err(|e| or_removed_meanwhile(context, domain, e.into()))?;
    snapshots.retain(|name| !is_own_snapshot(&plan.handle.record, name));
    if !snapshots.is_empty() {
        context.warn(format!(
            "VM '{}' has snapshots: {}; reverting to one removes the disk and leaves its volume '{}'",
            plan.handle.name(),
            snapshots.join(", "),
            plan.volume.name
        ));
    }
    Ok(())
}

/// Notes in the record what is about to be created. If several processes want the same target, one note remains;
/// returns whether it is this process's.
fn record_attempt(context: &Context, plan: &AttachPlan) -> Result<bool, Error> {
    context.cancel.check_unchanged()?;
    if plan.pool.need != PoolNeed::Nothing {
        ensure_pool(context, &plan.pool)?;
    }
    let noted = update_record(context, &plan.handle.domain, |record| note_volume(record, &plan.volume))
        .map_err(|error| roll_back_unrecorded(context, plan, error))?;
    Ok(noted.volumes.contains(&plan.volume))
}

/// Executes the steps that change the host, and notes each in `made` for the rollback.
fn execute_attach(context: &Context, plan: &AttachPlan, made: &mut AttachSteps) -> Result<(), Error> {
    context.cancel.check()?;
    if !plan.volume_is_there {
        make_volume(context, plan, made)?;
    }
    if !plan.volume.adopted {
        context.report_finished(Step::CreateVolume(plan.volume.reference()));
    }
    context.cancel.check()?;
    if let Some(reach) = plan.affect {
        let xml = domain_xml::render_data_disk(&plan.disk, &plan.source)?;
        // Before the call: it may fail after it attached the disk.
        made.plugged = true;
        let domain = &plan.handle.domain;
        let asked =
            RequestedVm { vm: domain.name.clone(), uuid: domain.uuid.to_string(), ..RequestedVm::default() };
        let failure = FailureContext::new(context, asked);
        let plugged = context.host.attach_disk(domain.uuid, &xml, reach);
        plugged.map_err(|refused| attach_refused(context, failure, plan, refused))?;
    }
    context.report_finished(Step::AttachDisk { live: plan.live });
    context.cancel.check()?;
    update_record(context, &plan.handle.domain, |record| record_attached(record, plan)).map(drop)
}

/// Creates the volume. If another process created it first, it is not noted as ours, so a rollback does not delete it.
fn make_volume(context: &Context, plan: &AttachPlan, made: &mut AttachSteps) -> Result<(), Error> {
    let RecordedVolume { pool, name, .. } = &plan.volume;
    context.report_started(Step::CreateVolume(plan.volume.reference()));
    match context.host.create_volume(pool, &volume_xml(&plan.volume, plan.allocation, None)?) {
        Ok(volume) => {
            made.volume = true;
            check_path(&plan.volume, &volume)
        }
        Err(failed) => {
            // The call may have created it anyway, or another process created it since the plan.
            let there = context.host.volume(&VolumeRef::new(pool, name));
            made.doubtful = failed.outcome_unknown() || !matches!(there, Ok(None));
            Err(failed.into())
        }
    }
}

/// Returns whether the running guest has no free PCI port. It reads the domain's XML, because libvirtd's messages may
/// be in any language.
fn has_no_port(context: &Context, plan: &AttachPlan) -> bool {
    let xml = context.host.domain_xml(plan.handle.domain.uuid, View::Current).ok().flatten();
    xml.is_some_and(|xml| has_free_port(&xml) == Some(false))
}

/// Explains a refused attach. If no PCI slot is free, it advises attaching at the next start, because libvirt cannot
/// add a slot to a running guest.
fn attach_refused(context: &Context, failure: FailureContext, plan: &AttachPlan, error: HostError) -> Error {
    let no_slot = matches!(&error, HostError::Refused { libvirt, .. } if libvirt.contains("PCI slots"))
        || (matches!(&error, HostError::Refused { .. }) && has_no_port(context, plan));
    let error = failure.explain_error(context, error);
    if !no_slot {
        return error;
    }
    let attach = attach_command(plan, None, true);
    error.hint(
        Advice::from("the guest has no free slot for a disk; ")
            .run(attach)
            .text(" attaches it when it starts next"),
    )
}

/// Adds the volume to the record; it replaces the note of an attempt whose process ended.
fn note_volume(record: &mut Record, volume: &RecordedVolume) {
    match record.volumes.iter_mut().find(|v| v.pool == volume.pool && v.name == volume.name) {
        Some(noted) => {
            if noted.attaching.as_ref().is_some_and(|maker| check_liveness(maker) == Liveness::Dead) {
                noted.clone_from(volume);
            }
        }
        None => insert_volume(record, volume.clone()),
    }
}

/// Completes the note: from here on, it is an ordinary disk of the VM.
fn record_attached(record: &mut Record, plan: &AttachPlan) {
    remove_volume(record, &plan.volume.pool, &plan.volume.name);
    insert_volume(record, RecordedVolume { attaching: None, ..plan.volume.clone() });
    add_disk(&mut record.manifest.spec, &plan.disk);
}
