//! Copies a VM that is off, in full or linked to a snapshot of it.
//!
//! The copy is created as any other VM, from the manifest of the original with another name, addresses and host name:
//! record, volumes, seed, start. Only its disks get the content of the original's. So an interrupted copy is finished as
//! an interrupted creation is, and its identity (UUID, MAC addresses, EFI variables, SSH host keys, instance id) is new.
//!
//! The original is locked until the copy is complete, and must stay off: its disks are read meanwhile.

mod chain;
mod link;

use std::cell::RefCell;

use super::create::{CreatedVm, create_ready};
use super::handle::{VmHandle, check_off, find_own_vm, refused_unchanged};
use super::inspect::get_vm;
use super::lookup::removed_meanwhile;
use super::seed_content::add_secrets;
use crate::disk::check_snapshots;
use crate::disk::own_disk::{disk_on, is_on};
use crate::preflight::image::ReadyImage;
use crate::preflight::storage::{DiskCopy, LinkedDisk, ReadyStorage};
use crate::preflight::{ReadyVm, preflight};
use crate::storage::backend::PoolBackend;
use crate::{Context, Task, lock};
use foundry_core::cloud_init::clone_user_data;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::manifest::VirtualMachine;
use foundry_core::plan::{
    BootSource, CloneIdentity, Defaults, DiskFormat, VmPlan, check_cloned_network, clone_manifest,
};
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::libvirt_xml::DiskSource;
use foundry_host::{Domain, DomainChange, DomainWatch, Volume};

/// How to copy a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneRequest {
    /// The copy's name and addresses.
    pub identity: CloneIdentity,
    /// A network-config for the copy, in place of the original's.
    pub network_config: Option<String>,
    /// Where its disks get their content from.
    pub disks: CloneDisks,
}

/// Where the disks of a copy get their content from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CloneDisks {
    /// They are copies of the original's.
    #[default]
    Copied,
    /// They are overlays on a snapshot that is made for them.
    OnNewSnapshot,
    /// They are overlays on this snapshot.
    OnSnapshot(String),
}

pub use link::snapshot_name;

/// Copies a VM that is off, and starts the copy.
///
/// # Errors
/// Before any change: that the original cannot be copied, or what [`super::create::create_vm`] finds for the copy. Or the
/// failure of a step, after a rollback.
pub fn clone_vm(context: &Context, source: &str, request: &CloneRequest) -> Result<CreatedVm, Error> {
    let (found, _) = find_own_vm(context, source)?;
    let to = request.identity.name.to_string();
    context.report_begun(Task::CloneVm { from: found.name.clone(), to });
    let _lock = lock::lock_vm(context, found.uuid, &found.name).map_err(Error::unchanged)?;
    match &request.disks {
        CloneDisks::Copied => {}
        CloneDisks::OnNewSnapshot => return link::clone_on_new_snapshot(context, &found, request),
        CloneDisks::OnSnapshot(snapshot) => {
            return link::clone_on_snapshot(context, &found, request, snapshot);
        }
    }
    // Before the first look at its state: a start after that look is noticed.
    let watch = RefCell::new(context.host.watch_domains()?);
    let original = Original::find(context, &found)?;
    let plan = original.plan_copy(context, request)?;
    let ready = original.prepare_copy(context, plan)?;
    create_ready(context, &ready, &|| original.check_untouched(context, watch.borrow_mut().as_deref_mut()))
}

/// The VM that is copied.
struct Original {
    handle: VmHandle,
    /// Its manifest, with the secrets from its seed.
    manifest: VirtualMachine,
    /// Its disks: the recorded volumes as they are now.
    disks: Vec<(RecordedVolume, Volume)>,
}

impl Original {
    /// Finds the VM again, under its lock, and checks that it can be copied.
    fn find(context: &Context, found: &Domain) -> Result<Self, Error> {
        let domain = find_again(context, found)?;
        check_off(&domain, "then it can be copied")?;
        let handle = VmHandle::of_domain(context, domain)?;
        check_snapshots(context, &handle, "its disks are not in its own volumes alone")?;
        let manifest = manifest_with_secrets(context, &handle)?;
        let recorded = handle.record.volumes.iter().filter(|v| v.role != VolumeRole::Seed);
        let disks = recorded.map(|volume| Ok((volume.clone(), find_disk(context, &handle, volume)?)));
        let disks = disks.collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { handle, manifest, disks })
    }

    /// Plans a full copy of the disks.
    fn plan_copy(&self, context: &Context, request: &CloneRequest) -> Result<VmPlan, Error> {
        self.plan_vm(context, request, |_| {})
    }

    /// Plans the copy; `adapt` changes its manifest. Defaults of today have no place in it: those of the original's creation are in its manifest.
    fn plan_vm(
        &self,
        context: &Context,
        request: &CloneRequest,
        adapt: impl Fn(&mut VirtualMachine),
    ) -> Result<VmPlan, Error> {
        if self.manifest.spec.boot_disk.as_ref().is_some_and(|disk| disk.warm.is_some()) {
            let message =
                format!("VM '{}' started from a warm image, and cannot be copied", self.handle.name());
            return Err(refused_unchanged(Code::SeedMissing, message)
                .because("it has no seed that would make the copy another machine")
                .hint("create another VM from the warm image"));
        }
        let defaults = Defaults { bridge: None, dns: Vec::new(), ..context.settings.defaults(None) };
        let planned = |manifest: &VirtualMachine| {
            VmPlan::from_manifest(manifest, &defaults).map_err(|problems| Error::from(problems).unchanged())
        };
        let mut manifest = self.manifest.clone();
        if let Some(config) = &request.network_config {
            manifest.spec.cloud_init.get_or_insert_default().network_config = Some(config.clone());
        } else {
            check_cloned_network(manifest.spec.cloud_init.as_ref(), self.handle.name())?;
        }
        let own_seed = planned(&self.manifest)?.seed;
        if let (Some(cloud_init), Some(seed)) = (&mut manifest.spec.cloud_init, &own_seed) {
            if let Some(text) = &mut cloud_init.user_data {
                let cloned = clone_user_data(text, seed);
                *text = cloned.text;
                if !cloned.same_names.is_empty() {
                    let names = cloned.same_names.join(" and ");
                    context
                        .warn(format!("spec.cloudInit.userData sets {names}, and so the copy has the same"));
                }
            }
            if cloud_init.raw_user_data.is_some() {
                context.warn(
                    "spec.cloudInit.rawUserData is copied as it is: a host name or host keys in it are the original's",
                );
            }
        }
        let mut copy = clone_manifest(&manifest, &request.identity)?;
        adapt(&mut copy);
        let plan = planned(&copy)?;
        // The default pool of today may be another one than that of the original.
        match self.disks.first().map(|(volume, _)| &volume.pool) {
            Some(pool) if plan.pool.as_str() != pool => {
                copy.spec.storage_pool = Some(pool.clone());
                planned(&copy)
            }
            _ => Ok(plan),
        }
    }

    /// Runs the checks of a creation and plans the copies.
    fn prepare_copy(&self, context: &Context, plan: VmPlan) -> Result<ReadyVm, Error> {
        let mut ready = check_copy(context, plan)?;
        let backend = ready.storage.backend;
        if matches!(backend, PoolBackend::Zfs | PoolBackend::Ceph) {
            let pool = &ready.storage.pool.name;
            let message = format!("disks in pool '{pool}' cannot be copied");
            return Err(refused_unchanged(Code::PoolUnfit, message)
                .because("libvirt copies no volumes of a ZFS pool, and makes clones that depend on each other in a Ceph pool")
                .hint("copy them with zfs(8) or rbd(8)"));
        }
        self.plan_disks(context, &mut ready)?;
        check_room(context, &ready)?;
        self.warn_of_others(context, &ready);
        Ok(ready)
    }

    /// Plans each disk after the original's: its format, size and backing file.
    fn plan_disks(&self, context: &Context, ready: &mut ReadyVm) -> Result<(), Error> {
        let ReadyStorage { volumes, copies, links, image, .. } = &mut ready.storage;
        for planned in volumes.iter_mut().filter(|v| v.role != VolumeRole::Seed) {
            let target = planned.disk_target();
            let Some((recorded, found)) = self.disks.iter().find(|(v, _)| v.disk_target() == target) else {
                let target = target.unwrap_or_default();
                let message = format!("the record of VM '{}' has no disk '{target}'", self.handle.name());
                return Err(refused_unchanged(Code::DiskMissing, message));
            };
            planned.format.clone_from(&recorded.format);
            planned.capacity = found.capacity;
            // libvirt probes files: of a raw disk, its guest may have written what looks like a backing file.
            planned.backing = found.backing.clone().filter(|_| recorded.format != DiskFormat::Raw.as_str());
            if let Some(below) = &planned.backing {
                let chain = self.chain_from(context, below)?;
                links.push(LinkedDisk { to: planned.reference(), chain });
            }
            copies.push(DiskCopy { to: planned.reference(), from: found.clone() });
            if planned.role == VolumeRole::Boot {
                *image = self.boot_image(context, &ready.plan, (recorded, found))?;
            }
        }
        Ok(())
    }

    /// The image of the boot disk, which the copy's boot disk is based on, too.
    fn boot_image(
        &self,
        context: &Context,
        plan: &VmPlan,
        (recorded, boot): (&RecordedVolume, &Volume),
    ) -> Result<Option<ReadyImage>, Error> {
        let BootSource::Image(reference) = &plan.boot_disk.source else { return Ok(None) };
        let path = boot.backing.clone();
        let listed = path.as_deref().map(|path| context.host.volume_at(path)).transpose()?.flatten();
        let defined = disk_on(&self.handle.next, recorded).and_then(|disk| disk.backing_format.clone());
        let format = defined.or_else(|| listed.as_ref().map(|volume| volume.format.clone()));
        if path.is_some() && format.is_none() {
            let message = format!("the format of the image of VM '{}' is not known", self.handle.name());
            return Err(refused_unchanged(Code::ImageOutsidePools, message)
                .because("the image is in no pool, and the definition of the VM does not name its format"));
        }
        Ok(Some(ReadyImage {
            reference: reference.clone(),
            path: path.unwrap_or_else(|| reference.to_string()),
            format: format.unwrap_or_else(|| recorded.format.clone()),
            virtual_size: boot.capacity,
            volume: listed.map(|volume| volume.reference()),
            origin: self.handle.record.image_origin.clone(),
        }))
    }

    /// Warns of disks that the copy does not get.
    fn warn_of_others(&self, context: &Context, ready: &ReadyVm) {
        let is_copied = |path: &str| ready.storage.copies.iter().any(|copy| copy.from.path == path);
        for (volume, found) in self.disks.iter().filter(|(_, found)| !is_copied(&found.path)) {
            let what = volume.disk_target().unwrap_or_default();
            context
                .warn(format!("disk '{what}' is not copied: the manifest does not have it ({})", found.path));
        }
        let volumes = &self.handle.record.volumes;
        for disk in self.handle.next.disks.iter().filter(|disk| !volumes.iter().any(|v| is_on(disk, v))) {
            if disk.source != DiskSource::None {
                let target = &disk.target;
                context.warn(format!("disk '{target}' is not copied: foundry did not make it"));
            }
        }
    }

    /// Checks that the original stayed off while its disks were read.
    fn check_untouched(
        &self,
        context: &Context,
        watch: Option<&mut (dyn DomainWatch + 'static)>,
    ) -> Result<(), Error> {
        let domain = &self.handle.domain;
        let mut was_started = false;
        if let Some(watch) = watch {
            while let Some(event) = watch.next(std::time::Duration::ZERO) {
                was_started |= event.domain == domain.uuid && event.change == DomainChange::Started;
            }
        }
        let now = context.host.state(domain.uuid)?;
        let now = now.ok_or_else(|| removed_meanwhile(&domain.name))?;
        if !was_started && !now.state.is_active() {
            return Ok(());
        }
        let message = format!("VM '{}' was started while its disks were copied", domain.name);
        Err(Error::new(Code::ChangedMeanwhile, message).because("the copy would not be consistent"))
    }
}

/// Finds the VM again, under its lock.
fn find_again(context: &Context, found: &Domain) -> Result<Domain, Error> {
    let now = context.host.domain(&found.name)?.filter(|now| now.uuid == found.uuid);
    now.ok_or_else(|| removed_meanwhile(&found.name).unchanged())
}

/// Runs the checks of a creation. The image is none of them: the disks have what they need of it.
fn check_copy(context: &Context, plan: VmPlan) -> Result<ReadyVm, Error> {
    let source = plan.boot_disk.source.clone();
    let mut unmade = plan;
    unmade.boot_disk.source = BootSource::Empty;
    let mut ready = preflight(context, &unmade)?;
    ready.plan.boot_disk.source = source;
    Ok(ready)
}

/// The manifest of a VM with its secrets, which only the seed has.
fn manifest_with_secrets(context: &Context, handle: &VmHandle) -> Result<VirtualMachine, Error> {
    let mut view = get_vm(context, handle.name())?;
    let missing = |error: Error| {
        let paths: Vec<&str> = handle.record.secrets.keys().map(String::as_str).collect();
        error.because(format!("the copy needs {}, which is in the seed only", paths.join(", "))).unchanged()
    };
    if handle.record.is_seed_gone() && !handle.record.secrets.is_empty() {
        let message = format!("the seed of VM '{}' was ejected", handle.name());
        return Err(missing(Error::new(Code::SeedUnreadable, message)));
    }
    add_secrets(context, &mut view).map_err(Error::unchanged)?;
    let left_out = view.vm.status.take().map(|status| status.secrets_left_out).unwrap_or_default();
    if !left_out.is_empty() {
        let message = format!("the seed of VM '{}' is not the recorded one", handle.name());
        return Err(missing(Error::new(Code::SeedUnreadable, message)));
    }
    Ok(view.vm)
}

/// Finds the volume of a disk, and checks that the VM has the disk on it.
fn find_disk(context: &Context, handle: &VmHandle, volume: &RecordedVolume) -> Result<Volume, Error> {
    let (vm, target) = (handle.name(), volume.disk_target().unwrap_or_default());
    if volume.attaching.is_some() {
        let message = format!("disk '{target}' of VM '{vm}' is being attached");
        return Err(refused_unchanged(Code::DiskHalfThere, message)
            .hint(Advice::from(Verb::Gc { only: None }).text(" completes an attach that was interrupted")));
    }
    if disk_on(&handle.next, volume).is_none() {
        let message = format!("VM '{vm}' does not have its disk '{target}' on {}", volume.reference());
        return Err(
            refused_unchanged(Code::DiskNotOwn, message).because("another program replaced or detached it")
        );
    }
    handle.check_not_locked(context, volume)?;
    let Some(found) = context.host.volume(&volume.reference())? else {
        return Err(refused_unchanged(Code::VolumeMissing, format!("{} is missing", volume.reference()))
            .hint(Verb::PoolRefresh { pool: volume.pool.clone() }));
    };
    let own = |path: &String| handle.record.volumes.iter().any(|v| v.path == *path);
    if found.backing.as_ref().is_some_and(own) {
        let message = format!("disk '{target}' of VM '{vm}' is based on another volume of that VM");
        return Err(refused_unchanged(Code::DiskNotOwn, message));
    }
    Ok(found)
}

/// Checks that the pool has space for the content of the disks.
fn check_room(context: &Context, ready: &ReadyVm) -> Result<(), Error> {
    let name = &ready.storage.pool.name;
    let needed = ready.storage.copies.iter().map(|copy| copy.from.allocation);
    let needed = needed.fold(Bytes(0), Bytes::saturating_add);
    let available = context.host.pool(name)?.map_or(Bytes(0), |pool| pool.available);
    if available >= needed {
        return Ok(());
    }
    let message = format!("pool '{name}' has {available} left; the copy needs {needed}");
    Err(refused_unchanged(Code::OutOfSpace, message)
        .hint(Advice::from(Verb::GcDryRun).text(" lists unused volumes")))
}
