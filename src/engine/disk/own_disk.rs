//! Decides which disk of a domain is on which volume of its record.
//!
//! It is the volume that counts, not the guest's name of the disk: virt-manager gives a disk on another bus another
//! target, and `virsh edit` swaps two. Nor is it the path in the record: whoever moves a pool gives its volumes, and the
//! domain, other paths, and pool and name stay.

use crate::Context;
use crate::storage::usage::file_identity;
use foundry_core::error::Error;
use foundry_core::record::{Record, RecordedVolume};
use foundry_host::libvirt_xml::{DiskDescription, DiskSource, DomainDescription};

/// Whether a disk is on that very volume, with nothing in between.
pub(crate) fn is_on(disk: &DiskDescription, volume: &RecordedVolume) -> bool {
    match &disk.source {
        DiskSource::Volume { pool, volume: name } => *pool == volume.pool && *name == volume.name,
        source => source.path() == Some(&volume.path),
    }
}

/// The disk of a description that is on that very volume.
pub(crate) fn disk_on<'d>(
    described: &'d DomainDescription,
    volume: &RecordedVolume,
) -> Option<&'d DiskDescription> {
    described.disks.iter().find(|disk| is_on(disk, volume))
}

/// The volume of the record that a disk is on, or that lies below it. Else, the one that was made for its target, if no
/// disk of these descriptions is on that: something took its place.
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

/// Takes the paths of volumes that were moved with their pool: where a disk of the domain is on what that pool has by
/// that name now, that is where the volume is. Asks only where there are disks that the record does not name.
///
/// # Errors
/// The host's.
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
        // The domain's own word for the path is the one that its disks are compared by.
        if let Some(path) = unknown.iter().find(has_it).and_then(|disk| disk.source.path()) {
            path.clone_into(&mut volume.path);
        }
    }
    Ok(())
}

/// Whether two paths lead to one file. Where the kernel can be asked, it says.
pub(crate) fn is_same_file(context: &Context, one: &str, other: &str) -> bool {
    let same = || file_identity(one).zip(file_identity(other)).is_some_and(|(one, other)| one == other);
    one == other || (context.host.is_local() && same())
}
