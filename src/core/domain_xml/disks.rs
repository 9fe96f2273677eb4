//! The disks of a domain: element, source, and the chain of files below.

use super::elements::{
    BackingFormat, BackingStore, Boot, Device, DiskElement, DiskTargetElement, Driver, Empty, SourceAuth,
    SourceElement, SourceHost, SourceSecret,
};
use crate::names::DiskSerial;
use crate::plan::{DataDiskPlan, DiskFormat, VmPlan};
use crate::pool::{PoolAuth, Secret, Server};

/// How a disk's volume is referenced in the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskLocation {
    /// By pool and volume, for a rendering without a host.
    Volume {
        /// Name of the pool.
        pool: String,
        /// Name of the volume.
        volume: String,
    },
    /// By path. On AppArmor hosts, only this form gives QEMU access to the backing chain.
    File(String),
    /// By the path of a block device.
    Block(String),
    /// A Ceph image, which QEMU accesses directly.
    Rbd {
        /// `POOL/IMAGE`, Ceph's names.
        image: String,
        /// Addresses of Ceph's monitors.
        monitors: Vec<Server>,
        /// Login at Ceph, if it requires one.
        auth: Option<PoolAuth>,
    },
    /// An overlay.
    Overlay {
        /// Location of the overlay.
        own: Box<DiskLocation>,
        /// Location of the file below it: an image, or another overlay.
        image: Box<DiskLocation>,
        /// Format of the file below it.
        format: String,
    },
}

impl DiskLocation {
    /// Returns the format of the stored data. Only a file can have another format than raw.
    pub(super) fn stored_format<'a>(&self, planned: &'a str) -> &'a str {
        match self {
            Self::Volume { .. } | Self::File(_) => planned,
            Self::Block(_) | Self::Rbd { .. } => "raw",
            Self::Overlay { own, .. } => own.stored_format(planned),
        }
    }

    /// Returns the location of the disk itself, without its backing image.
    pub(super) fn without_overlay(&self) -> &Self {
        match self {
            Self::Overlay { own, .. } => own,
            other => other,
        }
    }
}

/// The disks of a VM: boot disk, data disks, seed; `locations` has one for each, in this order.
pub(super) fn disk_elements<'a>(plan: &'a VmPlan, locations: &'a [DiskLocation]) -> Vec<Device<'a>> {
    let mut sources = locations.iter();
    let boot = sources.next().map(|source| boot_disk_element(plan, source));
    let data = plan.data_disks.iter().zip(sources).map(|(disk, source)| data_disk_element(disk, source));
    let mut list: Vec<Device<'a>> =
        boot.into_iter().chain(data).map(|disk| Device::Disk(Box::new(disk))).collect();
    if let (Some(_), Some(source)) = (&plan.seed, locations.get(list.len())) {
        list.push(Device::Disk(Box::new(seed_element(source))));
    }
    list
}

fn boot_disk_element<'a>(plan: &'a VmPlan, source: &'a DiskLocation) -> DiskElement<'a> {
    DiskElement { boot: Some(Boot { order: 1 }), ..disk_element("vda", plan.boot_disk.format, "vda", source) }
}

pub(super) fn data_disk_element<'a>(data: &'a DataDiskPlan, source: &'a DiskLocation) -> DiskElement<'a> {
    let target = data.target.as_str();
    disk_element(target, data.format, data.serial.as_ref().map_or(target, DiskSerial::as_str), source)
}

/// `discard=unmap` returns freed space to the host. The serial makes the disk available as `/dev/disk/by-id/virtio-vdb`
/// in the guest, in whatever order the kernel finds the disks.
fn disk_element<'a>(
    target: &'a str,
    format: DiskFormat,
    serial: &'a str,
    source: &'a DiskLocation,
) -> DiskElement<'a> {
    DiskElement {
        kind: source_kind(source),
        device: "disk",
        driver: driver_element(source.without_overlay(), source.stored_format(format.as_str())),
        source: source_element(source),
        below: backing_store(source),
        target: DiskTargetElement { dev: target, bus: "virtio" },
        readonly: None,
        serial: Some(serial),
        boot: None,
    }
}

/// Writes the whole backing chain, including its end. Without it, libvirt reads the chain from the image files at each
/// start, and gives QEMU access to every file they name. Ceph manages the chain of its images itself.
pub(super) fn backing_store(source: &DiskLocation) -> Option<BackingStore<'_>> {
    match source {
        DiskLocation::Rbd { .. } => None,
        DiskLocation::Overlay { image, format, .. } => Some(BackingStore {
            kind: Some(source_kind(image)),
            format: Some(BackingFormat { kind: format }),
            source: Some(source_element(image)),
            below: Some(Box::new(backing_store(image).unwrap_or_default())),
        }),
        DiskLocation::Volume { .. } | DiskLocation::File(_) | DiskLocation::Block(_) => {
            Some(BackingStore::default())
        }
    }
}

/// `cache=none` avoids caching data twice, in the host and in the guest. On a block device, it also allows the kernel's
/// native asynchronous I/O, which may block on a sparse file. For Ceph the cache mode is left unset: `none` would turn
/// off the client's own cache (Ceph's docs, "QEMU and block devices"); flushes of the guest pass through that cache.
fn driver_element<'a>(source: &DiskLocation, format: &'a str) -> Driver<'a> {
    let (cache, io) = match source {
        DiskLocation::Block(_) => (Some("none"), Some("native")),
        DiskLocation::Rbd { .. } => (None, None),
        DiskLocation::Volume { .. } | DiskLocation::File(_) | DiskLocation::Overlay { .. } => {
            (Some("none"), None)
        }
    };
    Driver { name: "qemu", kind: format, cache, io, discard: Some("unmap") }
}

/// The seed is a CD-ROM on virtio-scsi instead of SATA: cloud kernels have no AHCI driver and would not see it.
pub(super) fn seed_element(source: &DiskLocation) -> DiskElement<'_> {
    DiskElement {
        kind: source_kind(source),
        device: "cdrom",
        driver: Driver { name: "qemu", kind: "raw", cache: None, io: None, discard: None },
        source: source_element(source),
        below: backing_store(source),
        target: DiskTargetElement { dev: "sda", bus: "scsi" },
        readonly: Some(Empty {}),
        serial: None,
        boot: None,
    }
}

pub(super) fn source_kind(source: &DiskLocation) -> &'static str {
    match source.without_overlay() {
        DiskLocation::Volume { .. } => "volume",
        DiskLocation::File(_) => "file",
        DiskLocation::Block(_) => "block",
        DiskLocation::Rbd { .. } => "network",
        // `without_overlay` never returns an overlay; the match must cover it all the same.
        DiskLocation::Overlay { own, .. } => source_kind(own),
    }
}

pub(super) fn source_element(source: &DiskLocation) -> SourceElement<'_> {
    let none = SourceElement::default();
    match source.without_overlay() {
        DiskLocation::Volume { pool, volume } => {
            SourceElement { pool: Some(pool), volume: Some(volume), ..none }
        }
        DiskLocation::File(path) => SourceElement { file: Some(path), ..none },
        DiskLocation::Block(path) => SourceElement { dev: Some(path), ..none },
        DiskLocation::Rbd { image, monitors, auth } => SourceElement {
            protocol: Some("rbd"),
            name: Some(image),
            hosts: monitors.iter().map(|m| SourceHost { name: &m.host, port: m.port }).collect(),
            auth: auth.as_ref().map(|a| Box::new(auth_element(a))),
            ..none
        },
        DiskLocation::Overlay { own, .. } => source_element(own),
    }
}

fn auth_element(auth: &PoolAuth) -> SourceAuth<'_> {
    let (uuid, usage) = match &auth.secret {
        Secret::Uuid(uuid) => (Some(uuid.to_string()), None),
        Secret::Usage(usage) => (None, Some(usage.as_str())),
    };
    SourceAuth { user: &auth.user, secret: SourceSecret { kind: "ceph", uuid, usage } }
}
