//! Attaches a new disk: note its volume, create it, plug it in, add it to the manifest.

use super::attach_plan::{AttachPlan, AttachRequest, plan_attach, target_taken_meanwhile};
use super::attach_rollback::{AttachSteps, removal_advice, roll_back, roll_back_unrecorded};
use super::record_update::{add_disk, insert_volume, remove_volume, update_record};
use crate::diagnose::FailureContext;
use crate::preflight::storage::PoolNeed;
use crate::storage::volumes::{check_path, volume_xml};
use crate::vm::create::ensure_pool;
use crate::vm::lookup::or_removed_meanwhile;
use crate::{Context, Event};
use foundry_core::domain_xml;
use foundry_core::error::{Advice, Error, Verb};
use foundry_core::plan::DataDiskPlan;
use foundry_core::record::VolumeRef;
use foundry_core::record::{Liveness, Record, RecordedVolume};
use foundry_core::units::GIB;
use foundry_host::diagnosis::RequestedVm;
use foundry_host::libvirt_xml::has_free_port;
use foundry_host::local::check_liveness;
use foundry_host::{HostError, View};

/// A disk that was attached.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// The VM.
    pub vm: String,
    /// The disk.
    pub disk: DataDiskPlan,
    /// Its volume.
    pub volume: RecordedVolume,
    /// Whether a running guest has it already.
    pub live: bool,
}

/// Makes a volume and attaches it to a foundry VM.
///
/// # Errors
/// What stands in the way, before anything is made; else what failed, after everything that was made is
/// removed again, and what is left where that failed too.
pub fn attach(context: &Context, request: &AttachRequest<'_>) -> Result<Attached, Error> {
    let plan = reserve_target(context, request)?;
    let volume = plan.volume.reference().to_string();
    let _leaves = context
        .cancel
        .announce_leftovers([format!("may be left behind: {volume}").into(), removal_advice(&plan).into()]);
    let mut made = AttachSteps::default();
    execute_attach(context, &plan, &mut made).map_err(|error| roll_back(context, &plan, &made, error))?;
    Ok(Attached {
        vm: plan.handle.name().to_owned(),
        live: plan.live,
        volume: RecordedVolume { attaching: None, ..plan.volume.clone() },
        disk: plan.disk,
    })
}

/// Decides what is to be made and writes that down. Where another process took the same target at the same
/// moment, the next one is taken, unless the user named it.
fn reserve_target(context: &Context, request: &AttachRequest<'_>) -> Result<AttachPlan, Error> {
    let mut plan = plan_attach(context, request)?;
    warn_of_snapshots(context, &plan)?;
    let name = plan.handle.name();
    context
        .progress
        .on_event(Event::Begins(format!("Attaching a disk of {} to VM '{name}'...", request.size)));
    while !record_attempt(context, &plan)? {
        if request.device.is_some() {
            return Err(target_taken_meanwhile(plan.handle.name(), &plan.disk.target));
        }
        plan = plan_attach(context, request)?;
    }
    Ok(plan)
}

/// A snapshot brings back the VM without the disk, whose volume then is nobody's.
fn warn_of_snapshots(context: &Context, plan: &AttachPlan) -> Result<(), Error> {
    let domain = &plan.handle.domain;
    let listed = context.host.snapshots(domain.uuid);
    let snapshots = listed.map_err(|e| or_removed_meanwhile(context, domain, e.into()))?;
    if !snapshots.is_empty() {
        context.warn(format!(
            "VM '{}' has snapshots: {}; to go back to one takes the disk away and leaves its volume '{}'",
            plan.handle.name(),
            snapshots.join(", "),
            plan.volume.name
        ));
    }
    Ok(())
}

/// Writes down what is about to be made. Of several processes that want the same target one stands there in
/// the end; whether it is this one.
fn record_attempt(context: &Context, plan: &AttachPlan) -> Result<bool, Error> {
    context.cancel.check_unchanged()?;
    if plan.pool.need != PoolNeed::Nothing {
        ensure_pool(context, &plan.pool)?;
    }
    let noted = update_record(context, &plan.handle.domain, |record| note_volume(record, &plan.volume))
        .map_err(|error| roll_back_unrecorded(context, plan, error))?;
    Ok(noted.volumes.contains(&plan.volume))
}

/// The steps that change the host, in their order.
fn execute_attach(context: &Context, plan: &AttachPlan, made: &mut AttachSteps) -> Result<(), Error> {
    context.cancel.check()?;
    if !plan.volume_is_there {
        make_volume(context, plan, made)?;
    }
    context.report_done(format!("Volume '{}' made", plan.volume.name));
    context.cancel.check()?;
    if let Some(reach) = plan.affect {
        let xml = domain_xml::render_data_disk(&plan.disk, &plan.source)?;
        made.plugged = true;
        let domain = &plan.handle.domain;
        let asked =
            RequestedVm { vm: domain.name.clone(), uuid: domain.uuid.to_string(), ..RequestedVm::default() };
        let failure = FailureContext::new(context, asked);
        let plugged = context.host.attach_disk(domain.uuid, &xml, reach);
        plugged.map_err(|refused| attach_refused(context, failure, plan, refused))?;
    }
    context.report_done(if plan.live { "Disk attached" } else { "Disk attached from the next start on" });
    context.cancel.check()?;
    update_record(context, &plan.handle.domain, |record| record_attached(record, plan)).map(drop)
}

/// A volume that is somebody else's is not one of ours, whoever is faster.
fn make_volume(context: &Context, plan: &AttachPlan, made: &mut AttachSteps) -> Result<(), Error> {
    let RecordedVolume { pool, name, .. } = &plan.volume;
    context.report_working(format!("Making volume {name}"));
    match context.host.create_volume(pool, &volume_xml(&plan.volume, plan.allocation, None)?) {
        Ok(volume) => {
            made.volume = true;
            check_path(&plan.volume, &volume)
        }
        Err(failed) => {
            // It may have been made anyway, or be another's that was made since the look.
            let there = context.host.volume(&VolumeRef::new(pool, name));
            made.doubtful = failed.outcome_unknown() || !matches!(there, Ok(None));
            Err(failed.into())
        }
    }
}

/// As the running guest's description says: libvirtd's words may be of any language.
fn has_no_port(context: &Context, plan: &AttachPlan) -> bool {
    let xml = context.host.domain_xml(plan.handle.domain.uuid, View::Current).ok().flatten();
    xml.is_some_and(|xml| has_free_port(&xml) == Some(false))
}

/// libvirt cannot add a slot to a running guest.
fn attach_refused(context: &Context, failure: FailureContext, plan: &AttachPlan, error: HostError) -> Error {
    let no_slot = matches!(&error, HostError::Refused { libvirt, .. } if libvirt.contains("PCI slots"))
        || (matches!(&error, HostError::Refused { .. }) && has_no_port(context, plan));
    let error = failure.explain_error(context, error);
    if !no_slot {
        return error;
    }
    let attach = Verb::DiskAttach {
        vm: plan.handle.domain.command_name(),
        size_gib: plan.disk.size.0 / GIB,
        target: None,
        raw: false,
        serial: None,
        at_next_start: true,
    };
    error.hint(
        Advice::from("the guest has no free slot for a disk; ")
            .run(attach)
            .text(" attaches it when it starts next"),
    )
}

/// Puts the volume into the record, in place of an attempt whose process ended.
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

/// From here on it is a disk of the VM's like any other.
fn record_attached(record: &mut Record, plan: &AttachPlan) {
    remove_volume(record, &plan.volume.pool, &plan.volume.name);
    insert_volume(record, RecordedVolume { attaching: None, ..plan.volume.clone() });
    add_disk(&mut record.manifest.spec, &plan.disk);
}
