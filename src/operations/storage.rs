//! The host's storage as a whole.

use std::os::unix::fs::MetadataExt;

use serde::Serialize;

use super::{Session, usage};
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
    /// Its directory or device on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
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

/// Looks at all pools, each anew: libvirt knows what was left when it looked last. Changes nothing.
///
/// # Errors
/// The host's.
pub fn status(session: &Session<'_>) -> Result<StorageStatus, Error> {
    usage::refresh_all(session)?;
    let mut pools = session.host.pools()?;
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    let pools = pools.iter().map(|p| look(session, p)).collect::<Result<Vec<_>, Error>>()?;
    let mut distinct: Vec<&PoolStatus> = Vec::new();
    for pool in pools.iter().filter(|p| p.active) {
        if !distinct.iter().any(|known| same_file_system(session, known, pool)) {
            distinct.push(pool);
        }
    }
    Ok(StorageStatus {
        capacity: sum(distinct.iter().map(|p| p.capacity)),
        available: sum(distinct.iter().map(|p| p.available)),
        promised: sum(pools.iter().map(|p| p.promised)),
        pools,
    })
}

fn look(session: &Session<'_>, pool: &Pool) -> Result<PoolStatus, Error> {
    let volumes = if pool.active { usage::volumes(session, &pool.name)? } else { Vec::new() };
    Ok(PoolStatus {
        name: pool.name.clone(),
        kind: pool.kind.clone(),
        active: pool.active,
        target: pool.target.clone(),
        capacity: pool.capacity,
        available: pool.available,
        volumes: volumes.len(),
        allocation: sum(volumes.iter().map(|v| v.allocation)),
        promised: sum(volumes.iter().map(|v| v.capacity)),
    })
}

/// On this machine the kernel tells; elsewhere nobody does, and two pools with the same size and nearly the
/// same space left (the second was asked a moment later) are taken for one file system.
fn same_file_system(session: &Session<'_>, a: &PoolStatus, b: &PoolStatus) -> bool {
    let device = |pool: &PoolStatus| {
        let path = pool.target.as_deref().filter(|_| session.host.is_local())?;
        std::fs::metadata(path).ok().map(|m| m.dev())
    };
    match (device(a), device(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a.capacity == b.capacity && a.available.0.abs_diff(b.available.0) < a.capacity.0 / 1000,
    }
}

fn sum(sizes: impl Iterator<Item = Bytes>) -> Bytes {
    sizes.fold(Bytes(0), Bytes::saturating_add)
}
