//! Capacity and usage of the host's storage as a whole.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use schemars::JsonSchema;
use serde::Serialize;

use super::usage::{Usage, VolumeUse};
use crate::image::noted_image;
use crate::storage::usage;
use crate::{Context, Settings};
use foundry_core::error::Error;
use foundry_core::units::Bytes;
use foundry_host::{Pool, Volume};

/// The storage of a host: all pools together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// The file systems and devices of the started pools, each once.
    pub file_systems: Vec<FileSystem>,
    /// All pools, started or not.
    pub pools: Vec<PoolStatus>,
    /// Bytes of all file systems together.
    pub capacity: Bytes,
    /// Free bytes of all file systems together.
    pub available: Bytes,
    /// Bytes that guests see on all volumes, images included.
    pub promised: Bytes,
    /// Bytes by which the disks can grow.
    pub growth: Bytes,
    /// The images of all pools.
    pub images: Tally,
    /// The disks of all pools.
    pub disks: Tally,
    /// Unused volumes in the pool of VM disks.
    pub orphans: Vec<Orphan>,
}

/// A file system, or the device of a pool that uses none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSystem {
    /// Names of the pools on it.
    pub pools: Vec<String>,
    /// Size in bytes.
    pub capacity: Bytes,
    /// Used bytes, whatever uses them.
    pub allocation: Bytes,
    /// Free bytes.
    pub available: Bytes,
    /// Bytes by which the disks on it can grow: the parts that guests have not written yet.
    pub growth: Bytes,
    /// The part of that growth that does not fit.
    pub overcommit: Bytes,
}

/// The capacity and use of one pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// The pool's name in libvirt.
    pub name: String,
    /// libvirt's pool type, such as `dir`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it is started.
    pub active: bool,
    /// The directory or device on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Bytes of its file system or device.
    pub capacity: Bytes,
    /// Free bytes there.
    pub available: Bytes,
    /// Number of volumes.
    pub volumes: usize,
    /// Bytes that its volumes take.
    pub allocation: Bytes,
    /// Bytes that guests see on its volumes.
    pub promised: Bytes,
    /// Bytes by which the disks in it can grow.
    pub growth: Bytes,
    /// Images: all volumes of the image pool, and backing files in other pools.
    pub images: Tally,
    /// VM disks, and their backing files in the pool of VM disks.
    pub disks: Tally,
    /// Volumes in the pool of VM disks that no VM uses and no overlay is based on.
    pub orphans: Tally,
}

/// The totals of several volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Number of volumes.
    pub count: usize,
    /// Bytes that they take.
    pub allocation: Bytes,
    /// Bytes that guests see.
    pub capacity: Bytes,
}

/// An unused volume in the pool of VM disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// The pool's name.
    pub pool: String,
    /// The volume's name.
    pub name: String,
    /// The path on the host.
    pub path: String,
    /// Bytes that it takes.
    pub allocation: Bytes,
    /// Bytes that a guest would see.
    pub capacity: Bytes,
}

/// Collects the status of all pools. Pools are refreshed first, because libvirt caches sizes and volumes. Changes
/// nothing.
///
/// # Errors
/// The host's.
pub fn storage_status(context: &Context) -> Result<StorageStatus, Error> {
    usage::refresh_pools(context)?;
    let usage = Usage::collect(context, None)?;
    let parts = usage.volume_uses();
    let mut found = context.host.pools()?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let of_pools = |parts: &[(&Volume, VolumeUse)]| -> Vec<PoolStatus> {
        found.iter().map(|pool| pool_status(&context.settings, pool, parts)).collect()
    };
    let pools = of_pools(&parts);
    // Two pools may share a directory; its files count once in the totals.
    let distinct = distinct_files(context, &parts);
    let counted = of_pools(&distinct);
    let file_systems = file_systems(context, &found, &counted);
    Ok(StorageStatus {
        capacity: sum_bytes(file_systems.iter().map(|f| f.capacity)),
        available: sum_bytes(file_systems.iter().map(|f| f.available)),
        promised: sum_bytes(counted.iter().map(|p| p.promised)),
        growth: sum_bytes(counted.iter().map(|p| p.growth)),
        images: counted.iter().map(|p| p.images).fold(Tally::default(), Tally::plus),
        disks: counted.iter().map(|p| p.disks).fold(Tally::default(), Tally::plus),
        orphans: find_orphans(&context.settings, &distinct),
        file_systems,
        pools,
    })
}

/// Removes duplicates of files that several pools list; foundry's default pools take precedence.
fn distinct_files<'a>(context: &Context, parts: &[(&'a Volume, VolumeUse)]) -> Vec<(&'a Volume, VolumeUse)> {
    let own = [context.settings.vm_pool.as_str(), context.settings.image_pool.as_str()];
    let mut sorted: Vec<(&Volume, VolumeUse)> = parts.to_vec();
    sorted.sort_by_key(|(volume, _)| !own.contains(&volume.pool.as_str()));
    let mut seen = BTreeSet::new();
    let mut is_new = |volume: &Volume| {
        // Files of another machine can be told apart only by their paths.
        let identity = if context.host.is_local() { usage::file_identity(&volume.path) } else { None };
        seen.insert((identity, identity.is_none().then(|| volume.path.clone())))
    };
    sorted.retain(|(volume, _)| is_new(volume));
    sorted
}

/// What a volume is to foundry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VolumeKind {
    Image,
    Disk,
    Orphan,
    /// An origin note, or an unused volume of a pool that is not only foundry's.
    Other,
}

fn kind_of(settings: &Settings, volume: &Volume, part: VolumeUse) -> VolumeKind {
    let (is_for_vms, is_for_images) =
        (volume.pool == settings.vm_pool.as_str(), volume.pool == settings.image_pool.as_str());
    match part {
        _ if is_for_images && noted_image(&volume.name).is_some() => VolumeKind::Other,
        _ if is_for_images => VolumeKind::Image,
        VolumeUse::Unused if is_for_vms => VolumeKind::Orphan,
        VolumeUse::Unused => VolumeKind::Other,
        VolumeUse::Below if !is_for_vms => VolumeKind::Image,
        VolumeUse::Disk | VolumeUse::Below => VolumeKind::Disk,
    }
}

fn pool_status(settings: &Settings, pool: &Pool, parts: &[(&Volume, VolumeUse)]) -> PoolStatus {
    let own: Vec<(&Volume, VolumeUse)> = parts.iter().filter(|(v, _)| v.pool == pool.name).copied().collect();
    let of =
        |wanted| own.iter().filter(|(v, p)| kind_of(settings, v, *p) == wanted).map(|(v, _)| *v).collect();
    PoolStatus {
        name: pool.name.clone(),
        kind: pool.kind.clone(),
        active: pool.active,
        target: pool.target.clone(),
        capacity: pool.capacity,
        available: pool.available,
        volumes: own.len(),
        allocation: sum_bytes(own.iter().map(|(v, _)| v.allocation)),
        promised: sum_bytes(own.iter().map(|(v, _)| v.capacity)),
        growth: sum_bytes(own.iter().map(|(v, part)| growth_of(settings, v, *part))),
        images: of(VolumeKind::Image),
        disks: of(VolumeKind::Disk),
        orphans: of(VolumeKind::Orphan),
    }
}

/// The bytes by which a volume can grow. An overlay can grow to its full virtual size; a backing file does not grow,
/// because nothing writes to it.
fn growth_of(settings: &Settings, volume: &Volume, part: VolumeUse) -> Bytes {
    let is_written = part == VolumeUse::Disk && kind_of(settings, volume, part) == VolumeKind::Disk;
    Bytes(if is_written { volume.capacity.0.saturating_sub(volume.allocation.0) } else { 0 })
}

fn find_orphans(settings: &Settings, parts: &[(&Volume, VolumeUse)]) -> Vec<Orphan> {
    let mut orphans: Vec<Orphan> = parts
        .iter()
        .filter(|(volume, part)| kind_of(settings, volume, *part) == VolumeKind::Orphan)
        .map(|(volume, _)| Orphan {
            pool: volume.pool.clone(),
            name: volume.name.clone(),
            path: volume.path.clone(),
            allocation: volume.allocation,
            capacity: volume.capacity,
        })
        .collect();
    orphans.sort_by(|a, b| (&a.pool, &a.name).cmp(&(&b.pool, &b.name)));
    orphans
}

/// Groups the started pools by file system, in the order of the first pool on each.
fn file_systems(context: &Context, pools: &[Pool], looked: &[PoolStatus]) -> Vec<FileSystem> {
    let mut distinct: Vec<(&Pool, FileSystem)> = Vec::new();
    for (pool, status) in pools.iter().zip(looked).filter(|(pool, _)| pool.active) {
        match distinct.iter_mut().find(|(known, _)| same_file_system(context, known, pool)) {
            Some((_, known)) => known.add_pool(status),
            None => distinct.push((pool, FileSystem::of(pool, status))),
        }
    }
    distinct.into_iter().map(|(_, file_system)| file_system).collect()
}

impl FileSystem {
    fn of(pool: &Pool, status: &PoolStatus) -> Self {
        let mut file_system = Self {
            pools: Vec::new(),
            capacity: pool.capacity,
            allocation: pool.allocation,
            available: pool.available,
            growth: Bytes(0),
            overcommit: Bytes(0),
        };
        file_system.add_pool(status);
        file_system
    }

    fn add_pool(&mut self, pool: &PoolStatus) {
        self.pools.push(pool.name.clone());
        self.growth = self.growth.saturating_add(pool.growth);
        self.overcommit = Bytes(self.growth.0.saturating_sub(self.available.0));
    }
}

/// Returns whether two pools are on the same file system. On this machine the kernel's device numbers decide. On a
/// remote host, two directory pools with the same size and nearly the same free space (they are queried one after the
/// other) are taken for one. Any other pool has its own device.
fn same_file_system(context: &Context, a: &Pool, b: &Pool) -> bool {
    let is_directory = |pool: &Pool| matches!(pool.kind.as_str(), "dir" | "fs" | "netfs");
    let device = |pool: &Pool| {
        let path = pool.target.as_deref().filter(|_| context.host.is_local())?;
        std::fs::metadata(path).ok().map(|m| m.dev())
    };
    let is_alike = || a.capacity == b.capacity && a.available.0.abs_diff(b.available.0) < a.capacity.0 / 1000;
    is_directory(a)
        && is_directory(b)
        && match (device(a), device(b)) {
            (Some(a), Some(b)) => a == b,
            _ => is_alike(),
        }
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            allocation: self.allocation.saturating_add(other.allocation),
            capacity: self.capacity.saturating_add(other.capacity),
        }
    }
}

impl<'a> FromIterator<&'a Volume> for Tally {
    fn from_iter<T: IntoIterator<Item = &'a Volume>>(volumes: T) -> Self {
        let one = |v: &Volume| Self { count: 1, allocation: v.allocation, capacity: v.capacity };
        volumes.into_iter().map(one).fold(Self::default(), Self::plus)
    }
}

fn sum_bytes(sizes: impl Iterator<Item = Bytes>) -> Bytes {
    sizes.fold(Bytes(0), Bytes::saturating_add)
}
