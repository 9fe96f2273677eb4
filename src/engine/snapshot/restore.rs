//! Restores a snapshot: new overlays on the files of that time.

use super::overlays::{OverlayBase, plan_overlays};
use super::restore_plan::{DiskToRestore, RestorePlan, plan_with};
use super::settle::{finish_interrupted, settle_snapshots};
use super::view::SnapshotScene;
use crate::disk::{insert_volume, update_locked_record};
use crate::storage::volumes::{check_path, volume_xml};
use crate::vm::handle::refused_unchanged;
use crate::vm::lookup::{or_removed_meanwhile, removed_meanwhile};
use crate::vm::power::{self, StopOptions};
use crate::{Context, Step, Task, lock};
use foundry_core::error::{Advice, Code, Error, Outcome, Verb};
use foundry_core::record::RecordedVolume;
use foundry_core::units::Bytes;
use foundry_host::libvirt_xml::edit::{renew_generation_id, set_disk_file};
use foundry_host::libvirt_xml::set_snapshot_overlays;
use foundry_host::{DomainState, View};

/// A snapshot that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The name of the VM.
    pub vm: String,
    /// The name of the snapshot.
    pub snapshot: String,
    /// Whether the VM was started again.
    pub started: bool,
}

/// Executes a plan. A VM that runs is stopped first and started afterwards.
///
/// # Errors
/// [`Code::ShutdownIgnored`] if it does not stop; otherwise the failure of a step. The same command again finishes the
/// work.
pub fn restore_snapshot(context: &Context, plan: &RestorePlan, stop: StopOptions) -> Result<Restored, Error> {
    let (domain, vm) = (&plan.domain, &plan.vm);
    context.report_begun(Task::RestoreSnapshot { vm: vm.clone(), snapshot: plan.snapshot.clone() });
    context.cancel.check_unchanged()?;
    let again = Advice::from(plan.command()).text(" finishes it");
    let half = format!("snapshot '{}' of VM '{vm}' may be half restored", plan.snapshot);
    let _leaves = context.cancel.announce_leftovers([half.into(), again.clone().into()]);
    if plan.runs {
        let stopped = power::stop(context, &domain.command_name(), stop);
        stopped.map_err(|error| error.outcome("nothing was restored"))?;
    }
    restore_off(context, plan).map_err(|error| {
        let error = or_removed_meanwhile(context, domain, error);
        if plan.runs { error.outcome(format!("VM '{vm}' is off")) } else { error }
    })?;
    if plan.runs {
        power::start(context, &domain.command_name(), false).map_err(|error| {
            let start = Verb::Start { vm: domain.command_name() };
            error
                .outcome(format!("snapshot '{}' was restored, and VM '{vm}' is off", plan.snapshot))
                .outcome(Advice::from(start).text(" starts it"))
        })?;
    }
    Ok(Restored { vm: vm.clone(), snapshot: plan.snapshot.clone(), started: plan.runs })
}

/// Restores while the VM is off and its lock is held.
fn restore_off(context: &Context, consented: &RestorePlan) -> Result<(), Error> {
    let domain = &consented.domain;
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(Error::unchanged)?;
    let (scene, _) = finish_interrupted(context, domain)?;
    let plan = plan_with(context, &scene, &consented.snapshot)?;
    if !consented.loses_as_much_as(&plan) {
        return Err(refused_unchanged(
            Code::ChangedMeanwhile,
            format!("the snapshots of VM '{}' have changed meanwhile", domain.name),
        )
        .hint(Advice::from(plan.command()).text(" again asks anew")));
    }
    if plan.runs {
        return Err(refused_unchanged(
            Code::ChangedMeanwhile,
            format!("VM '{}' was started again meanwhile", domain.name),
        ));
    }
    context.cancel.check_unchanged()?;
    context.report_started(Step::RestoreDisks);
    let bases: Vec<OverlayBase<'_>> =
        plan.disks.iter().map(|of| OverlayBase { disk: &of.disk, below: &of.frozen }).collect();
    let overlays = plan_overlays(context, &scene, &bases, &plan.snapshot)?;
    put_on_overlays(context, &plan, &overlays)
        .map_err(|error| undo_or_advise(context, &plan, &overlays, error))?;
    // The disks are set back. From here on the rest is done even if the user interrupts.
    let unfinished = |error: Error| {
        error
            .outcome(format!("the disks of VM '{}' are set back already", domain.name))
            .outcome(Advice::from(plan.command()).text(" finishes the rest"))
    };
    describe_anew(context, &plan, &overlays).map_err(unfinished)?;
    settle_snapshots(context, domain).map_err(unfinished)?;
    context.report_finished(Step::RestoreDisks);
    Ok(())
}

/// Notes and creates the overlays, and puts the disks on them.
fn put_on_overlays(context: &Context, plan: &RestorePlan, overlays: &[RecordedVolume]) -> Result<(), Error> {
    let domain = &plan.domain;
    update_locked_record(context, domain, |record| {
        for overlay in overlays {
            if !record.volumes.iter().any(|v| v.pool == overlay.pool && v.name == overlay.name) {
                insert_volume(record, overlay.clone());
            }
        }
    })?;
    for (overlay, DiskToRestore { format, frozen, .. }) in overlays.iter().zip(&plan.disks) {
        context.cancel.check()?;
        context.report_started(Step::CreateVolume(overlay.reference()));
        let backing = Some((frozen.path.clone(), format.clone()));
        let made = context.host.create_volume(&overlay.pool, &volume_xml(overlay, Bytes(0), backing)?)?;
        check_path(overlay, &made)?;
    }
    context.cancel.check()?;
    let gone = || removed_meanwhile(&domain.name);
    let mut xml = context.host.full_definition(domain.uuid)?.ok_or_else(gone)?;
    for (overlay, of) in overlays.iter().zip(&plan.disks) {
        xml = set_disk_file(&xml, &of.disk.target, &overlay.path, &overlay.format)?;
    }
    let state = context.host.state(domain.uuid)?.ok_or_else(gone)?.state;
    if state != DomainState::ShutOff {
        let message = format!("VM '{}' was started again meanwhile", domain.name);
        return Err(Error::new(Code::ChangedMeanwhile, message));
    }
    context.host.define_domain(&renew_generation_id(&xml)?)?;
    Ok(())
}

/// After a failure: if the definition is as before, the overlays are deleted again.
fn undo_or_advise(context: &Context, plan: &RestorePlan, overlays: &[RecordedVolume], error: Error) -> Error {
    let domain = &plan.domain;
    let again = Advice::from(plan.command()).text(" finishes it");
    let next = context.host.describe(domain.uuid, View::Config);
    let is_on_them = next.map(|next| {
        let is_on = |overlay: &RecordedVolume| {
            next.as_ref().is_some_and(|n| n.disks.iter().any(|d| d.source.path() == Some(&overlay.path)))
        };
        overlays.iter().any(is_on)
    });
    match is_on_them {
        Ok(false) => match settle_snapshots(context, domain) {
            Ok(_) => error.outcome(Outcome::RolledBack),
            Err(_) => error.outcome(again),
        },
        _ => {
            error.outcome(format!("the disks of VM '{}' may be set back already", domain.name)).outcome(again)
        }
    }
}

/// Plans the rest of a restore that was interrupted after the disks were set back; changes nothing.
///
/// # Errors
/// If the VM is on, or its disks are not directly on the files of that time.
pub(super) fn plan_rest(
    context: &Context,
    scene: &SnapshotScene,
    snapshot: &str,
) -> Result<RestorePlan, Error> {
    let plan = plan_with(context, scene, snapshot)?;
    let is_set_back = |of: &DiskToRestore| {
        of.disk.volume.overlay_of.as_ref().is_some_and(|mark| mark.snapshot == snapshot)
            && of.disk.chain.get(1) == Some(&of.frozen.path)
    };
    let error = |message: String| {
        refused_unchanged(Code::SnapshotInTheWay, message)
            .hint(Advice::from(plan.command()).text(" restores it again"))
    };
    if plan.runs {
        return Err(error(format!("VM '{}' was started before its restore was finished", plan.vm)));
    }
    match plan.disks.iter().find(|of| !is_set_back(of)) {
        Some(of) => {
            Err(error(format!("disk '{}' of VM '{}' was changed since its restore", of.disk.target, plan.vm)))
        }
        None => Ok(plan),
    }
}

/// Finishes a restore of which only the descriptions are missing. The caller holds the VM's lock.
///
/// # Errors
/// A failed call to the host.
pub(super) fn finish_rest(context: &Context, plan: &RestorePlan) -> Result<(), Error> {
    let overlays: Vec<RecordedVolume> = plan.disks.iter().map(|of| of.disk.volume.clone()).collect();
    describe_anew(context, plan, &overlays)?;
    settle_snapshots(context, &plan.domain).map(drop)
}

/// Describes the snapshot to libvirt with its new overlays, and forgets the later ones, whose files are deleted next.
fn describe_anew(context: &Context, plan: &RestorePlan, overlays: &[RecordedVolume]) -> Result<(), Error> {
    let uuid = plan.domain.uuid;
    for later in plan.later.iter().rev() {
        context.host.forget_snapshot(uuid, later)?;
    }
    let Some(xml) = context.host.full_snapshot(uuid, &plan.snapshot)? else {
        let message = format!("snapshot '{}' of VM '{}' was deleted meanwhile", plan.snapshot, plan.vm);
        return Err(Error::new(Code::ChangedMeanwhile, message));
    };
    let places: Vec<(&str, &str)> =
        plan.disks.iter().zip(overlays).map(|(of, v)| (of.disk.target.as_str(), v.path.as_str())).collect();
    Ok(context.host.redefine_snapshot(uuid, &set_snapshot_overlays(&xml, &places)?)?)
}
