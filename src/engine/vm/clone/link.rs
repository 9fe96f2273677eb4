//! Makes a linked copy of a VM: its disks are overlays on the files of a snapshot of the original.
//!
//! ```text
//!   [lock of the original ▸ check the copy ▸ snapshot ▸ create the copy on the snapshot's files]
//! ```
//!
//! The original goes on in overlays of its own, so nothing writes to these files any more. From the copy's definition on
//! they have two users, and whatever deletes, merges or grows a volume asks for its users first (`storage::usage`). The
//! original keeps them in its record. After a destroy of the original they belong to nobody: the destroy of the last
//! copy names them, and `gc` deletes them.
//!
//! The snapshot has a name that follows from the copy's. If this process is killed before the copy exists, the same
//! command again deletes it and makes it anew.

use super::{CloneRequest, Original, check_copy, find_again, manifest_with_secrets};
use crate::disk::own_disk::{disk_on, is_on};
use crate::preflight::ReadyVm;
use crate::preflight::image::ReadyImage;
use crate::preflight::storage::{BackingFile, LinkedDisk};
use crate::snapshot::{
    FrozenDisk, discard_frozen, discard_interrupted, find_frozen, freeze_disks, settle_for_copy,
};
use crate::storage::backend::PoolBackend;
use crate::vm::create::{CreatedVm, create_ready};
use crate::vm::handle::{VmHandle, check_off, refused_unchanged};
use crate::vm::leftover::remove_leftover;
use crate::vm::lookup::removed_meanwhile;
use crate::{Context, Step};
use foundry_core::error::{Advice, Code, Error, Outcome, Verb};
use foundry_core::manifest::VirtualMachine;
use foundry_core::names::{SnapshotName, VmName};
use foundry_core::plan::{BootSource, DiskFormat};
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_host::{Domain, View};

/// The name of the snapshot that is made for a linked copy of that name.
pub fn snapshot_name(copy: &VmName) -> String {
    // A snapshot's name has no underscores and at most 63 characters.
    let name = format!("linked-{}", copy.to_host_name());
    let end = name.len().min(63);
    name[..end].trim_end_matches('-').to_owned()
}

/// Makes a snapshot of a VM that is off, and a copy on it. The caller holds the VM's lock.
pub(super) fn clone_on_new_snapshot(
    context: &Context,
    found: &Domain,
    request: &CloneRequest,
) -> Result<CreatedVm, Error> {
    let copy = &request.identity.name;
    let name: SnapshotName = snapshot_name(copy).parse().map_err(|e| {
        refused_unchanged(Code::NameUnfit, format!("the name of a snapshot for VM '{copy}' {e}"))
    })?;
    let (mut original, mut ready) = plan_on_present_disks(context, found, request)?;
    context.cancel.check_unchanged()?;
    let vm = found.name.clone();
    let half = format!("VM '{vm}' may have a snapshot '{name}'; the same command again deletes it first");
    let _leaves = context.cancel.announce_leftovers([half.clone().into()]);
    if let Some(interrupted) = ready.leftover.take() {
        // Its disks are based on the snapshot that is made anew.
        remove_leftover(context, &interrupted)?;
        context.report_finished(Step::RemoveInterrupted);
    }
    if discard_interrupted(context, found, &name)? {
        (original, ready) = plan_on_present_disks(context, found, request)?;
    }
    context.cancel.check()?;
    freeze_disks(context, found, &name, format!("the base of VM '{copy}'")).map_err(|error| {
        if matches!(error.outcomes(), [Outcome::Unchanged | Outcome::RolledBack]) {
            return error;
        }
        let is_clean = !context.cancel.is_insisted() && discard_frozen(context, found, name.as_str()).is_ok();
        error.only_outcome(if is_clean { Outcome::RolledBack } else { half.clone().into() })
    })?;
    original
        .create(context, ready, name.as_str())
        .map_err(|error| give_back(context, found, name.as_str(), error))
}

/// Plans a copy on the files that the VM's disks are on now.
fn plan_on_present_disks(
    context: &Context,
    found: &Domain,
    request: &CloneRequest,
) -> Result<(LinkedOriginal, ReadyVm), Error> {
    let domain = find_again(context, found)?;
    check_off(&domain, "then it can be copied; --snapshot makes a copy of a snapshot while it runs")?;
    settle_for_copy(context, &domain)?;
    let handle = VmHandle::of_domain(context, find_again(context, found)?)?;
    let frozen = present_disks(&handle);
    let original = LinkedOriginal::of(context, handle, frozen)?;
    let ready = original.prepare(context, request)?;
    // The files of an older snapshot may be open: other copies that run read them.
    for disk in &original.frozen {
        original.vm.handle.check_not_locked(context, &disk.volume)?;
    }
    Ok((original, ready))
}

/// Makes a copy on a snapshot of a VM, which may run. The caller holds the VM's lock.
pub(super) fn clone_on_snapshot(
    context: &Context,
    found: &Domain,
    request: &CloneRequest,
    snapshot: &str,
) -> Result<CreatedVm, Error> {
    let handle = VmHandle::of_domain(context, find_again(context, found)?)?;
    let frozen = find_frozen(context, found, snapshot)?;
    let original = LinkedOriginal::of(context, handle, frozen)?;
    let ready = original.prepare(context, request)?;
    original.create(context, ready, snapshot)
}

/// Deletes the snapshot after a failed creation; says so if it has to stay.
fn give_back(context: &Context, domain: &Domain, snapshot: &str, error: Error) -> Error {
    if !context.cancel.is_insisted() && discard_frozen(context, domain, snapshot).is_ok() {
        return error;
    }
    let kept = format!("snapshot '{snapshot}' of VM '{}' may be left", domain.name);
    let error = match error.outcomes() {
        [Outcome::Unchanged | Outcome::RolledBack] => error.only_outcome(kept),
        _ => error.outcome(kept),
    };
    let delete = Verb::SnapshotDelete { vm: domain.command_name(), snapshot: snapshot.to_owned() };
    error.outcome(Advice::from(delete).text(" removes it"))
}

/// The files that the disks of a VM are on now, which a snapshot freezes.
fn present_disks(handle: &VmHandle) -> Vec<FrozenDisk> {
    let on_it = |volume: &&RecordedVolume| disk_on(&handle.next, volume);
    let own = handle.record.volumes.iter().filter(|v| v.role != VolumeRole::Seed && v.attaching.is_none());
    let frozen = own.filter(|volume| on_it(volume).is_some()).map(|volume| FrozenDisk {
        format: on_it(&volume).and_then(|disk| disk.format.clone()).unwrap_or_else(|| volume.format.clone()),
        volume: volume.clone(),
    });
    frozen.collect()
}

/// The VM that a linked copy is made of, and the files that the copy is to be on.
struct LinkedOriginal {
    vm: Original,
    frozen: Vec<FrozenDisk>,
}

impl LinkedOriginal {
    fn of(context: &Context, handle: VmHandle, frozen: Vec<FrozenDisk>) -> Result<Self, Error> {
        let manifest = manifest_with_secrets(context, &handle)?;
        let find = |of: &FrozenDisk| {
            let reference = of.volume.reference();
            let found = context.host.volume(&reference)?.ok_or_else(|| {
                refused_unchanged(Code::VolumeMissing, format!("{reference} is missing"))
                    .hint(Verb::PoolRefresh { pool: reference.pool.clone() })
            })?;
            Ok((of.volume.clone(), found))
        };
        let disks = frozen.iter().map(find).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { vm: Original { handle, manifest, disks }, frozen })
    }

    /// Checks the copy as a creation, before anything is changed, and plans its disks.
    fn prepare(&self, context: &Context, request: &CloneRequest) -> Result<ReadyVm, Error> {
        let mut ready = check_copy(context, self.vm.plan_vm(context, request, make_overlays)?)?;
        if ready.storage.backend != PoolBackend::Files {
            let message = format!("disks in pool '{}' cannot be linked", ready.storage.pool.name);
            return Err(refused_unchanged(Code::PoolUnfit, message)
                .because("a linked disk is an overlay on a file")
                .hint("without --link, the copy gets disks of its own"));
        }
        self.plan_overlays(context, &mut ready)?;
        self.warn_of_others(context, &ready);
        Ok(ready)
    }

    fn plan_overlays(&self, context: &Context, ready: &mut ReadyVm) -> Result<(), Error> {
        let mut links = Vec::new();
        for planned in ready.storage.volumes.iter_mut().filter(|v| v.role != VolumeRole::Seed) {
            let target = planned.disk_target().unwrap_or_default();
            let found = self.frozen.iter().zip(&self.vm.disks);
            let found = found.into_iter().find(|(of, _)| of.volume.disk_target().as_deref() == Some(&target));
            let Some((frozen, (_, volume))) = found else {
                let message = format!("VM '{}' has no disk '{target}' to be linked", self.vm.handle.name());
                return Err(refused_unchanged(Code::DiskMissing, message)
                    .because("the snapshot, or the record, does not have it"));
            };
            planned.format = DiskFormat::Qcow2.as_str().to_owned();
            // libvirt probes files: a guest can write a header with another size into its raw disk.
            let is_raw = frozen.format == DiskFormat::Raw.as_str() && volume.format != frozen.format;
            planned.capacity = if is_raw { frozen.volume.capacity } else { volume.capacity };
            planned.backing = Some(frozen.volume.path.clone());
            let chain = self.vm.chain_on(context, &frozen.volume.path, frozen.format.clone())?;
            if planned.role == VolumeRole::Boot {
                ready.storage.image = self.boot_image(context, &ready.plan.boot_disk.source, &chain)?;
            }
            links.push(LinkedDisk { to: planned.reference(), chain });
        }
        ready.storage.links = links;
        Ok(())
    }

    /// The image at the end of the boot disk's chain, if it is an image.
    fn boot_image(
        &self,
        context: &Context,
        source: &BootSource,
        chain: &[BackingFile],
    ) -> Result<Option<ReadyImage>, Error> {
        let (BootSource::Image(reference), Some(last)) = (source, chain.last()) else { return Ok(None) };
        let record = &self.vm.handle.record;
        let is_image = !record.volumes.iter().any(|volume| volume.path == last.path);
        let listed = if is_image { context.host.volume_at(&last.path)? } else { None };
        let size = self.vm.disks.iter().find(|(volume, _)| volume.role == VolumeRole::Boot);
        Ok(Some(ReadyImage {
            reference: reference.clone(),
            path: if is_image { last.path.clone() } else { reference.to_string() },
            format: last.format.clone(),
            virtual_size: size.map(|(_, found)| found.capacity).unwrap_or_default(),
            volume: listed.map(|volume| volume.reference()),
            origin: record.image_origin.clone(),
        }))
    }

    /// Warns of disks that the copy does not get.
    fn warn_of_others(&self, context: &Context, ready: &ReadyVm) {
        let is_linked = |path: &String| {
            let mut files = ready.storage.links.iter().filter_map(|link| link.chain.first());
            files.any(|file| file.path == *path)
        };
        for (volume, found) in self.vm.disks.iter().filter(|(volume, _)| !is_linked(&volume.path)) {
            let what = volume.disk_target().unwrap_or_default();
            context
                .warn(format!("disk '{what}' is not linked: the manifest does not have it ({})", found.path));
        }
        let volumes = &self.vm.handle.record.volumes;
        for disk in self.vm.handle.next.disks.iter().filter(|disk| !volumes.iter().any(|v| is_on(disk, v))) {
            if disk.source.path().is_some() {
                context.warn(format!("disk '{}' is not linked: foundry did not make it", disk.target));
            }
        }
    }

    /// Creates the copy, after a last check that the snapshot is what its disks are planned on.
    fn create(&self, context: &Context, ready: ReadyVm, snapshot: &str) -> Result<CreatedVm, Error> {
        let domain = &self.vm.handle.domain;
        let now = find_frozen(context, domain, snapshot)?;
        let same = |planned: &FrozenDisk| {
            now.iter().any(|of| of.volume.path == planned.volume.path && of.format == planned.format)
        };
        if let Some(other) = self.frozen.iter().find(|planned| !same(planned)) {
            let message = format!("VM '{}' was changed while it was copied", domain.name);
            return Err(Error::new(Code::ChangedMeanwhile, message)
                .because(format!("{} is not in snapshot '{snapshot}'", other.volume.reference()))
                .unchanged());
        }
        create_ready(context, &ready, &|| self.check_frozen(context))
    }

    /// Checks that the original is on its overlays. Its lock keeps foundry from changing that, but not virsh.
    fn check_frozen(&self, context: &Context) -> Result<(), Error> {
        let domain = &self.vm.handle.domain;
        let next = context.host.describe(domain.uuid, View::Config)?;
        let next = next.ok_or_else(|| removed_meanwhile(&domain.name))?;
        let is_written = |of: &&FrozenDisk| disk_on(&next, &of.volume).is_some();
        let Some(of) = self.frozen.iter().find(is_written) else { return Ok(()) };
        let message = format!("VM '{}' was put back on {} meanwhile", domain.name, of.volume.reference());
        Err(Error::new(Code::ChangedMeanwhile, message)
            .because("it would write to the file below the copy's disk"))
    }
}

/// The disks of a linked copy are overlays, whatever format the original's have.
fn make_overlays(manifest: &mut VirtualMachine) {
    let spec = &mut manifest.spec;
    let boot = spec.boot_disk.iter_mut().map(|disk| &mut disk.format);
    let data = spec.data_disks.iter_mut().map(|disk| &mut disk.format);
    for format in boot.chain(data).filter(|format| format.is_some()) {
        *format = Some(DiskFormat::Qcow2.as_str().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_name_is_valid_for_every_vm() {
        let long = format!("{}-{}", "a".repeat(55), "b".repeat(7));
        for (vm, expected) in [("www", "linked-www"), ("w_1", "linked-w-1"), (long.as_str(), "")] {
            let name = snapshot_name(&vm.parse().unwrap());
            name.parse::<SnapshotName>().unwrap();
            assert!(expected.is_empty() || name == expected, "{name}");
        }
    }
}
