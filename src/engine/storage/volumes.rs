//! Creates the volumes of a VM.

use super::backend::PoolBackend;
use crate::Context;
use crate::Step;
use crate::interruptible::Interruptible;
use crate::preflight::storage::ReadyStorage;
use crate::vm::created::CreatedResource;
use crate::vm::journal::Journal;
use foundry_core::error::{Code, Error, Kind};
use foundry_core::plan::DiskFormat;
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_host::Volume;

pub(crate) fn make_disk(
    context: &Context,
    storage: &ReadyStorage,
    planned: &RecordedVolume,
    creation: &mut Journal,
) -> Result<(), Error> {
    context.report_started(Step::CreateVolume(planned.reference()));
    let backend = storage.backend;
    let image = storage.image.as_ref().filter(|_| planned.role == VolumeRole::Boot);
    // A Ceph clone depends on its image by itself; libvirt accepts no backing file for it.
    let overlaid = planned.backing.clone().filter(|_| backend == PoolBackend::Files);
    let format = match storage.linked_chain(&planned.reference()) {
        Some(chain) => chain.first().map(|below| below.format.clone()),
        None => image.map(|image| image.format.clone()),
    };
    let xml = volume_xml(planned, backend.allocation(planned.capacity), overlaid.zip(format))?;
    let note = CreatedResource::Volume(Box::new(planned.clone()));
    // A qcow2 disk is an overlay; only a raw one is copied from its image.
    let source = image.and_then(|i| i.volume.as_ref()).filter(|_| planned.format == DiskFormat::Raw.as_str());
    let made = match source {
        Some(source) => {
            creation.note_result(context, note, context.host.clone_volume(&planned.pool, &xml, source))?
        }
        None => creation.note_result(context, note, context.host.create_volume(&planned.pool, &xml))?,
    };
    // A clone at Ceph has the image's size, whatever was asked for.
    if source.is_some() && made.capacity < planned.capacity {
        context.host.resize_volume(&planned.reference(), planned.capacity)?;
    }
    check_path(planned, &made)
}

pub(crate) fn volume_xml(
    planned: &RecordedVolume,
    allocation: Bytes,
    backing: Option<(String, String)>,
) -> Result<String, Error> {
    Ok(storage_xml::render_volume(&VolumeSpec {
        name: planned.name.clone(),
        format: planned.format.clone(),
        capacity: planned.capacity,
        allocation,
        backing,
    })?)
}

/// Checks that a volume is at its planned path. The domain is defined with that path, so a pool that puts volumes
/// elsewhere would leave the VM without its disk.
pub(crate) fn check_path(planned: &RecordedVolume, made: &Volume) -> Result<(), Error> {
    if made.path == planned.path {
        return Ok(());
    }
    Err(Error::new(
        Code::PoolUnfit,
        format!("volume '{}' was created at {}, not at {}", planned.name, made.path, planned.path),
    )
    .hint(format!(
        "pool '{}' does not keep its volumes in its target directory; use a pool of type dir",
        planned.pool
    )))
}

/// Creates and fills the seed. It takes its whole size at once, so that a full disk is noticed here and not during the
/// upload, in which libvirtd 11.3 would crash.
pub(crate) fn fill_seed(
    context: &Context,
    planned: &RecordedVolume,
    iso: &[u8],
    creation: &mut Journal,
) -> Result<(), Error> {
    let xml = volume_xml(planned, planned.capacity, None)?;
    let note = CreatedResource::Volume(Box::new(planned.clone()));
    let made = creation.note_result(context, note, context.host.create_volume(&planned.pool, &xml))?;
    check_path(planned, &made)?;
    if made.capacity.0 < iso.len() as u64 {
        // An upload past the volume's end would crash libvirtd 11.3.
        let message = format!("volume '{}' has {}, less than the seed", planned.name, made.capacity);
        return Err(Error::new(Kind::Storage, message));
    }
    let mut content = Interruptible { content: iso, cancel: &context.cancel };
    Ok(context.host.upload_all(&planned.reference(), &mut content, iso.len() as u64)?)
}
