//! Plans an attach: which disk, and whether it is possible; changes nothing.

use super::handle::{VmHandle, refused_unchanged};
use super::resize::disk_half_there;
use crate::Context;
use crate::preflight::issues::PreflightReport;
use crate::preflight::room::EMPTY_QCOW2;
use crate::preflight::storage::{self, ReadyPool};
use crate::storage::backend::PoolBackend;
use crate::storage::usage;
use crate::vm::plan_destroy::differs_from_plan;
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

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct AttachRequest<'a> {
    /// The VM.
    pub vm: &'a str,
    /// What the guest is to see.
    pub size: Bytes,
    /// The guest's name of it; `None` takes the next free one.
    pub device: Option<DiskTarget>,
    /// Its format.
    pub format: DiskFormat,
    /// What the guest calls it, where that is not its target.
    pub serial: Option<DiskSerial>,
    /// A running guest gets it at its next start and not now.
    pub at_next_start: bool,
}

/// Everything that is decided before the first change.
pub(super) struct AttachPlan {
    pub(super) handle: VmHandle,
    pub(super) disk: DataDiskPlan,
    pub(super) volume: RecordedVolume,
    pub(super) pool: ReadyPool,
    /// How the domain's XML refers to the volume.
    pub(super) source: DiskLocation,
    /// What the volume takes at once.
    pub(super) allocation: Bytes,
    /// Whether an earlier run, which was broken off, made the volume.
    pub(super) volume_is_there: bool,
    /// Where it is still to be plugged in.
    pub(super) affect: Option<Affect>,
    pub(super) live: bool,
}

impl AttachPlan {
    /// The disk, as the volume that is there says.
    pub(super) fn disk_as(&self, volume: &Volume) -> DataDiskPlan {
        let known = DiskFormat::ALL.into_iter().find(|f| f.as_str() == volume.format);
        let format = known.unwrap_or(self.disk.format);
        DataDiskPlan { size: volume.capacity, format, ..self.disk.clone() }
    }
}

/// Decides; changes nothing.
pub(super) fn plan_attach(context: &Context, request: &AttachRequest<'_>) -> Result<AttachPlan, Error> {
    let handle = VmHandle::find(context, request.vm)?;
    let (pool, backend, found) = ready_pool(context, &handle)?;
    let format = backend.format(request.format);
    let (target, volume, volume_is_there) = match earlier_attempt(context, &handle, request, format)? {
        Some(earlier) => earlier,
        None => {
            let target = match &request.device {
                Some(device) => free_target(context, &handle, device, &pool)?,
                None => next_target(context, &handle, &pool)?,
            };
            let volume = planned_volume(context, &handle, &target, (&pool, backend), format, request.size)?;
            (target, volume, false)
        }
    };
    let source = found.as_ref().map(|p| p.source.clone()).unwrap_or_default();
    if let Some(found) = found.filter(|p| p.active && !volume_is_there) {
        check_room(context, &found, backend, request.size)?;
    }
    let disk = DataDiskPlan {
        volume: volume
            .name
            .parse()
            .map_err(|e| refused_unchanged(Code::NotFoundrys, format!("volume '{}' {e}", volume.name)))?,
        target,
        size: request.size,
        format,
        serial: request.serial.clone(),
    };
    let source = backend.disk_source(&volume.path, &source);
    let allocation = backend.allocation(volume.capacity);
    let (live, reach) = definitions_to_change(&handle, disk.target.as_str(), request.at_next_start);
    Ok(AttachPlan { disk, volume, pool, source, allocation, volume_is_there, affect: reach, live, handle })
}

/// Whether a running guest has it afterwards, and where it is still to be plugged in.
fn definitions_to_change(handle: &VmHandle, target: &str, at_next_start: bool) -> (bool, Option<Affect>) {
    let has = |described: &DomainDescription| described.disk(target).is_some();
    let has_live = handle.live.as_ref().is_some_and(has);
    let needs_live = handle.live.is_some() && !has_live && !at_next_start;
    (has_live || needs_live, Affect::of(needs_live, !has(&handle.next)))
}

/// The pool of the VM's other disks.
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

/// An attach of the same disk that was broken off, which this one finishes: its target, its volume, and whether
/// that was made already.
fn earlier_attempt(
    context: &Context,
    handle: &VmHandle,
    request: &AttachRequest<'_>,
    format: DiskFormat,
) -> Result<Option<(DiskTarget, RecordedVolume, bool)>, Error> {
    for volume in &handle.record.volumes {
        let Some(maker) = &volume.attaching else { continue };
        let Some(target) = VmName::target_of_volume(&volume.name) else { continue };
        let is_meant = request.device.as_ref().is_none_or(|d| *d == target);
        let is_same = volume.capacity == request.size && volume.format == format.as_str();
        if is_meant && is_same && check_liveness(maker) == Liveness::Dead {
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

/// A target that the user named.
fn free_target(
    context: &Context,
    handle: &VmHandle,
    device: &DiskTarget,
    pool: &ReadyPool,
) -> Result<DiskTarget, Error> {
    let vm = handle.name();
    let described = handle.live.iter().chain([&handle.next]).any(|d| d.disk(device.as_str()).is_some());
    if described {
        return Err(refused_unchanged(Code::DeviceTaken, format!("VM '{vm}' has a disk '{device}'"))
            .hint("without --device the next free one is taken"));
    }
    if handle.taken_targets().iter().any(|taken| taken == device.as_str()) {
        return Err(disk_half_there(handle, device.as_str()));
    }
    let volume = volume_name(handle, device)?;
    if context.host.volume(&VolumeRef::new(&pool.name, &volume))?.is_none() {
        return Ok(device.clone());
    }
    // It is another process's, if that has written it down since.
    let now = VmHandle::find(context, vm)?;
    let is_taken = now.taken_targets().iter().any(|taken| taken == device.as_str());
    Err(if is_taken { target_taken_meanwhile(vm, device) } else { volume_exists(&pool.name, &volume) })
}

/// Another process was faster.
pub(super) fn target_taken_meanwhile(vm: &str, target: &DiskTarget) -> Error {
    refused_unchanged(Code::DiskBusy, format!("another process is attaching a disk '{target}' to VM '{vm}'"))
}

fn volume_exists(pool: &str, volume: &str) -> Error {
    Error::new(Code::VolumeTaken, format!("volume '{volume}' exists in pool '{pool}'"))
        .hint("it may hold data that somebody kept: choose another --device")
        .unchanged()
}

/// The first target that neither the domain nor the record has, and whose volume's name is free: disks that
/// were kept keep their names.
fn next_target(context: &Context, handle: &VmHandle, pool: &ReadyPool) -> Result<DiskTarget, Error> {
    let taken = handle.taken_targets();
    for target in DiskTarget::all_targets().filter(|t| !taken.iter().any(|taken| taken == t.as_str())) {
        if context.host.volume(&VolumeRef::new(&pool.name, &volume_name(handle, &target)?))?.is_none() {
            return Ok(target);
        }
    }
    Err(refused_unchanged(
        Code::DeviceTaken,
        format!(
            "VM '{}' has no free device: vdb to vdz, or the names of their volumes, are taken",
            handle.name()
        ),
    ))
}

/// As a creation would name it.
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
    Ok(RecordedVolume {
        role: VolumeRole::Data,
        pool: pool.name.clone(),
        path: storage::volume_path(&pool.target, &name),
        name,
        format: format.as_str().to_owned(),
        capacity: backend.capacity(size),
        backing: None,
        attaching: Some(context.lease.maker()),
    })
}

/// Disks are thin: little is needed now, and more is promised than may be there. Those of LVM are not.
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
