//! Which files belong to a domain beyond the ones its record names, and who else uses them.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Session;
use super::preflight::record_of;
use crate::error::Error;
use crate::host::libvirt_xml::{DiskDescription, DiskSource, DomainDescription};
use crate::host::{Domain, View, Volume};

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
///
/// libvirt shows what a disk lies on only while its domain runs; the record of one of foundry's names it
/// always.
pub(super) fn other_users(
    session: &Session<'_>,
    except: Uuid,
    volumes: &[(String, String, String)],
) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for other in session.host.domains(false)?.into_iter().filter(|d| d.uuid != except) {
        let backing: Vec<String> =
            record_of(&other).into_iter().flat_map(|r| r.volumes).filter_map(|v| v.backing).collect();
        let disks = describe(session, &other)?.map(|d| d.disks).unwrap_or_default();
        for (pool, name, path) in volumes {
            if backing.contains(path) || disks.iter().any(|disk| uses(disk, pool, name, path)) {
                users.entry(path.clone()).or_default().push(other.name.clone());
            }
        }
    }
    Ok(users)
}

/// What a listed domain is made of; `None` where it vanished since. That it cannot be seen for another reason
/// is no sign that it uses nothing.
pub(super) fn describe(session: &Session<'_>, listed: &Domain) -> Result<Option<DomainDescription>, Error> {
    match session.host.domain_xml(listed.uuid, View::Current) {
        Ok(xml) => Ok(Some(DomainDescription::read(&xml)?)),
        Err(failed) if failed.outcome_unknown() => Err(failed.into()),
        Err(refused) => match session.host.state(listed.uuid)? {
            None => Ok(None),
            Some(_) => Err(refused.into()),
        },
    }
}

fn uses(disk: &DiskDescription, pool: &str, name: &str, path: &str) -> bool {
    let by_volume =
        matches!(&disk.source, DiskSource::Volume { pool: p, volume: v } if p == pool && v == name);
    by_volume || disk.files().any(|file| file.as_os_str() == path)
}
