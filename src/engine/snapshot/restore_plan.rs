//! Plans a restore: what would be set back, and what would be lost; changes nothing.

use super::view::{ChainedDisk, SnapshotScene};
use crate::Context;
use crate::storage::usage::Usage;
use crate::vm::destroy::VolumeToDelete;
use crate::vm::handle::{find_own_vm, refused_unchanged};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::VolumeName;
use foundry_core::record::RecordedVolume;
use foundry_core::text::quote_for_shell;
use foundry_host::libvirt_xml::SnapshotDescription;
use foundry_host::{Domain, DomainState};

/// What a restore would do.
#[derive(Debug, Clone, PartialEq)]
pub struct RestorePlan {
    /// The name of the VM.
    pub vm: String,
    /// The name of the snapshot.
    pub snapshot: String,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
    /// Whether the VM is on, so that it is stopped first and started afterwards.
    pub runs: bool,
    /// The snapshots that were made after it, and that are deleted.
    pub later: Vec<String>,
    /// The overlays with what was written since, which are deleted.
    pub discarded: Vec<VolumeToDelete>,
    pub(super) domain: Domain,
    pub(super) disks: Vec<DiskToRestore>,
}

/// A disk that is set back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiskToRestore {
    pub(super) disk: ChainedDisk,
    /// The volume with the content of that time.
    pub(super) frozen: RecordedVolume,
    /// Its format as libvirt knew it then. It is never probed: a guest can write a header into a raw disk.
    pub(super) format: String,
}

/// Decides what a restore of a snapshot would do; changes nothing.
///
/// # Errors
/// [`Code::SnapshotMissing`] if there is no such snapshot; otherwise why it cannot be restored.
pub fn plan_restore(
    context: &Context,
    vm: &str,
    snapshot: &str,
    deletes_later: bool,
) -> Result<RestorePlan, Error> {
    let (domain, _) = find_own_vm(context, vm)?;
    let scene = SnapshotScene::look(context, &domain)?;
    let plan = plan_with(context, &scene, snapshot)?;
    if !deletes_later && let Some(latest) = plan.later.last() {
        let message =
            format!("VM '{vm}' has snapshots that are newer than '{snapshot}': {}", plan.later.join(", "));
        return Err(refused_unchanged(Code::SnapshotInTheWay, message)
            .because("they hold what was written after it, which the restore would delete")
            .hint(
                Advice::from("--delete-later deletes them, too; ")
                    .run(scene.delete_command(latest))
                    .text(" deletes one and keeps the disks as they are"),
            ));
    }
    Ok(plan)
}

/// As [`plan_restore`], for a VM that was just looked at.
pub(super) fn plan_with(context: &Context, scene: &SnapshotScene, name: &str) -> Result<RestorePlan, Error> {
    let snapshot = scene.find(name)?;
    scene.check_own(snapshot, "virsh snapshot-revert")?;
    refuse_half_deleted(scene, snapshot)?;
    scene.refuse_internal()?;
    let later = scene.later_than(snapshot);
    if let Some(foreign) = later.iter().find(|later| !scene.is_own(later)) {
        scene.check_own(foreign, "virsh snapshot-delete")?;
    }
    let (own, _) = scene.own_disks(context)?;
    let disks = disks_to_restore(scene, snapshot, &own)?;
    scene.check_idle(context, &own)?;
    let discarded = discarded_overlays(context, scene, snapshot, &later, &disks)?;
    let domain = scene.handle.domain.clone();
    Ok(RestorePlan {
        vm: domain.name.clone(),
        snapshot: snapshot.name.clone(),
        created: snapshot.created,
        runs: domain.state != DomainState::ShutOff,
        later: later.iter().map(|s| s.name.clone()).collect(),
        discarded,
        disks,
        domain,
    })
}

/// After an interrupted deletion, the file of that time may have newer content.
pub(super) fn refuse_half_deleted(
    scene: &SnapshotScene,
    snapshot: &SnapshotDescription,
) -> Result<(), Error> {
    if !snapshot.disks.iter().any(|disk| disk.is_being_deleted) {
        return Ok(());
    }
    let message = format!("snapshot '{}' of VM '{}' is half deleted", snapshot.name, scene.handle.name());
    Err(refused_unchanged(Code::SnapshotInTheWay, message)
        .because("its disks may have newer content already")
        .hint(Advice::from(scene.delete_command(&snapshot.name)).text(" finishes that")))
}

fn disks_to_restore(
    scene: &SnapshotScene,
    snapshot: &SnapshotDescription,
    own: &[ChainedDisk],
) -> Result<Vec<DiskToRestore>, Error> {
    let vm = scene.handle.name();
    let mut disks = Vec::new();
    for of in &snapshot.disks {
        let changed = |what: &str| {
            refused_unchanged(Code::DiskNotOwn, format!("disk '{}' of VM '{vm}' {what}", of.target)).hint(
                format!(
                    "virsh snapshot-dumpxml {} {} shows what the snapshot needs",
                    scene.handle.domain.shell_name(),
                    quote_for_shell(snapshot.name.as_str())
                ),
            )
        };
        let Some(disk) = own.iter().find(|disk| disk.target == of.target) else {
            return Err(changed("was removed since the snapshot was made"));
        };
        let frozen = scene.handle.record.volumes.iter().find(|v| Some(&v.path) == of.frozen.as_ref());
        let Some(frozen) = frozen else {
            return Err(changed("was on a file that the record does not name"));
        };
        if !disk.chain.contains(&frozen.path) {
            // Also after an interrupted restore of an earlier snapshot.
            scene.check_chains(own)?;
            return Err(changed(&format!("is not on {} any more", frozen.path)));
        }
        let format = of.frozen_format.clone().unwrap_or_else(|| frozen.format.clone());
        disks.push(DiskToRestore { disk: disk.clone(), frozen: frozen.clone(), format });
    }
    Ok(disks)
}

/// The overlays above the files of that time: those that the disks are on, and those of the snapshots. They are the same
/// unless a restore was interrupted.
fn discarded_overlays(
    context: &Context,
    scene: &SnapshotScene,
    snapshot: &SnapshotDescription,
    later: &[&SnapshotDescription],
    disks: &[DiskToRestore],
) -> Result<Vec<VolumeToDelete>, Error> {
    let mut paths: Vec<String> = Vec::new();
    for DiskToRestore { disk, frozen, .. } in disks {
        let above = disk.chain.iter().take_while(|path| **path != frozen.path);
        paths.extend(above.cloned());
    }
    let described = later.iter().copied().chain([snapshot]).flat_map(|s| &s.disks);
    paths.extend(described.map(|disk| disk.overlay.clone()));
    paths.sort();
    paths.dedup();
    let usage = Usage::collect(context, Some(scene.handle.domain.uuid))?;
    let own: Vec<_> = scene.handle.record.volumes.iter().map(RecordedVolume::reference).collect();
    let mut discarded = Vec::new();
    for path in paths {
        let recorded = scene.handle.record.volumes.iter().find(|v| v.path == path && v.overlay_of.is_some());
        let Some(recorded) = recorded else {
            let message =
                format!("VM '{}' is on {path}, which its record does not name", scene.handle.name());
            return Err(refused_unchanged(Code::DiskNotOwn, message));
        };
        let users = usage.users_of(&recorded.reference(), &path).without_overlays(&own);
        if let Some(reason) = users.reason_to_keep() {
            let message =
                format!("the overlay {} of VM '{}' is in use", recorded.reference(), scene.handle.name());
            return Err(refused_unchanged(Code::DiskNotOwn, message).because(reason));
        }
        let found = context.host.volume(&recorded.reference())?;
        discarded.extend(found.map(|found| VolumeToDelete {
            pool: found.pool,
            name: found.name,
            path: found.path,
            capacity: found.capacity,
            role: Some(recorded.role),
        }));
    }
    discarded.sort_by_key(|v| (std::cmp::Reverse(VolumeName::revision_of(&v.name)), v.name.clone()));
    Ok(discarded)
}

impl RestorePlan {
    /// Whether a later look would lose the same.
    pub(super) fn loses_as_much_as(&self, later: &Self) -> bool {
        let lost = |plan: &Self| -> Vec<String> { plan.discarded.iter().map(|v| v.path.clone()).collect() };
        self.later == later.later && lost(self) == lost(later)
    }

    /// The command that restores it again.
    pub(super) fn command(&self) -> Verb {
        Verb::SnapshotRestore { vm: self.domain.command_name(), snapshot: self.snapshot.clone() }
    }
}
