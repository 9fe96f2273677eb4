//! Plans the attach of a volume that exists: checks that nothing else uses it; changes nothing.

use super::attach_plan::{
    AttachPlan, AttachRequest, check_target_free, definitions_to_change, free_targets, no_target, target_of,
};
use crate::Context;
use crate::preflight::issues::PreflightReport;
use crate::preflight::storage::{self, PoolNeed};
use crate::storage::file_locks;
use crate::storage::usage::{self, Usage};
use crate::vm::handle::{VmHandle, refused_unchanged};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::{DiskTarget, PoolName, VolumeName};
use foundry_core::plan::{DataDiskPlan, DiskFormat};
use foundry_core::record::{Liveness, RecordedVolume, VolumeRef, VolumeRole};
use foundry_core::units::{Bytes, GIB};
use foundry_host::Volume;
use foundry_host::local::check_liveness;

/// Checks a volume and chooses the target. Its entry in the record is marked as adopted from the start: whatever
/// interrupts the attach, no command deletes it.
pub(super) fn plan_existing_disk(
    context: &Context,
    handle: VmHandle,
    request: &AttachRequest<'_>,
    reference: &VolumeRef,
) -> Result<AttachPlan, Error> {
    let name: VolumeName =
        reference.name.parse().map_err(|e| unfit_volume(reference, format!("its name {e}")))?;
    let pool_name: PoolName =
        reference.pool.parse().map_err(|e| unfit_volume(reference, format!("the name of its pool {e}")))?;
    usage::refresh_pool(context, pool_name.as_str())?;
    let mut report = PreflightReport::default();
    let Some((pool, backend, found)) = storage::check_pool(context, &pool_name, &mut report)? else {
        return Err(report.to_error(handle.name()));
    };
    if pool.need != PoolNeed::Nothing {
        return Err(refused_unchanged(Code::PoolInactive, format!("pool '{pool_name}' is not active"))
            .hint(Advice::from(Verb::PoolStart { pool: pool.name }).text(" starts it")));
    }
    let Some(volume) = context.host.volume(reference)? else {
        return Err(refused_unchanged(Code::VolumeMissing, format!("there is no {reference}"))
            .hint("virsh vol-list POOL lists the volumes of a pool"));
    };
    let earlier = handle.record.volumes.iter().find(|v| v.reference() == *reference);
    let target = match earlier {
        Some(noted) => interrupted_target(&handle, noted)?,
        None => None,
    };
    if target.is_none() {
        check_unused(context, &handle, &volume)?;
    }
    let format = check_content(context, &volume)?;
    let target = match (target, &request.device) {
        (Some(target), None) => target,
        (Some(target), Some(device)) if target == *device => target,
        (_, Some(device)) => {
            check_target_free(&handle, device)?;
            device.clone()
        }
        (None, None) => {
            let free = free_targets(&handle).next();
            free.ok_or_else(|| no_target(&handle, "vdb to vdz are taken"))?
        }
    };
    let disk = DataDiskPlan {
        target: target.clone(),
        size: Bytes(volume.capacity.0 / GIB * GIB),
        volume: name,
        format,
        serial: request.serial.clone(),
    };
    let source = backend.disk_source(&volume.path, &found.map(|p| p.source).unwrap_or_default());
    let (live, affect) = definitions_to_change(&handle, target.as_str(), request.at_next_start);
    let entry = RecordedVolume::new(
        VolumeRole::Data,
        volume.reference(),
        volume.path,
        format.as_str(),
        volume.capacity,
    );
    let volume = RecordedVolume {
        backing: volume.backing,
        attaching: Some(context.lease.maker()),
        target: Some(target.to_string()),
        adopted: true,
        ..entry
    };
    let allocation = Bytes(0);
    Ok(AttachPlan { handle, disk, volume, pool, source, allocation, volume_is_there: true, affect, live })
}

/// The target of an interrupted attach of the same volume, which this run finishes; `None` if it has none.
fn interrupted_target(handle: &VmHandle, noted: &RecordedVolume) -> Result<Option<DiskTarget>, Error> {
    let (vm, volume) = (handle.name(), noted.reference());
    match &noted.attaching {
        None => {
            Err(refused_unchanged(Code::VolumeTaken, format!("VM '{vm}' has {volume} as a disk already")))
        }
        Some(maker) if check_liveness(maker) != Liveness::Dead => Err(refused_unchanged(
            Code::DiskBusy,
            format!("process {} is attaching {volume} to VM '{vm}'", maker.pid),
        )),
        Some(_) => Ok(target_of(noted)),
    }
}

/// Refuses a volume that something else uses: two guests that write to one disk destroy its file system.
fn check_unused(context: &Context, handle: &VmHandle, volume: &Volume) -> Result<(), Error> {
    let reference = volume.reference();
    if volume.pool == context.settings.image_pool.as_str() {
        return Err(unfit_volume(
            &reference,
            "it is in the pool of images, and new VMs would be made on what the guest writes",
        )
        .hint("virsh vol-clone makes a copy of it, vol-upload copies it into another pool"));
    }
    let taken =
        |why: String| refused_unchanged(Code::VolumeTaken, format!("{reference} is in use")).because(why);
    if let Some(why) = Usage::collect(context, None)?.reason_if_used(volume) {
        return Err(taken(why));
    }
    if file_locks::is_locked(context, &volume.path) {
        return Err(file_locks::open_elsewhere(handle.name(), &reference).unchanged());
    }
    Ok(())
}

/// Checks format, size and backing file, and returns the format.
fn check_content(context: &Context, volume: &Volume) -> Result<DiskFormat, Error> {
    let reference = volume.reference();
    let Some(format) = DiskFormat::ALL.into_iter().find(|f| f.as_str() == volume.format) else {
        return Err(unfit_volume(&reference, format!("its format is {}", volume.format))
            .hint("a disk is raw or qcow2; qemu-img convert makes one from other formats"));
    };
    if volume.capacity.0 < GIB {
        let why = format!("it has {}, and the smallest disk of a manifest has 1 GiB", volume.capacity);
        let (pool, name) = (&volume.pool, &volume.name);
        let words = [pool, name].map(|word| foundry_core::text::quote_for_shell(word.as_str()));
        return Err(unfit_volume(&reference, why)
            .hint(format!("virsh vol-resize --pool {} {} 1G grows it", words[0], words[1])));
    }
    // QEMU reads what the header names, whoever wrote the header.
    if let Some(backing) = &volume.backing
        && context.host.volume_at(backing)?.is_none()
    {
        return Err(unfit_volume(
            &reference,
            format!("it is based on {backing}, which is in no active pool"),
        ));
    }
    Ok(format)
}

fn unfit_volume(volume: &VolumeRef, why: impl Into<String>) -> Error {
    refused_unchanged(Code::VolumeUnfit, format!("{volume} cannot be attached")).because(why)
}
