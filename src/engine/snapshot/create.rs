//! Makes a snapshot.

use super::freeze::{self, FREEZE_WITHIN};
use super::overlays::{OverlayBase, plan_overlays};
use super::settle::{finish_interrupted, settle_snapshots};
use super::view::SnapshotScene;
use crate::disk::{insert_volume, update_locked_record};
use crate::vm::handle::{find_own_vm, refused_unchanged};
use crate::vm::lookup::or_removed_meanwhile;
use crate::vm::power::not_executing_error;
use crate::vm::repave::refuse_undecided;
use crate::{Context, Step, Task, lock};
use foundry_core::error::{Advice, Code, Error, Outcome, Verb};
use foundry_core::names::SnapshotName;
use foundry_core::record::RecordedVolume;
use foundry_core::snapshot_xml::{SnapshotDisk, SnapshotSpec, render_snapshot};
use foundry_host::libvirt_xml::SnapshotDescription;
use foundry_host::{Domain, DomainState, HostError};

/// The snapshot that the user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest<'a> {
    /// The name of the VM.
    pub vm: &'a str,
    /// The name of the snapshot; `None` for the present time.
    pub name: Option<SnapshotName>,
    /// What the user says about it.
    pub description: Option<String>,
    /// Whether the agent of a running guest freezes its file systems meanwhile.
    pub freeze: bool,
}

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMade {
    /// The name of the VM.
    pub vm: String,
    /// The name of the snapshot.
    pub snapshot: String,
    /// Whether the file systems of the guest were frozen meanwhile. A VM that is off needs no freeze.
    pub frozen: bool,
}

/// What was decided before the first change.
struct CreatePlan {
    scene: SnapshotScene,
    name: String,
    freezes: bool,
    overlays: Vec<RecordedVolume>,
    xml: String,
}

/// Makes a snapshot of all disks that foundry made. A running guest goes on.
///
/// # Errors
/// What stands in the way, before any change; or the failure of a step, with what became of it.
pub fn create_snapshot(context: &Context, request: &SnapshotRequest<'_>) -> Result<SnapshotMade, Error> {
    let (domain, _) = find_own_vm(context, request.vm)?;
    context.cancel.check_unchanged()?;
    let name =
        request.name.as_ref().map_or_else(|| name_of_time(&context.clock.timestamp()), ToString::to_string);
    context.report_begun(Task::CreateSnapshot { vm: domain.name.clone(), snapshot: name.clone() });
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name).map_err(Error::unchanged)?;
    create_locked(context, &domain, request, name)
        .map_err(|error| or_removed_meanwhile(context, &domain, error))
}

/// The time, as the name of a snapshot: `2026-11-29-190155`, in UTC.
fn name_of_time(timestamp: &str) -> String {
    let seconds = timestamp.get(..19).unwrap_or(timestamp);
    seconds.to_lowercase().replace('t', "-").replace(':', "")
}

/// As [`create_snapshot`], for a caller that holds the VM's lock.
pub(super) fn create_locked(
    context: &Context,
    domain: &Domain,
    request: &SnapshotRequest<'_>,
    name: String,
) -> Result<SnapshotMade, Error> {
    let (scene, settled) = finish_interrupted(context, domain)?;
    let vm = domain.name.clone();
    if scene.snapshots.iter().any(|snapshot| snapshot.name == name) {
        // An interrupted command has made it, and now it is confirmed.
        if settled.confirmed.contains(&name) {
            return Ok(SnapshotMade { vm, snapshot: name, frozen: false });
        }
        return Err(refused_unchanged(Code::SnapshotTaken, format!("VM '{vm}' has a snapshot '{name}'"))
            .hint(Advice::from(scene.delete_command(&name)).text(" deletes it")));
    }
    let plan = plan_create(context, request, scene, name)?;
    execute_create(context, domain, &plan)?;
    Ok(SnapshotMade { vm, snapshot: plan.name, frozen: plan.freezes })
}

/// Checks everything that can be known before.
fn plan_create(
    context: &Context,
    request: &SnapshotRequest<'_>,
    scene: SnapshotScene,
    name: String,
) -> Result<CreatePlan, Error> {
    let domain = &scene.handle.domain;
    let is_off = domain.state == DomainState::ShutOff;
    if !is_off && !domain.state.is_executing() {
        return Err(not_executing_error(domain));
    }
    // A rollback would take the boot disk away from below its overlay.
    refuse_undecided(domain, &scene.handle.record)?;
    scene.refuse_internal()?;
    refuse_unstarted_disks(&scene)?;
    let (disks, others) = scene.own_disks(context)?;
    if disks.is_empty() {
        let message = format!("VM '{}' has no disk that foundry made", domain.name);
        return Err(refused_unchanged(Code::DiskMissing, message));
    }
    scene.check_chains(&disks)?;
    scene.check_idle(context, &disks)?;
    let bases: Vec<OverlayBase<'_>> =
        disks.iter().map(|disk| OverlayBase { disk, below: &disk.volume }).collect();
    let overlays = plan_overlays(context, &scene, &bases, &name)?;
    let freezes = request.freeze && !is_off;
    if freezes {
        let without = Verb::SnapshotCreate {
            vm: domain.command_name(),
            snapshot: request.name.as_ref().map(ToString::to_string),
            no_freeze: true,
        };
        freeze::check_freezable(context, domain, without)?;
    }
    if !others.is_empty() {
        context.warn(format!(
            "not in the snapshot, because foundry did not make it: disk {}",
            others.join(", ")
        ));
    }
    let overlay_of = |target: &str| {
        let index = disks.iter().position(|disk| disk.target == target)?;
        overlays.get(index).map(|overlay| overlay.path.clone())
    };
    let all = scene.present().disks.iter();
    let spec = SnapshotSpec {
        name: name.clone(),
        description: request.description.clone(),
        disks: all
            .map(|d| SnapshotDisk { overlay: overlay_of(&d.target), target: d.target.clone() })
            .collect(),
    };
    let xml = render_snapshot(&spec)?;
    Ok(CreatePlan { scene, name, freezes, overlays, xml })
}

/// Refuses a disk that a running guest gets at its next start: libvirt would leave it out.
fn refuse_unstarted_disks(scene: &SnapshotScene) -> Result<(), Error> {
    let handle = &scene.handle;
    let Some(live) = &handle.live else { return Ok(()) };
    let is_unstarted = |target: &String| live.disk(target).is_none();
    let Some(disk) = handle.next.disks.iter().map(|d| &d.target).find(|target| is_unstarted(target)) else {
        return Ok(());
    };
    let vm = handle.name();
    Err(refused_unchanged(Code::DiskHalfThere, format!("VM '{vm}' gets disk '{disk}' at its next start"))
        .because("a snapshot of the running VM would not have it")
        .hint(Advice::from(Verb::Restart { vm: handle.domain.command_name() }).text(" gives it the disk")))
}

fn execute_create(context: &Context, domain: &Domain, plan: &CreatePlan) -> Result<(), Error> {
    context.cancel.check_unchanged()?;
    let again = Advice::from(Verb::SnapshotCreate {
        vm: domain.command_name(),
        snapshot: Some(plan.name.clone()),
        no_freeze: !plan.freezes,
    })
    .text(" finishes it or makes it again");
    let half = format!("snapshot '{}' of VM '{}' may be half made", plan.name, domain.name);
    let mut left: Vec<Outcome> = vec![half.into(), again.into()];
    if plan.freezes {
        left.push(freeze::thaw_by_hand(domain).into());
    }
    let _leaves = context.cancel.announce_leftovers(left.clone());
    let unknown = |error: Error| left.iter().cloned().fold(error, Error::outcome);
    update_locked_record(context, domain, |record| {
        for overlay in &plan.overlays {
            if !record.volumes.iter().any(|v| v.pool == overlay.pool && v.name == overlay.name) {
                insert_volume(record, overlay.clone());
            }
        }
    })
    .map_err(|error| undo_snapshot(context, domain, unknown(error)))?;
    if let Err(interrupted) = context.cancel.check() {
        return Err(undo_snapshot(context, domain, interrupted));
    }
    context.report_started(Step::MakeSnapshot);
    let freeze_within = plan.freezes.then_some(FREEZE_WITHIN);
    let made = context.host.create_snapshot(domain.uuid, &plan.xml, freeze_within);
    // On every way out, also after a failure.
    let thawed = if plan.freezes { freeze::ensure_thawed(context, domain) } else { Ok(()) };
    if let Err(frozen) = thawed {
        // The overlays stay unconfirmed, so the next command looks again whether the file systems are frozen.
        return Err(unknown(match made {
            Err(lost) if lost.outcome_unknown() => lost.into(),
            _ => frozen,
        }));
    }
    if let Err(failed) = made {
        after_failure(context, domain, plan, failed, &unknown)?;
    }
    settle_snapshots(context, domain).map_err(unknown)?;
    context.report_finished(Step::MakeSnapshot);
    Ok(())
}

/// Decides what became of a failed call. `Ok` if the snapshot was made nevertheless.
fn after_failure(
    context: &Context,
    domain: &Domain,
    plan: &CreatePlan,
    failed: HostError,
    unknown: &impl Fn(Error) -> Error,
) -> Result<(), Error> {
    // After a lost connection, the daemon may still be at work: what it makes must stay in the record.
    let is_unknown = failed.outcome_unknown();
    let error = Error::from(failed);
    match is_made(context, plan) {
        Ok(true) => Ok(()),
        Ok(false) if !is_unknown => Err(undo_snapshot(context, domain, error)),
        _ => Err(unknown(error)),
    }
}

fn is_made(context: &Context, plan: &CreatePlan) -> Result<bool, Error> {
    let described = context.host.describe_snapshots(plan.scene.handle.domain.uuid)?;
    for xml in &described {
        let snapshot = SnapshotDescription::read(xml)?;
        if snapshot.name == plan.name {
            let is_ours = |overlay: &RecordedVolume| snapshot.disks.iter().any(|d| d.overlay == overlay.path);
            return Ok(plan.overlays.iter().all(is_ours));
        }
    }
    Ok(false)
}

/// Takes the notes out of the record again, and deletes what the host has made of them.
fn undo_snapshot(context: &Context, domain: &Domain, error: Error) -> Error {
    match settle_snapshots(context, domain) {
        Ok(_) => error.only_outcome(Outcome::RolledBack),
        Err(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_time_is_a_valid_name() {
        let name = name_of_time("2026-11-29T19:01:55.123Z");
        assert_eq!(name, "2026-11-29-190155");
        name.parse::<SnapshotName>().unwrap();
        name_of_time("2026-11-29T19:01:55Z").parse::<SnapshotName>().unwrap();
    }
}
