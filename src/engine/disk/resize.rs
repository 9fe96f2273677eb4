//! Grows a disk of a running VM, or its volume while the VM is off.
//!
//! The disk is grown first and recorded afterwards. Growing cannot be undone, because shrinking loses the data beyond
//! the new end. A record with the old size does no harm: it only describes the disk, and the same command again finds
//! the disk as large as requested and records that.

use std::time::Duration;

use super::disk_handle::DiskHandle;
use super::record_update::{read_record, set_size, update_record};
use crate::storage::backend::PoolBackend;
use crate::storage::usage;
use crate::storage::usage::Usage;
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::vm::lookup::or_removed_meanwhile;
use crate::{Context, Step, lock};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::record::{Record, RecordedVolume, VolumeRef, VolumeRole};
use foundry_core::text::quote_for_shell;
use foundry_core::units::{Bytes, GIB, SizeRequest};
use foundry_host::libvirt_xml::DiskDevice;
use foundry_host::{Domain, Pool, View, Volume};

/// The free space that growing a qcow2 image needs at least. It writes its new tables at once; they take less than
/// this.
const ROOM_FOR_TABLES: Bytes = Bytes(1 << 20);

/// How long the guest agent may take to answer a ping.
const AGENT_WITHIN: Duration = Duration::from_secs(2);

/// Why a disk of a VM with snapshots does not grow.
const WHY_NO_SNAPSHOT: &str = "reverting to one would bring back the smaller disk";

/// A disk that has the requested size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// The name of the VM that has the disk.
    pub vm: String,
    /// The disk's target device, such as `vdb`.
    pub target: String,
    /// The serial number that the guest reads.
    pub serial: Option<String>,
    /// Whether it is the boot disk or a data disk.
    pub role: VolumeRole,
    /// The size before; the same as `to` if there was nothing to do.
    pub from: Bytes,
    /// The size that the guest sees from now on.
    pub to: Bytes,
    /// Whether the running guest sees the new size.
    pub live: bool,
    /// Whether the guest agent answers; `None` if it was not asked.
    pub agent: Option<bool>,
}

/// Grows a disk of a foundry VM.
///
/// # Errors
/// [`foundry_core::error::Kind::Validation`] if the size is smaller than the current one;
/// [`foundry_core::error::Kind::Vm`] or [`foundry_core::error::Kind::Storage`] for another obstacle, before any
/// change. Otherwise a failed call to the host, with what became of the disk.
pub fn resize(context: &Context, vm: &str, disk: &str, wish: SizeRequest) -> Result<Resized, Error> {
    let handle = VmHandle::find(context, vm)?;
    let found = handle.find_disk(disk)?;
    resize_found(context, &handle, found, wish).map_err(|e| or_removed_meanwhile(context, &handle.domain, e))
}

fn resize_found(
    context: &Context,
    handle: &VmHandle,
    found: DiskHandle,
    wish: SizeRequest,
) -> Result<Resized, Error> {
    let volume = growable_volume(context, handle, &found)?;
    let size = size_to_reach(handle, &found, &volume, wish)?;
    let live = found.live.is_some();
    let grown = format!("disk '{}' may have {size} by now", found.target);
    let _leaves =
        context.cancel.announce_leftovers([grown.into(), retry_advice(handle, &found.target, size).into()]);
    if size > volume.capacity {
        check_idle(context, handle, &found)?;
        check_room(context, &volume, size)?;
        context.cancel.check_unchanged()?;
        context.report_started(Step::GrowDisk { target: found.target.clone(), size });
        grow_disk(context, handle, &found, &volume, size)?;
    }
    let write_down = update_record(context, &handle.domain, |record| {
        found.recorded.iter().for_each(|volume| set_size(record, volume, size));
    });
    write_down.map_err(|e| {
        e.outcome(format!("disk '{}' has {size} now", found.target)).outcome(retry_advice(
            handle,
            &found.target,
            size,
        ))
    })?;
    Ok(Resized {
        vm: handle.name().to_owned(),
        serial: found.description().and_then(|d| d.serial.clone()),
        role: found.recorded.map_or(VolumeRole::Data, |r| r.role),
        target: found.target,
        from: volume.capacity,
        to: size,
        agent: live.then(|| agent_answers(context, handle)),
        live,
    })
}

/// How to record a growth that the record may not show yet.
fn retry_advice(handle: &VmHandle, target: &str, size: Bytes) -> Advice {
    let (vm, target) = (handle.domain.command_name(), target.to_owned());
    Advice::from("its record may not show it: ")
        .run(Verb::DiskResize { vm, target, size_gib: size.0 / GIB })
        .text(" writes it")
}

/// Checks that the disk may be grown, and returns its volume.
fn growable_volume(context: &Context, handle: &VmHandle, found: &DiskHandle) -> Result<Volume, Error> {
    let vm = handle.name();
    let target = &found.target;
    let is_cdrom = found.description().is_some_and(|d| d.device != DiskDevice::Disk);
    if is_cdrom || found.recorded.as_ref().is_some_and(|r| r.role == VolumeRole::Seed) {
        return Err(refused_unchanged(
            Code::DiskNotOwn,
            format!("disk '{target}' of VM '{vm}' is a CD-ROM, which does not grow"),
        ));
    }
    let recorded = found.own_volume(context, handle)?;
    let Some(described) = found.description().filter(|_| recorded.attaching.is_none()) else {
        return Err(disk_half_there(handle, target));
    };
    if described.readonly || described.shareable {
        let what = if described.readonly { "read-only" } else { "shared with other domains" };
        return Err(refused_unchanged(Code::DiskNotOwn, format!("disk '{target}' of VM '{vm}' is {what}")));
    }
    existing_volume(context, recorded)
}

/// The error for a disk whose attach or detach was interrupted.
pub(super) fn disk_half_there(handle: &VmHandle, target: &str) -> Error {
    let message = format!("disk '{target}' of VM '{}' is incomplete", handle.name());
    refused_unchanged(Code::DiskHalfThere, message).hint(
        Advice::from(Verb::DiskDetach {
            vm: handle.domain.command_name(),
            target: target.to_owned(),
            keep: false,
        })
        .text(" removes what an attach or a detach left"),
    )
}

/// Finds a recorded volume. libvirt lists a file that QEMU made, such as a snapshot's, after a refresh of its pool. If
/// the volume is missing, the error says whether the pool is stopped or gone.
pub(super) fn existing_volume(context: &Context, recorded: &RecordedVolume) -> Result<Volume, Error> {
    let RecordedVolume { pool, name, .. } = recorded;
    let reference = VolumeRef::new(pool, name);
    if let Some(volume) = context.host.volume(&reference)? {
        return Ok(volume);
    }
    let told = |code, message: String| Error::new(code, message).unchanged();
    match context.host.pool(pool)? {
        Some(found) if found.active => {
            let error = told(Code::VolumeMissing, format!("volume '{name}' is not in pool '{pool}'"));
            if usage::is_directory_away(context, &found) || !usage::refresh_pool(context, pool)? {
                return Err(
                    error.hint(Advice::from(Verb::PoolRefresh { pool: pool.clone() }).text(" rescans it"))
                );
            }
            context.host.volume(&reference)?.ok_or(error)
        }
        Some(_) => {
            Err(told(Code::PoolInactive, format!("pool '{pool}' with volume '{name}' is not started"))
                .hint(Verb::PoolStart { pool: pool.clone() }))
        }
        None => Err(told(Code::PoolMissing, format!("pool '{pool}' with volume '{name}' no longer exists"))),
    }
}

/// The requested size; refused if it is smaller than the current one.
fn size_to_reach(
    handle: &VmHandle,
    found: &DiskHandle,
    volume: &Volume,
    wish: SizeRequest,
) -> Result<Bytes, Error> {
    let has = volume.capacity;
    let wrong = |code, message: String| Error::new(code, message).unchanged();
    let name = format!("disk '{}' of VM '{}'", found.target, handle.name());
    let size = match wish {
        SizeRequest::To(size) => size,
        SizeRequest::By(more) if !has.0.is_multiple_of(GIB) => {
            return Err(wrong(
                Code::NumberUnfit,
                format!("{name} has {} bytes, which is not a whole number of GiB", has.0),
            )
            .hint(format!("give the new size: {}GiB", has.saturating_add(more).0 / GIB)));
        }
        SizeRequest::By(more) => Bytes::from_gib(has.saturating_add(more).0 / GIB)
            .ok_or_else(|| wrong(Code::NumberUnfit, format!("{name} would be larger than a disk can be")))?,
    };
    if size < has {
        return Err(wrong(Code::DiskWouldShrink, format!("{name} has {has} and does not shrink to {size}"))
            .because("data beyond the new end would be lost"));
    }
    Ok(size)
}

/// Checks that no other job is running on the disk, and that no snapshot or other domain depends on its current size.
fn check_idle(context: &Context, handle: &VmHandle, found: &DiskHandle) -> Result<(), Error> {
    let (vm, target) = (handle.name(), &found.target);
    check_snapshots(context, handle, WHY_NO_SNAPSHOT)?;
    check_block_job(context, handle, found)?;
    let recorded = found.own_volume(context, handle)?;
    handle.check_not_locked(context, recorded)?;
    let usage = Usage::collect(context, Some(handle.domain.uuid))?;
    let RecordedVolume { pool, name, path, .. } = recorded;
    match usage.reason_to_keep_of(&VolumeRef::new(pool, name), path, &[]) {
        None => Ok(()),
        Some(reason) => Err(refused_unchanged(
            Code::DiskNotOwn,
            format!("disk '{target}' of VM '{vm}' is shared: {reason}"),
        )
        .because("the others would not know that the disk grew")
        .hint(
            Advice::from(Verb::Gc { only: Some("POOL/VOLUME".into()) })
                .text(" deletes a file that a snapshot left behind, if nothing uses it any more"),
        )),
    }
}

/// Refuses if the VM has snapshots, because they describe the disks as they were.
pub(crate) fn check_snapshots(context: &Context, handle: &VmHandle, why: &str) -> Result<(), Error> {
    let snapshots = context.host.snapshots(handle.domain.uuid)?;
    let Some(first) = snapshots.first() else { return Ok(()) };
    let message = format!("VM '{}' has snapshots: {}", handle.name(), snapshots.join(", "));
    let is_own = is_own_snapshot(&handle.record, first);
    Err(refused_unchanged(Code::SnapshotInTheWay, message).because(why).hint(advise_snapshot_delete(
        &handle.domain,
        first,
        is_own,
    )))
}

/// The command that deletes a snapshot that is in the way.
pub(crate) fn advise_snapshot_delete(domain: &Domain, snapshot: &str, is_own: bool) -> Advice {
    let delete = match is_own {
        true => Verb::SnapshotDelete { vm: domain.command_name(), snapshot: snapshot.to_owned() }.into(),
        false => {
            let (vm, snapshot) = (domain.shell_name(), quote_for_shell(snapshot));
            Advice::from(format!("virsh snapshot-delete {vm} {snapshot}"))
        }
    };
    let advice = Advice::from("if nobody needs it, ").and_then("", delete);
    advice.text(" removes one; the disks stay as they are now")
}

/// Whether foundry made a snapshot of that name.
pub(super) fn is_own_snapshot(record: &Record, name: &str) -> bool {
    record.volumes.iter().any(|v| v.overlay_of.as_ref().is_some_and(|mark| mark.snapshot == name))
}

/// Refuses if a block job is running on the disk: QEMU runs one job on a disk at a time.
pub(crate) fn check_block_job(context: &Context, handle: &VmHandle, found: &DiskHandle) -> Result<(), Error> {
    let (vm, target) = (handle.name(), &found.target);
    let Some(live) = &found.live else { return Ok(()) };
    if !has_block_job(context, handle, &live.target)? {
        return Ok(());
    }
    Err(refused_unchanged(Code::DiskBusy, format!("a block job works on disk '{target}' of VM '{vm}'")).hint(
        format!(
            "virsh blockjob {} {} shows it; wait for its end",
            handle.domain.shell_name(),
            quote_for_shell(target)
        ),
    ))
}

/// Returns whether a block job is running on a disk. A disk that was detached meanwhile has none.
fn has_block_job(context: &Context, handle: &VmHandle, target: &str) -> Result<bool, Error> {
    let uuid = handle.domain.uuid;
    let refused = match context.host.has_block_job(uuid, target) {
        Err(refused) if !refused.outcome_unknown() => refused,
        answer => return Ok(answer?),
    };
    let now = context.host.describe(uuid, View::Current)?;
    if now.is_some_and(|now| now.disk(target).is_some()) { Err(refused.into()) } else { Ok(false) }
}

/// Refuses volumes that libvirt cannot grow: those of LVM and ZFS.
fn check_growing(pool: &Pool, volume: &Volume, size: Bytes) -> Result<(), Error> {
    let path = quote_for_shell(&volume.path);
    let by_hand = match PoolBackend::of(&pool.kind) {
        Some(PoolBackend::Lvm) => format!("lvextend --size {}b {path}", size.0),
        Some(PoolBackend::Zfs) => {
            format!(
                "zfs set volsize={} {}",
                size.0,
                quote_for_shell(volume.path.trim_start_matches("/dev/zvol/"))
            )
        }
        Some(PoolBackend::Files | PoolBackend::Ceph) | None => return Ok(()),
    };
    let Pool { name, kind, .. } = pool;
    let what = format!("libvirt cannot grow volume '{}' in pool '{name}' of type {kind}", volume.name);
    Err(Error::new(Code::PoolUnfit, what).unchanged().hint(
        Advice::from(format!("on the host: {by_hand}; a running guest sees it after a restart. Then "))
            .run(Verb::PoolRefresh { pool: name.clone() })
            .text(", and this command again records it"),
    ))
}

/// Checks the pool's free space. Disks are thin, so a pool that cannot hold the full size only causes a warning.
fn check_room(context: &Context, volume: &Volume, size: Bytes) -> Result<(), Error> {
    // libvirt reports the free space as of its last rescan.
    usage::refresh_pool(context, &volume.pool)?;
    let Some(pool) = context.host.pool(&volume.pool)? else { return Ok(()) };
    check_growing(&pool, volume, size)?;
    if volume.format != "raw" && pool.available < ROOM_FOR_TABLES {
        return Err(Error::new(
            Code::OutOfSpace,
            format!("pool '{}' has only {} left", pool.name, pool.available),
        )
        .because(format!("a {} image writes tables when it grows", volume.format))
        .unchanged());
    }
    let promised = Bytes(size.0.saturating_sub(volume.allocation.0));
    if pool.available < promised {
        context.warn(format!(
            "the disk can take {promised} more, and pool '{}' has {} left",
            pool.name, pool.available
        ));
    }
    Ok(())
}

/// Grows the disk. A failed call may still have grown it, so the volume's size decides.
fn grow_disk(
    context: &Context,
    handle: &VmHandle,
    found: &DiskHandle,
    volume: &Volume,
    size: Bytes,
) -> Result<(), Error> {
    let Domain { uuid, name, .. } = &handle.domain;
    let _lock = lock::lock_vm(context, *uuid, name)?;
    // A snapshot that was made meanwhile needs the disk as it was.
    check_snapshots(context, handle, WHY_NO_SNAPSHOT)?;
    let outcome = if let Some(live) = &found.live {
        context.host.resize_disk(*uuid, &live.target, size)
    } else {
        // If the VM was recreated meanwhile, its new volume may have the same name.
        read_record(context, &handle.domain)?;
        context.host.resize_volume(&volume.reference(), size)
    };
    let Err(failed) = outcome else { return Ok(()) };
    match context.host.volume(&volume.reference()) {
        Ok(Some(now)) if now.capacity >= size => Ok(()),
        Ok(Some(_)) => Err(Error::from(failed).unchanged()),
        _ => Err(Error::from(failed).outcome(format!(
            "disk '{}' may have grown; the same command again checks and records it",
            found.target
        ))),
    }
}

/// Returns whether the guest agent answers. The disk is already grown, so a failed call here is not an error.
fn agent_answers(context: &Context, handle: &VmHandle) -> bool {
    let ping = r#"{"execute":"guest-ping"}"#;
    let answer = || context.host.agent(handle.domain.uuid, ping, AGENT_WITHIN);
    handle.is_executing() && matches!(answer(), Ok(Some(_)))
}
