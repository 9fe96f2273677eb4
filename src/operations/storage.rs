//! The host's storage as a whole.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Session;
use crate::error::Error;
use crate::host::Pool;
use crate::units::Bytes;

/// What the pools of a host have together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Each pool.
    pub pools: Vec<PoolStatus>,
    /// Bytes of all file systems together; one that several pools are on counts once.
    pub capacity: Bytes,
    /// Bytes left on them.
    pub available: Bytes,
    /// Bytes that the volumes can grow to.
    pub promised: Bytes,
}

/// One pool in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is started.
    pub active: bool,
    /// Bytes of its file system or device.
    pub capacity: Bytes,
    /// Bytes left there.
    pub available: Bytes,
    /// How many volumes it has.
    pub volumes: usize,
    /// Bytes that its volumes take.
    pub allocation: Bytes,
    /// Bytes that its volumes can grow to.
    pub promised: Bytes,
}

/// Looks at all pools; changes nothing.
///
/// # Errors
/// The host's.
pub fn status(session: &Session<'_>) -> Result<StorageStatus, Error> {
    let mut pools = session.host.pools()?;
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    let pools = pools.iter().map(|p| look(session, p)).collect::<Result<Vec<_>, Error>>()?;
    // libvirt does not say which file system a directory is on; two with the same size and the same
    // space left at the same moment are taken for one.
    let mut seen = BTreeSet::new();
    let distinct: Vec<&PoolStatus> =
        pools.iter().filter(|p| p.active && seen.insert((p.capacity, p.available))).collect();
    Ok(StorageStatus {
        capacity: sum(distinct.iter().map(|p| p.capacity)),
        available: sum(distinct.iter().map(|p| p.available)),
        promised: sum(pools.iter().map(|p| p.promised)),
        pools,
    })
}

fn look(session: &Session<'_>, pool: &Pool) -> Result<PoolStatus, Error> {
    let volumes = if pool.active { session.host.volumes(&pool.name)? } else { Vec::new() };
    Ok(PoolStatus {
        name: pool.name.clone(),
        kind: pool.kind.clone(),
        active: pool.active,
        capacity: pool.capacity,
        available: pool.available,
        volumes: volumes.len(),
        allocation: sum(volumes.iter().map(|v| v.allocation)),
        promised: sum(volumes.iter().map(|v| v.capacity)),
    })
}

fn sum(sizes: impl Iterator<Item = Bytes>) -> Bytes {
    sizes.fold(Bytes(0), Bytes::saturating_add)
}
