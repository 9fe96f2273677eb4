//! Which files belong to a domain beyond the ones its record names, and who else uses them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Session;
use crate::error::Error;
use crate::host::libvirt_xml::{DiskDescription, DiskSource, DomainDescription};
use crate::host::{View, Volume};

/// The longest chain of overlays that is followed; QEMU's own limit is 200.
const LONGEST_CHAIN: usize = 200;

/// Finds the overlays that external snapshots put on a domain's own volumes: disks that the record does
/// not name and whose chain of backing files ends in a volume that it names. Newest first.
pub(super) fn snapshot_overlays(
    session: &Session<'_>,
    domain: &DomainDescription,
    recorded: &[String],
) -> Result<Vec<Volume>, Error> {
    let mut found = Vec::new();
    for disk in &domain.disks {
        if let DiskSource::File(path) = &disk.source
            && !recorded.contains(path)
        {
            found.extend(chain_to(session, path, recorded)?);
        }
    }
    Ok(found)
}

/// The volumes from `path` down to the first recorded one; empty where the chain ends elsewhere.
fn chain_to(session: &Session<'_>, path: &str, recorded: &[String]) -> Result<Vec<Volume>, Error> {
    let mut chain = Vec::new();
    let mut next = path.to_owned();
    for _ in 0..LONGEST_CHAIN {
        let Some(volume) = session.host.volume_at(&next)? else { break };
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

/// For each of the volumes that another domain uses too, the names of those domains.
pub(super) fn other_users(
    session: &Session<'_>,
    except: Uuid,
    volumes: &[(String, String, String)],
) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for other in session.host.domains(false)?.into_iter().filter(|d| d.uuid != except) {
        // One that vanished since the listing uses nothing.
        let Ok(xml) = session.host.domain_xml(other.uuid, View::Current) else { continue };
        let Ok(described) = DomainDescription::read(&xml) else { continue };
        for (pool, name, path) in volumes {
            if described.disks.iter().any(|disk| uses(disk, pool, name, path)) {
                users.entry(path.clone()).or_default().push(other.name.clone());
            }
        }
    }
    Ok(users)
}

fn uses(disk: &DiskDescription, pool: &str, name: &str, path: &str) -> bool {
    let by_volume =
        matches!(&disk.source, DiskSource::Volume { pool: p, volume: v } if p == pool && v == name);
    by_volume || disk.files().any(|file| file.as_os_str() == path)
}
