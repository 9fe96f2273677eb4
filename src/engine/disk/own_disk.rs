//! Decides which disk of a domain is on which volume of its record.
//!
//! Disks are matched by volume, not by target: virt-manager changes the target when it changes the bus, and with
//! `virsh edit` two disks can be swapped. Nor are they matched by the recorded path alone: if a pool is moved, its
//! volumes get other paths, in the domain, too, but keep pool and name.

use crate::Context;
use crate::storage::usage::file_identity;
use foundry_core::error::Error;
use foundry_core::record::{Record, RecordedVolume};
use foundry_host::libvirt_xml::{DiskDescription, DiskSource, DomainDescription};

/// Returns whether a disk is directly on the volume, without an overlay in between.
pub(crate) fn is_on(disk: &DiskDescription, volume: &RecordedVolume) -> bool {
    match &disk.source {
        DiskSource::Volume { pool, volume: name } => *pool == volume.pool && *name == volume.name,
        source => source.path() == Some(&volume.path),
    }
}

/// Finds the disk of a description that is directly on the volume.
pub(crate) fn disk_on<'d>(
    described: &'d DomainDescription,
    volume: &RecordedVolume,
) -> Option<&'d DiskDescription> {
    described.disks.iter().find(|disk| is_on(disk, volume))
}

/// Finds the recorded volume that a disk is on, directly or through its backing chain. If there is none, returns the
/// volume that was created for the disk's target, provided that no disk of these descriptions is on it: then the disk
/// was replaced.
pub(crate) fn recorded_of<'r>(
    volumes: &'r [RecordedVolume],
    views: &[&DomainDescription],
    disk: &DiskDescription,
) -> Option<&'r RecordedVolume> {
    let lies_below = |volume: &&RecordedVolume| disk.backing_chain.contains(&volume.path);
    let is_replaced = |volume: &&RecordedVolume| {
        volume.disk_target().as_ref() == Some(&disk.target)
            && !views.iter().any(|described| disk_on(described, volume).is_some())
    };
    let of = volumes.iter();
    let found = of.clone().find(|volume| is_on(disk, volume)).or_else(|| of.clone().find(lies_below));
    found.or_else(|| of.clone().find(is_replaced))
}

/// Updates the paths of volumes that were moved with their pool: if a disk of the domain is on the file that the pool
/// now has by the volume's name, that is the volume's new path. It queries the host only if the domain has disks that
/// the record does not name.
///
/// # Errors
/// A failed call to the host.
pub(crate) fn follow_moves(
    context: &Context,
    record: &mut Record,
    views: &[&DomainDescription],
) -> Result<(), Error> {
    let disks = || views.iter().flat_map(|described| &described.disks);
    let is_unknown = |disk: &&DiskDescription| {
        disk.source != DiskSource::None && !record.volumes.iter().any(|volume| is_on(disk, volume))
    };
    let unknown: Vec<&DiskDescription> = disks().filter(is_unknown).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    for volume in &mut record.volumes {
        if disks().any(|disk| is_on(disk, volume)) {
            continue;
        }
        let Some(found) = context.host.volume(&volume.reference())? else { continue };
        let has_it = |disk: &&&DiskDescription| {
            disk.source.path().is_some_and(|path| is_same_file(context, path, &found.path))
        };
        // The path is taken as the domain writes it, because disks are compared by that.
        if let Some(path) = unknown.iter().find(has_it).and_then(|disk| disk.source.path()) {
            path.clone_into(&mut volume.path);
        }
    }
    Ok(())
}

/// Returns whether two paths lead to the same file. On this machine, device and inode are compared, too.
pub(crate) fn is_same_file(context: &Context, one: &str, other: &str) -> bool {
    let same = || file_identity(one).zip(file_identity(other)).is_some_and(|(one, other)| one == other);
    one == other || (context.host.is_local() && same())
}
