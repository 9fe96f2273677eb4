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

/// What the pools of a host have together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Each file system or device that started pools are on, once.
    pub file_systems: Vec<FileSystem>,
    /// Each pool.
    pub pools: Vec<PoolStatus>,
    /// Bytes of all file systems together.
    pub capacity: Bytes,
    /// Bytes left on them.
    pub available: Bytes,
    /// Bytes that guests see on all volumes, images included.
    pub promised: Bytes,
    /// Bytes by which the disks can grow.
    pub growth: Bytes,
    /// The images of all pools.
    pub images: Tally,
    /// The disks of all pools.
    pub disks: Tally,
    /// What is in the pool of VM disks and belongs to nobody.
    pub orphans: Vec<Orphan>,
}

/// A file system, or the device of a pool that is on none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSystem {
    /// Names of the pools on it.
    pub pools: Vec<String>,
    /// Its bytes.
    pub capacity: Bytes,
    /// Bytes that are taken, by whatever.
    pub allocation: Bytes,
    /// Bytes that are left.
    pub available: Bytes,
    /// Bytes by which the disks on it can grow: what guests have not written to yet.
    pub growth: Bytes,
    /// How much of that growth has no room.
    pub overcommit: Bytes,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
    /// Bytes that guests see on its volumes.
    pub promised: Bytes,
    /// Bytes by which the disks in it can grow.
    pub growth: Bytes,
    /// What VMs are made from: all of the image pool, and what disks of other pools lie on.
    pub images: Tally,
    /// What VMs have, and what those lie on in the pool of VM disks.
    pub disks: Tally,
    /// Volumes in the pool of VM disks that belong to no VM and that no overlay is based on.
    pub orphans: Tally,
}

/// Some volumes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// How many.
    pub count: usize,
    /// Bytes that they take.
    pub allocation: Bytes,
    /// Bytes that a guest sees.
    pub capacity: Bytes,
}

/// A volume that belongs to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// Bytes that it takes.
    pub allocation: Bytes,
    /// Bytes that a guest would see.
    pub capacity: Bytes,
}

/// Looks at all pools, each anew (libvirt knows what was left when it looked last), and at who uses what
/// is in them. Changes nothing.
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
    // Two pools may be of one directory: what is in it is there once.
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

/// Each file once, as foundry's own pools have it.
fn distinct_files<'a>(context: &Context, parts: &[(&'a Volume, VolumeUse)]) -> Vec<(&'a Volume, VolumeUse)> {
    let own = [context.settings.vm_pool.as_str(), context.settings.image_pool.as_str()];
    let mut sorted: Vec<(&Volume, VolumeUse)> = parts.to_vec();
    sorted.sort_by_key(|(volume, _)| !own.contains(&volume.pool.as_str()));
    let mut seen = BTreeSet::new();
    let mut is_new = |volume: &Volume| {
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
    /// A note on an image, or in a pool that other things may be in, too.
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

/// By how much a volume can grow. An overlay grows to all that its guest sees, whatever of that it reads from
/// below; what is below is not written to.
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

/// The file systems of the started pools, in the order of the first pool on each.
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

/// On this machine the kernel tells; elsewhere nobody does, and two pools with the same size and nearly the
/// same space left (the second was asked a moment later) are taken for one file system. What is no directory
/// is a pool of its own.
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
