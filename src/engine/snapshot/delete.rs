//! Deletes a snapshot: libvirt merges its overlays into the files below them.

use super::settle::{finish_interrupted, settle_snapshots};
use super::view::{ChainedDisk, SnapshotScene};
use crate::storage::usage::Usage;
use crate::vm::handle::{find_own_vm, refused_unchanged};
use crate::vm::lookup::or_removed_meanwhile;
use crate::vm::power::not_executing_error;
use crate::{Context, Step, Task, lock};
use foundry_core::error::{Advice, Code, Error};
use foundry_core::record::RecordedVolume;
use foundry_host::libvirt_xml::SnapshotDescription;
use foundry_host::{Domain, DomainState};

/// What a deletion would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletePlan {
    /// The name of the VM.
    pub vm: String,
    /// The name of the snapshot.
    pub snapshot: String,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
    domain: Domain,
    /// Whether libvirt has the snapshot no more, and only the record is to be updated.
    is_gone: bool,
}

/// Decides whether a snapshot can be deleted; changes nothing.
///
/// # Errors
/// [`Code::SnapshotMissing`] if there is no such snapshot; otherwise why it cannot be deleted.
pub fn plan_delete(context: &Context, vm: &str, snapshot: &str) -> Result<DeletePlan, Error> {
    let (domain, _) = find_own_vm(context, vm)?;
    let scene = SnapshotScene::look(context, &domain)?;
    let is_gone = match scene.find(snapshot) {
        Ok(found) => {
            check_deletable(context, &scene, found)?;
            false
        }
        // An interrupted command has deleted it, and the record still names its overlays.
        Err(_) if has_overlays_of(&scene, snapshot) => true,
        Err(missing) => return Err(missing),
    };
    let created = scene.snapshots.iter().find(|s| s.name == snapshot).and_then(|s| s.created);
    Ok(DeletePlan { vm: domain.name.clone(), snapshot: snapshot.to_owned(), created, is_gone, domain })
}

/// Whether the record names overlays of a snapshot that no disk is on.
fn has_overlays_of(scene: &SnapshotScene, snapshot: &str) -> bool {
    let is_on = |path: &str| scene.present().disks.iter().any(|d| d.source.path() == Some(path));
    let is_of = |v: &&RecordedVolume| v.overlay_of.as_ref().is_some_and(|mark| mark.snapshot == snapshot);
    scene.handle.record.volumes.iter().filter(is_of).any(|v| !is_on(&v.path))
}

/// libvirt merges an overlay into the file that the snapshot names. That must be a volume of this VM, and nothing else
/// may be based on it: a merge into a shared image would destroy every other VM on it.
pub(super) fn check_deletable(
    context: &Context,
    scene: &SnapshotScene,
    snapshot: &SnapshotDescription,
) -> Result<(), Error> {
    let domain = &scene.handle.domain;
    let vm = &domain.name;
    scene.check_own(snapshot, "virsh snapshot-delete")?;
    if domain.state != DomainState::ShutOff && !domain.state.is_executing() {
        return Err(not_executing_error(domain));
    }
    let (disks, _) = scene.own_disks(context)?;
    scene.check_chains(&disks)?;
    scene.check_idle(context, &disks)?;
    let usage = Usage::collect(context, Some(domain.uuid))?;
    let own: Vec<_> = scene.handle.record.volumes.iter().map(RecordedVolume::reference).collect();
    for of in &snapshot.disks {
        let recorded = |path: &str| scene.handle.record.volumes.iter().find(|v| v.path == path);
        let frozen = of.frozen.as_deref().and_then(recorded);
        let Some(frozen) = frozen.filter(|frozen| is_below(&disks, of.overlay.as_str(), &frozen.path)) else {
            let message =
                format!("disk '{}' of VM '{vm}' would be merged into a file that is not its own", of.target);
            return Err(refused_unchanged(Code::DiskNotOwn, message)
                .because(of.frozen.clone().unwrap_or_else(|| "the snapshot does not say which".into())));
        };
        for volume in [Some(frozen), recorded(&of.overlay)].into_iter().flatten() {
            let users = usage.users_of(&volume.reference(), &volume.path).without_overlays(&own);
            if let Some(reason) = users.reason_to_keep() {
                let message = format!("{} of VM '{vm}' is in use", volume.reference());
                return Err(refused_unchanged(Code::DiskNotOwn, message)
                    .because(format!("{reason}; the merge would change it")));
            }
        }
    }
    Ok(())
}

/// Whether a file is directly below an overlay.
fn is_below(disks: &[ChainedDisk], overlay: &str, file: &str) -> bool {
    disks.iter().any(|disk| disk.chain.windows(2).any(|pair| pair[0] == overlay && pair[1] == file))
}

/// Executes a plan. It takes as long as the data that was written since needs to be copied; a running guest goes on.
///
/// # Errors
/// The failure of a step. The same command again continues.
pub fn delete_snapshot(context: &Context, plan: &DeletePlan) -> Result<(), Error> {
    let DeletePlan { domain, snapshot, vm, .. } = plan;
    context.report_begun(Task::DeleteSnapshot { vm: vm.clone(), snapshot: snapshot.clone() });
    context.cancel.check_unchanged()?;
    let deleted = delete_locked(context, plan);
    deleted.map_err(|error| or_removed_meanwhile(context, domain, error))
}

fn delete_locked(context: &Context, plan: &DeletePlan) -> Result<(), Error> {
    let DeletePlan { domain, snapshot, vm, is_gone, .. } = plan;
    let _lock = lock::lock_vm(context, domain.uuid, vm).map_err(Error::unchanged)?;
    if *is_gone {
        return finish_interrupted(context, domain).map(drop);
    }
    let (scene, _) = finish_interrupted(context, domain)?;
    check_deletable(context, &scene, scene.find(snapshot)?)?;
    context.cancel.check_unchanged()?;
    let again = Advice::from(scene.delete_command(snapshot)).text(" finishes it");
    let half = format!("snapshot '{snapshot}' of VM '{vm}' may be half deleted");
    let _leaves = context.cancel.announce_leftovers([half.clone().into(), again.clone().into()]);
    let unfinished = |error: Error| error.outcome(half.clone()).outcome(again.clone());
    merge_overlays(context, domain, snapshot).map_err(unfinished)
}

/// Merges the overlays of a snapshot that passed [`check_deletable`].
pub(super) fn merge_overlays(context: &Context, domain: &Domain, snapshot: &String) -> Result<(), Error> {
    context.report_started(Step::MergeSnapshot);
    if let Err(failed) = context.host.delete_snapshot(domain.uuid, snapshot) {
        let still = context.host.snapshots(domain.uuid);
        let is_there = still.map(|names| names.contains(snapshot));
        // The call may have failed after its effect.
        if !matches!(is_there, Ok(false)) {
            return Err(failed.into());
        }
    }
    settle_snapshots(context, domain)?;
    context.report_finished(Step::MergeSnapshot);
    Ok(())
}
