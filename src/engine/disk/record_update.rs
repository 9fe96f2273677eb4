//! Updates the disks in record and manifest while other processes may change them, too.

use crate::vm::lookup::removed_meanwhile;
use crate::vm::record_pair::{self, RecordPair};
use crate::{Context, lock};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{DataDisk, Number, Spec};
use foundry_core::plan;
use foundry_core::record::{Owner, Record, RecordState, RecordedVolume, VolumeRole};
use foundry_core::units::{Bytes, GIB};
use foundry_host::local::user_and_host;
use foundry_host::{Domain, HostError};

/// How often to write a record that other processes overwrite at the same time.
const TRIES: usize = 8;

/// Changes the record of a VM, and repeats that until the change is in it. `change` is applied to the current record;
/// it must change nothing if the record is already as wanted.
///
/// libvirt has no compare-and-swap for metadata. Foundry processes of one machine use a lock. Those of another
/// machine cannot share it, so the record is read right before and again after the write, and written again if
/// another process has overwritten it with an older copy.
///
/// # Errors
/// If the VM is gone or no longer complete, or the host refuses.
pub(crate) fn update_record(
    context: &Context,
    domain: &Domain,
    change: impl Fn(&mut Record),
) -> Result<Record, Error> {
    let _lock = lock::lock_vm(context, domain.uuid, &domain.name)?;
    update_locked_record(context, domain, change)
}

/// As [`update_record`], for a caller that holds the VM's lock.
pub(crate) fn update_locked_record(
    context: &Context,
    domain: &Domain,
    change: impl Fn(&mut Record),
) -> Result<Record, Error> {
    let mut failed: Option<HostError> = None;
    for attempt in 0..TRIES {
        // A write goes to both definitions, so they have the same record afterwards.
        let (before, is_one) =
            if attempt == 0 { read_both(context, domain)? } else { (read_record(context, domain)?, true) };
        let mut after = before.clone();
        change(&mut after);
        if after == before && is_one {
            return Ok(before);
        }
        // The call may have failed after its effect; the record that was just read shows that it had none.
        if let Some(refused) = failed.take() {
            return Err(refused.into());
        }
        let now = context.clock.timestamp();
        if after.manifest != before.manifest {
            after.note_revision(&before.manifest, user_and_host(), &now);
        }
        after.changed_at = now;
        failed = context.host.set_record(domain.uuid, &after.to_text()?).err();
    }
    Err(failed.map_or_else(
        || {
            Error::new(
                Code::ChangedMeanwhile,
                format!("another program keeps changing the record of VM '{}'", domain.name),
            )
        },
        Error::from,
    ))
}

/// Reads the current record of the same domain.
///
/// # Errors
/// If the VM is gone or no longer complete.
pub(super) fn read_record(context: &Context, domain: &Domain) -> Result<Record, Error> {
    find_current(context, domain).map(|(_, record)| record)
}

/// Reads the record of the same domain, for a caller that holds the VM's lock and writes it with a definition.
///
/// # Errors
/// If the VM is gone or no longer complete.
pub(crate) fn current_record(context: &Context, domain: &Domain) -> Result<Record, Error> {
    read_both(context, domain).map(|(record, _)| record)
}

/// Reads the record of the same domain, with the volumes from both its running and its persistent definition. Also
/// returns whether both definitions have the same record.
fn read_both(context: &Context, domain: &Domain) -> Result<(Record, bool), Error> {
    let (now, record) = find_current(context, domain)?;
    let next = record_pair::next_definition(context, &now)?;
    let pair = RecordPair::of(&now, record, next.as_ref());
    let is_one = pair.is_one;
    Ok((pair.merge_volumes(), is_one))
}

fn find_current(context: &Context, domain: &Domain) -> Result<(Domain, Record), Error> {
    let name = &domain.name;
    let now = context
        .host
        .domain(name)?
        .filter(|d| d.uuid == domain.uuid)
        .ok_or_else(|| removed_meanwhile(name))?;
    match now.owner() {
        Owner::Foundry(record) if record.state == RecordState::Created => Ok((now, *record)),
        Owner::Foundry(_) => Err(Error::new(Code::HalfDestroyed, format!("VM '{name}' is being destroyed"))),
        _ => Err(Error::new(
            Code::ChangedMeanwhile,
            format!("the record of VM '{name}' was changed by another program"),
        )),
    }
}

/// Removes a volume from the record of a VM.
///
/// # Errors
/// The same as for [`update_record`].
pub(crate) fn remove_from_record(
    context: &Context,
    domain: &Domain,
    pool: &str,
    name: &str,
) -> Result<(), Error> {
    update_record(context, domain, |record| remove_volume(record, pool, name)).map(drop)
}

/// Removes a volume from a record. From here on, no command deletes it.
pub(super) fn remove_volume(record: &mut Record, pool: &str, name: &str) {
    record.volumes.retain(|v| v.pool != pool || v.name != name);
}

/// Removes a data disk from the manifest.
pub(super) fn remove_disk(spec: &mut Spec, target: &str) {
    spec.data_disks.retain(|d| d.device.as_deref() != Some(target));
}

/// Adds a data disk to the manifest, in the order of the devices.
pub(super) fn add_disk(spec: &mut Spec, disk: &plan::DataDiskPlan) {
    if spec.data_disks.iter().any(|d| d.device.as_deref() == Some(disk.target.as_str())) {
        return;
    }
    let is_default = disk.format == plan::DiskFormat::Qcow2;
    let entry = DataDisk {
        device: Some(disk.target.to_string()),
        size_gb: Some(gib_number(disk.size)),
        size_gib: None,
        format: (!is_default).then(|| disk.format.as_str().to_owned()),
        serial: disk.serial.as_ref().map(ToString::to_string),
    };
    let at = spec.data_disks.partition_point(|d| d.device < entry.device);
    spec.data_disks.insert(at, entry);
}

/// Sets the size of a disk in record and manifest, in the field that the manifest uses (`sizeGB` or `sizeGiB`). The
/// manifest has the target that the volume was created for, even if the disk has another one by now.
pub(super) fn set_size(record: &mut Record, disk: &RecordedVolume, size: Bytes) {
    let volume = record.volumes.iter_mut().find(|v| v.pool == disk.pool && v.name == disk.name);
    volume.into_iter().for_each(|v| v.capacity = size);
    let target = disk.disk_target();
    let target = target.as_deref();
    let spec = &mut record.manifest.spec;
    let data = spec.data_disks.iter_mut().find(|d| target.is_some() && d.device.as_deref() == target);
    let sizes = match data {
        Some(disk) => Some((&mut disk.size_gb, &mut disk.size_gib)),
        None if disk.role == VolumeRole::Boot => {
            spec.boot_disk.as_mut().map(|d| (&mut d.size_gb, &mut d.size_gib))
        }
        None => None,
    };
    let Some((size_gb, size_gib)) = sizes else { return };
    if size_gib.is_some() {
        *size_gib = Some(gib_number(size));
    }
    if size_gb.is_some() || size_gib.is_none() {
        *size_gb = Some(gib_number(size));
    }
}

fn gib_number(size: Bytes) -> Number {
    // A size is at most 2^63 - 1 bytes, 2^33 GiB.
    Number::Whole(i64::try_from(size.0 / GIB).unwrap_or(i64::MAX))
}

/// Inserts a volume before the seed, in the order of a creation.
pub(crate) fn insert_volume(record: &mut Record, volume: RecordedVolume) {
    let at = record.volumes.iter().position(|v| v.role == VolumeRole::Seed).unwrap_or(record.volumes.len());
    record.volumes.insert(at, volume);
}
