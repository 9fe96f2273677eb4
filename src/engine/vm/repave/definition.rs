//! Puts a definition on the other boot disk and the other seed, with the record, in one text.
//!
//! The definition is edited in place: the places of all devices in the guest stay.

use uuid::Uuid;

use foundry_core::domain_xml::{
    DiskLocation, DiskParts, render_disk_parts, render_seed_controller, render_seed_disk,
};
use foundry_core::error::{Code, Error};
use foundry_core::record::{Record, RecordedVolume, VolumeRole};
use foundry_host::libvirt_xml::DomainDescription;
use foundry_host::libvirt_xml::edit::set_record;
use foundry_host::libvirt_xml::edit_boot::{
    add_device, has_controller, remove_disk, set_disk_parts, set_generation_id,
};

use crate::Context;
use crate::disk::own_disk::disk_on;
use crate::storage::backend::PoolBackend;
use crate::vm::seed::find_drive;

/// Changes the definition from the volumes of `before` to those of `after`, with `after` as its record.
///
/// # Errors
/// If the definition has no disk on the boot disk of `before`.
pub(super) fn exchange_disks(
    context: &Context,
    xml: &str,
    before: &Record,
    after: &Record,
    backing_format: Option<String>,
) -> Result<String, Error> {
    let described = DomainDescription::read(xml)?;
    let of = |record: &'_ Record, role| record.volumes.iter().find(|v| v.role == role).cloned();
    let (Some(old), Some(new)) = (of(before, VolumeRole::Boot), of(after, VolumeRole::Boot)) else {
        return Err(no_boot_disk(&described.name));
    };
    let disk = disk_on(&described, &old).ok_or_else(|| no_boot_disk(&described.name))?;
    let xml = set_disk_parts(xml, &disk.target, &disk_parts(context, &new, backing_format)?)?;
    let old_seed = of(before, VolumeRole::Seed);
    let drive = old_seed.and_then(|seed| find_drive(&described, &seed)).map(|drive| drive.target.clone());
    let xml = exchange_seed(context, xml, drive.as_deref(), of(after, VolumeRole::Seed).as_ref())?;
    let xml = set_generation_id(&xml, Uuid::new_v4())?;
    Ok(set_record(&xml, &after.to_text()?)?)
}

fn exchange_seed(
    context: &Context,
    xml: String,
    drive: Option<&str>,
    new: Option<&RecordedVolume>,
) -> Result<String, Error> {
    match (drive, new) {
        (Some(target), Some(new)) => Ok(set_disk_parts(&xml, target, &disk_parts(context, new, None)?)?),
        (Some(target), None) => Ok(remove_disk(&xml, target)?),
        (None, Some(new)) => {
            let xml = match has_controller(&xml, "scsi")? {
                true => xml,
                false => add_device(&xml, &render_seed_controller()?)?,
            };
            Ok(add_device(&xml, &render_seed_disk(&location_of(context, new, None)?)?)?)
        }
        (None, None) => Ok(xml),
    }
}

fn disk_parts(
    context: &Context,
    volume: &RecordedVolume,
    backing_format: Option<String>,
) -> Result<DiskParts, Error> {
    let is_told = volume.backing.is_none() || backing_format.is_some();
    let parts = render_disk_parts(&location_of(context, volume, backing_format)?, &volume.format)?;
    // Without its format, the file below cannot be named. An empty chain would hide it; without any, libvirt reads it.
    Ok(if is_told { parts } else { DiskParts { below: None, ..parts } })
}

/// Where a volume is, for the domain's XML.
fn location_of(
    context: &Context,
    volume: &RecordedVolume,
    backing_format: Option<String>,
) -> Result<DiskLocation, Error> {
    let pool = context.host.pool(&volume.pool)?;
    let pool = pool.and_then(|pool| Some((PoolBackend::of(&pool.kind)?, pool.source)));
    let Some((backend, source)) = pool else {
        let message = format!("pool '{}' with volume '{}' no longer exists", volume.pool, volume.name);
        return Err(Error::new(Code::PoolMissing, message));
    };
    let own = backend.disk_source(&volume.path, &source);
    Ok(match (&volume.backing, backing_format) {
        (Some(image), Some(format)) if backend == PoolBackend::Files => DiskLocation::Overlay {
            own: Box::new(own),
            image: Box::new(DiskLocation::File(image.clone())),
            format,
        },
        _ => own,
    })
}

fn no_boot_disk(vm: &str) -> Error {
    let message = format!("VM '{vm}' is not on its own boot disk any more");
    Error::new(Code::ChangedMeanwhile, message).because("another program changed its definition")
}
