//! Finds the overlays that snapshots put on a domain's volumes.

use crate::Context;
use crate::storage::usage;
use foundry_core::error::Error;
use foundry_core::record::RecordedVolume;
use foundry_host::Volume;
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};

/// The longest chain of overlays that is followed; QEMU's own limit is 200.
const LONGEST_CHAIN: usize = 200;

/// Finds the overlays that external snapshots put on a domain's own volumes, newest first: disks that the record does
/// not name and whose backing chain reaches a volume that it names.
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

/// Returns whether a file's backing chain certainly contains the volume, however many files are between them.
///
/// # Errors
/// A failed call to the host.
pub(crate) fn lies_on(context: &Context, path: &str, volume: &RecordedVolume) -> Result<bool, Error> {
    // Until a rescan, libvirt does not list files that snapshots created.
    usage::refresh_pool(context, &volume.pool)?;
    Ok(!chain_to(context, path, std::slice::from_ref(&volume.path))?.is_empty())
}

/// The paths of a file and of all files below it, as far as libvirt lists them; the newest first.
pub(crate) fn chain_of(context: &Context, path: &str) -> Result<Vec<String>, Error> {
    let mut chain = vec![path.to_owned()];
    while let Some(next) = chain.last().filter(|_| chain.len() < LONGEST_CHAIN)
        && let Some(below) = context.host.volume_at(next)?.and_then(|volume| volume.backing)
    {
        chain.push(below);
    }
    Ok(chain)
}

/// The volumes from `path` down to the first recorded one; empty if the chain does not reach one.
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
