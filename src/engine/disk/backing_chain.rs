//! Finds the files of a domain beyond the ones that its record names.

use crate::Context;
use crate::storage::usage;
use foundry_core::error::Error;
use foundry_core::record::RecordedVolume;
use foundry_host::Volume;
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};

/// The longest chain of overlays that is followed; QEMU's own limit is 200.
const LONGEST_CHAIN: usize = 200;

/// Finds the overlays that external snapshots put on a domain's own volumes: disks that the record does
/// not name and whose chain of backing files ends in a volume that it names. Newest first.
pub(crate) fn snapshot_overlays(
    context: &Context,
    domain: &DomainDescription,
    recorded: &[String],
) -> Result<Vec<Volume>, Error> {
    let mut found = Vec::new();
    for disk in &domain.disks {
        if let DiskSource::File(path) = &disk.source
            && !recorded.contains(path)
        {
            found.extend(chain_to(context, path, recorded)?);
        }
    }
    Ok(found)
}

/// Whether a file surely lies on that volume, however many others are between.
///
/// # Errors
/// The host's.
pub(crate) fn lies_on(context: &Context, path: &str, volume: &RecordedVolume) -> Result<bool, Error> {
    // libvirt does not know the files that snapshots made until it looks again.
    usage::refresh_pool(context, &volume.pool)?;
    Ok(!chain_to(context, path, std::slice::from_ref(&volume.path))?.is_empty())
}

/// The volumes from `path` down to the first recorded one; empty where the chain ends elsewhere.
fn chain_to(context: &Context, path: &str, recorded: &[String]) -> Result<Vec<Volume>, Error> {
    let mut chain = Vec::new();
    let mut next = path.to_owned();
    for _ in 0..LONGEST_CHAIN {
        let Some(volume) = context.host.volume_at(&next)? else { break };
        let below = volume.backing.clone();
        chain.push(volume);
        match below {
            Some(below) if recorded.contains(&below) => return Ok(chain),
            Some(below) => next = below,
            None => break,
        }
    }
    Ok(Vec::new())
}
