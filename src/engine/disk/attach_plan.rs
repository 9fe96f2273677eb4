//! Plans an attach: chooses the target and checks that the disk can be attached; changes nothing.

use super::resize::disk_half_there;
use crate::Context;
use crate::disk::ownership::differs_from_plan;
use crate::preflight::issues::PreflightReport;
use crate::preflight::room::EMPTY_QCOW2;
use crate::preflight::storage::{self, ReadyPool};
use crate::storage::backend::PoolBackend;
use crate::storage::pending_volumes::wait_for_volumes;
use crate::storage::usage;
use crate::vm::handle::{VmHandle, refused_unchanged};
use foundry_core::domain_xml::DiskLocation;
use foundry_core::error::{Code, Error};
use foundry_core::names::{DiskSerial, DiskTarget, PoolName, VmName};
use foundry_core::plan::{DataDiskPlan, DiskFormat};
use foundry_core::record::VolumeRef;
use foundry_core::record::{Liveness, RecordedVolume, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::local::check_liveness;
use foundry_host::{Affect, Pool, Volume};

/// The disk that the user wants to attach.
#[derive(Debug, Clone, PartialEq)]
pub struct AttachRequest<'a> {
    /// The name of the VM that gets the disk.
    pub vm: &'a str,
    /// The volume that it is on.
    pub content: DiskContent,
    /// The target device; `None` for the next free one.
    pub device: Option<DiskTarget>,
    /// The serial number that the guest sees, if it is not the target.
    pub serial: Option<DiskSerial>,
    /// Whether a running guest gets the disk at its next start instead of now.
    pub at_next_start: bool,
}

/// The volume of a disk that is attached.
#[derive(Debug, Clone, PartialEq)]
pub enum DiskContent {
    /// A new, empty one.
    New {
        /// The size that the guest sees.
        size: Bytes,
        /// The format of the volume.
        format: DiskFormat,
    },
    /// One that exists, with what is in it.
    Existing(VolumeRef),
}

/// Everything that is decided before the first change.
pub(super) struct AttachPlan {
    pub(super) handle: VmHandle,
    pub(super) disk: DataDiskPlan,
    pub(super) volume: RecordedVolume,
    pub(super) pool: ReadyPool,
    /// How the domain's XML refers to the volume.
    pub(super) source: DiskLocation,
    /// Bytes that the volume takes at once.
    pub(super) allocation: Bytes,
    /// Whether an earlier run that was interrupted created the volume.
    pub(super) volume_is_there: bool,
    /// The definitions that do not have the disk yet.
    pub(super) affect: Option<Affect>,
    pub(super) live: bool,
}

impl AttachPlan {
    /// The disk with size and format of the existing volume.
    pub(super) fn disk_as(&self, volume: &Volume) -> DataDiskPlan {
        let known = DiskFormat::ALL.into_iter().find(|f| f.as_str() == volume.format);
        let format = known.unwrap_or(self.disk.format);
        DataDiskPlan { size: volume.capacity, format, ..self.disk.clone() }
    }
}

/// Chooses the target of a new disk and checks pool, names and space; changes nothing.
pub(super) fn plan_new_disk(
    context: &Context,
    handle: VmHandle,
    request: &AttachRequest<'_>,
    size: Bytes,
    format: DiskFormat,
) -> Result<AttachPlan, Error> {
    let (pool, backend, found) = ready_pool(context, &handle)?;
    let format = backend.format(format);
    let earlier = earlier_attempt(context, &handle, request, (size, format))?;
    let (target, volume, volume_is_there) = match earlier {
        Some(earlier) => earlier,
        None => {
            let target = match &request.device {
                Some(device) => free_target(context, &handle, device, &pool)?,
                None => next_target(context, &handle, &pool)?,
            };
            let volume = planned_volume(context, &handle, &target, (&pool, backend), format, size)?;
            (target, volume, false)
        }
    };
    let source = found.as_ref().map(|p| p.source.clone()).unwrap_or_default();
    if let Some(found) = found.filter(|p| p.active && !volume_is_there) {
        check_room(context, &found, backend, size)?;
    }
    let disk = DataDiskPlan {
        volume: volume
            .name
            .parse()
            .map_err(|e| refused_unchanged(Code::NotFoundrys, format!("volume '{}' {e}", volume.name)))?,
        target,
        size,
        format,
        serial: request.serial.clone(),
    };
    let source = backend.disk_source(&volume.path, &source);
    let allocation = backend.allocation(volume.capacity);
    let (live, reach) = definitions_to_change(&handle, disk.target.as_str(), request.at_next_start);
    Ok(AttachPlan { disk, volume, pool, source, allocation, volume_is_there, affect: reach, live, handle })
}

/// Returns whether a running guest has the disk afterwards, and which definitions do not have it yet.
pub(super) fn definitions_to_change(
    handle: &VmHandle,
    target: &str,
    at_next_start: bool,
) -> (bool, Option<Affect>) {
    let has = |described: &DomainDescription| described.disk(target).is_some();
    let has_live = handle.live.as_ref().is_some_and(has);
    let needs_live = handle.live.is_some() && !has_live && !at_next_start;
    (has_live || needs_live, Affect::of(needs_live, !has(&handle.next)))
}

/// Checks the pool of the VM's other disks.
fn ready_pool(context: &Context, handle: &VmHandle) -> Result<(ReadyPool, PoolBackend, Option<Pool>), Error> {
    let volumes = &handle.record.volumes;
    let boot = volumes.iter().find(|v| v.role == VolumeRole::Boot).or(volumes.first());
    let name = match boot {
        Some(volume) => volume
            .pool
            .parse::<PoolName>()
            .map_err(|e| refused_unchanged(Code::NotFoundrys, format!("its pool '{}' {e}", volume.pool)))?,
        None => context.settings.vm_pool.clone(),
    };
    usage::refresh_pool(context, name.as_str())?;
    let mut report = PreflightReport::default();
    match storage::check_pool(context, &name, &mut report)? {
        Some(ready) => Ok(ready),
        None => Err(report.to_error(handle.name())),
    }
}

/// Finds an interrupted attach of the same disk, which this run finishes. Returns its target, its volume, and whether
/// the volume exists already.
fn earlier_attempt(
    context: &Context,
    handle: &VmHandle,
    request: &AttachRequest<'_>,
    (size, format): (Bytes, DiskFormat),
) -> Result<Option<(DiskTarget, RecordedVolume, bool)>, Error> {
    for volume in &handle.record.volumes {
        let Some(maker) = &volume.attaching else { continue };
        let Some(target) = target_of(volume) else { continue };
        // Without a named target, any interrupted attach with the same size and format is finished.
        let is_meant = request.device.as_ref().is_none_or(|d| *d == target);
        let is_same = !volume.adopted && volume.capacity == size && volume.format == format.as_str();
        if is_meant && is_same && check_liveness(maker) == Liveness::Dead {
            // libvirt lists a volume that it is still creating, and QEMU cannot open it yet.
            wait_for_volumes(context, &handle.record)?;
            let found = context.host.volume(&volume.reference())?;
            let is_other = |v: &Volume| {
                differs_from_plan(volume, v).or_else(|| handle.ownership().reason_to_doubt(volume, v))
            };
            if let Some(other) = found.as_ref().and_then(is_other) {
                return Err(volume_exists(&volume.pool, &volume.name).because(other));
            }
            let ours = RecordedVolume { attaching: Some(context.lease.maker()), ..volume.clone() };
            return Ok(Some((target, ours, found.is_some())));
        }
        if request.device.as_ref() == Some(&target) && check_liveness(maker) != Liveness::Dead {
            let (vm, pid) = (handle.name(), maker.pid);
            return Err(refused_unchanged(
                Code::DiskBusy,
                format!("process {pid} is attaching disk '{target}' to VM '{vm}'"),
            ));
        }
    }
    Ok(None)
}

/// The target of a recorded data disk.
pub(super) fn target_of(volume: &RecordedVolume) -> Option<DiskTarget> {
    volume.disk_target()?.parse().ok()
}

/// Checks that neither the domain nor the record has a target.
pub(super) fn check_target_free(handle: &VmHandle, device: &DiskTarget) -> Result<(), Error> {
    let vm = handle.name();
    let described = handle.live.iter().chain([&handle.next]).any(|d| d.disk(device.as_str()).is_some());
    if described {
        return Err(refused_unchanged(Code::DeviceTaken, format!("VM '{vm}' has a disk '{device}'"))
            .hint("without --device the next free one is taken"));
    }
    if handle.taken_targets().iter().any(|taken| taken == device.as_str()) {
        return Err(disk_half_there(handle, device.as_str()));
    }
    Ok(())
}

/// Checks that the target that the user named is free, and the volume name that goes with it.
fn free_target(
    context: &Context,
    handle: &VmHandle,
    device: &DiskTarget,
    pool: &ReadyPool,
) -> Result<DiskTarget, Error> {
    check_target_free(handle, device)?;
    let vm = handle.name();
    let volume = volume_name(handle, device)?;
    if context.host.volume(&VolumeRef::new(&pool.name, &volume))?.is_none() {
        return Ok(device.clone());
    }
    // If the record names it by now, another process is attaching it.
    let now = VmHandle::find(context, vm)?;
    let is_taken = now.taken_targets().iter().any(|taken| taken == device.as_str());
    Err(if is_taken { target_taken_meanwhile(vm, device) } else { volume_exists(&pool.name, &volume) })
}

/// The error if another process took the target first.
pub(super) fn target_taken_meanwhile(vm: &str, target: &DiskTarget) -> Error {
    refused_unchanged(Code::DiskBusy, format!("another process is attaching a disk '{target}' to VM '{vm}'"))
}

fn volume_exists(pool: &str, volume: &str) -> Error {
    Error::new(Code::VolumeTaken, format!("volume '{volume}' exists in pool '{pool}'"))
        .hint("it may hold data that somebody kept: choose another --device")
        .unchanged()
}

/// Finds the first target that neither the domain nor the record has, and whose volume name is free: the volumes of
/// detached disks that the user kept still have their names.
fn next_target(context: &Context, handle: &VmHandle, pool: &ReadyPool) -> Result<DiskTarget, Error> {
    for target in free_targets(handle) {
        if context.host.volume(&VolumeRef::new(&pool.name, &volume_name(handle, &target)?))?.is_none() {
            return Ok(target);
        }
    }
    Err(no_target(handle, "vdb to vdz, or the names of their volumes, are taken"))
}

/// The targets that neither the domain nor the record has.
pub(super) fn free_targets(handle: &VmHandle) -> impl Iterator<Item = DiskTarget> {
    let taken = handle.taken_targets();
    DiskTarget::all_targets().filter(move |target| !taken.iter().any(|taken| taken == target.as_str()))
}

pub(super) fn no_target(handle: &VmHandle, why: &str) -> Error {
    refused_unchanged(Code::DeviceTaken, format!("VM '{}' has no free device: {why}", handle.name()))
}

/// The name that a creation of the VM would give the volume.
fn volume_name(handle: &VmHandle, target: &DiskTarget) -> Result<String, Error> {
    let vm: VmName = handle.name().parse().map_err(|e| {
        refused_unchanged(
            Code::NotFoundrys,
            format!("VM '{}' has a name that foundry would not give: it {e}", handle.name()),
        )
    })?;
    Ok(vm.data_volume(target).to_string())
}

fn planned_volume(
    context: &Context,
    handle: &VmHandle,
    target: &DiskTarget,
    (pool, backend): (&ReadyPool, PoolBackend),
    format: DiskFormat,
    size: Bytes,
) -> Result<RecordedVolume, Error> {
    let name = volume_name(handle, target)?;
    let path = storage::volume_path(&pool.target, &name);
    let volume = VolumeRef::new(pool.name.clone(), name);
    let capacity = backend.capacity(size);
    let entry = RecordedVolume::new(VolumeRole::Data, volume, path, format.as_str(), capacity);
    Ok(RecordedVolume { attaching: Some(context.lease.maker()), ..entry })
}

/// Checks the pool's free space. Disks are thin, so little is needed now, and a warning is enough if the pool cannot
/// hold the full size. LVM volumes need their full size at once.
fn check_room(context: &Context, pool: &Pool, backend: PoolBackend, size: Bytes) -> Result<(), Error> {
    let needed = backend.allocation(size).max(EMPTY_QCOW2);
    if pool.available < needed {
        let (name, left) = (&pool.name, pool.available);
        return Err(Error::new(
            Code::OutOfSpace,
            format!("pool '{name}' has {left} left; the disk needs {needed} at once"),
        )
        .unchanged());
    }
    if pool.available < size {
        context.warn(format!(
            "the disk can grow to {size}, and pool '{}' has {} left",
            pool.name, pool.available
        ));
    }
    Ok(())
}
