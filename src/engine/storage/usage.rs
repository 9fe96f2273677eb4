//! Finds the users of a file. Everything that deletes a file asks here first.
//!
//! These use a file:
//!
//! * volumes that have it as a backing file, directly or through other overlays;
//! * domains that name the file or such a volume: in the running or the persistent definition, in a snapshot, or in
//!   their saved memory. That covers disks, EFI variables, snapshot memory and anything else with a path;
//! * records that name it as the backing file of a disk.
//!
//! libvirt shows a disk's backing files only while its domain runs, so the volumes of all pools are read. A program
//! that uses a file without libvirt shows by its lock: see `file_locks`.

mod domain_usage;
mod volume_use;

use domain_usage::{DomainUsage, domain_usage};
pub(crate) use volume_use::VolumeUse;

use foundry_core::names::VolumeNameParts;
use foundry_core::record::VolumeRef;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use uuid::Uuid;

use super::backend::PoolBackend;
use crate::Context;
use foundry_core::error::Error;
use foundry_host::{Pool, Volume};

/// All volumes of the active pools, and everything that the domains use; collected once.
#[derive(Debug)]
pub(crate) struct Usage {
    volumes: Vec<Volume>,
    domains: Vec<DomainUsage>,
    /// The memory files of the excluded domain's snapshots.
    own_memory: BTreeSet<String>,
    /// The file behind each path, on this machine and as far as this user may look.
    identities: BTreeMap<String, FileIdentity>,
    is_local: bool,
}

/// Which domains count as users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DomainFilter {
    /// All domains, running or not.
    All,
    /// Active domains only: running, paused or suspended.
    Active,
}

/// The users of a volume.
#[derive(Debug, Default)]
pub(crate) struct VolumeUsers {
    /// Names of domains, sorted.
    pub(crate) vms: Vec<String>,
    /// The volumes that have it as a backing file, nearest first.
    pub(crate) overlays: Vec<Volume>,
}

impl VolumeUsers {
    /// Leaves out overlays that are deleted together with their backing file.
    pub(crate) fn without_overlays(mut self, going: &[VolumeRef]) -> Self {
        self.overlays.retain(|o| !going.contains(&o.reference()));
        self
    }

    /// Leaves out domains that are deleted, too.
    pub(crate) fn without_domains(mut self, is_going: impl Fn(&str) -> bool) -> Self {
        self.vms.retain(|name| !is_going(name));
        self
    }

    /// The reason why a volume is in use, if it is.
    pub(crate) fn reason_if_used(&self) -> Option<String> {
        self.describe_users("uses it")
    }

    /// The reason to keep a volume of a VM that is destroyed, if there is one.
    pub(crate) fn reason_to_keep(&self) -> Option<String> {
        self.describe_users("uses it too")
    }

    fn describe_users(&self, uses: &str) -> Option<String> {
        let vms = (!self.vms.is_empty()).then(|| format!("domain '{}' {uses}", self.vms.join("', '")));
        let overlays: Vec<String> = self.overlays.iter().map(|o| o.reference().to_string()).collect();
        let verb = if overlays.len() == 1 { "is" } else { "are" };
        let lie = (!overlays.is_empty()).then(|| format!("{} {verb} based on it", overlays.join(" and ")));
        match (vms, lie) {
            (Some(vms), Some(lie)) => Some(format!("{vms}; {lie}")),
            (vms, lie) => vms.or(lie),
        }
    }
}

impl Usage {
    /// Collects the uses of all domains except one.
    ///
    /// Domains are listed before volumes: a VM that is created in between then shows by its volumes.
    pub(crate) fn collect(context: &Context, except: Option<Uuid>) -> Result<Self, Error> {
        let listed = context.host.domains(false)?.into_iter().filter(|d| Some(d.uuid) != except);
        let snapshots = context.host.all_snapshots()?;
        let mut domains =
            listed.map(|d| domain_usage(context, &d, &snapshots)).collect::<Result<Vec<_>, Error>>()?;
        let pools = context.host.pools()?;
        let volumes = all_volumes(context, &pools, &domains)?;
        for domain in &mut domains {
            domain.find_below(&volumes);
            domain.find_devices(context, &volumes)?;
            domain.find_unlisted(&pools, &volumes);
            domain.resolve_paths(&volumes, context.host.is_local());
        }
        let local = context.host.is_local();
        let identities = if local { file_identities(&volumes, &domains) } else { BTreeMap::new() };
        let own = snapshots.iter().filter(|(uuid, _)| Some(*uuid) == except);
        let own_memory = own.map(|(_, xml)| memory_of_snapshot(xml)).collect::<Result<Vec<_>, _>>()?;
        let own_memory = own_memory.into_iter().flatten().collect();
        Ok(Self { volumes, domains, own_memory, identities, is_local: local })
    }

    /// The domains that name a file, or a link to it. For files that are in no pool.
    pub(crate) fn domains_using(&self, path: &str) -> Vec<String> {
        let here = if self.is_local { file_identity(path) } else { None };
        let is_it = |file: &str| match (self.identities.get(file), here) {
            (Some(named), Some(here)) => *named == here,
            _ => normalize_path(file) == normalize_path(path),
        };
        self.find_users(is_it, |_| false, DomainFilter::All).vms
    }

    /// The domain that writes to a volume or names it in its record. Such a volume cannot be an image.
    pub(crate) fn find_writer(&self, volume: Option<&VolumeRef>, path: &str) -> Option<String> {
        let named = volume.map(VolumeRef::to_argument);
        let writes = |d: &&DomainUsage| {
            volume.is_some_and(|volume| d.recorded.contains(volume))
                || d.written.iter().any(|w| Some(w) == named.as_ref() || self.is_same(w, path))
        };
        self.domains.iter().find(writes).map(|d| d.name.clone())
    }

    /// The memory files of the excluded domain's snapshots, without those that another domain names.
    pub(crate) fn own_snapshot_memory(&self) -> impl Iterator<Item = &String> {
        self.own_memory.iter().filter(|path| self.domains_using(path).is_empty())
    }

    /// The unused volumes of the active pools that pass a filter.
    pub(crate) fn unused_volumes(&self, passes: impl Fn(&Volume) -> bool) -> Vec<&Volume> {
        self.volumes.iter().filter(|v| passes(v) && self.reason_if_used(v).is_none()).collect()
    }

    /// The users of a volume.
    pub(crate) fn users_of(&self, volume: &VolumeRef, path: &str) -> VolumeUsers {
        self.find_users(|file| self.may_be_same(file, path), |named| named == volume, DomainFilter::All)
    }

    /// The reason to keep a volume of the excluded domain: another domain or volume uses it, or another record names it.
    /// Overlays in `going` do not count, because they are deleted, too.
    pub(crate) fn reason_to_keep_of(
        &self,
        volume: &VolumeRef,
        path: &str,
        going: &[VolumeRef],
    ) -> Option<String> {
        let named =
            || self.recording_domain(volume).map(|vm| format!("the record of VM '{vm}' names it, too"));
        self.users_of(volume, path).without_overlays(going).reason_to_keep().or_else(named)
    }

    /// The disks of other VMs below these volumes that nothing needs once the volumes are deleted: those of a VM that was
    /// destroyed before its linked copy. The volumes are of the excluded domain.
    pub(crate) fn unneeded_below(&self, going: &[VolumeRef]) -> Vec<&Volume> {
        let mut going = going.to_vec();
        let mut found = Vec::new();
        // Each round finds the files directly below those found before.
        loop {
            let above: Vec<&Volume> =
                self.volumes.iter().filter(|v| going.contains(&v.reference())).collect();
            let is_below = |v: &&Volume| above.iter().any(|o| o.backing.as_deref() == Some(v.path.as_str()));
            let is_unneeded = |v: &&Volume| {
                VolumeNameParts::parse(&v.name).is_some()
                    && !going.contains(&v.reference())
                    && self.reason_to_keep_of(&v.reference(), &v.path, &going).is_none()
            };
            let below: Vec<&Volume> = self.volumes.iter().filter(is_below).filter(is_unneeded).collect();
            if below.is_empty() {
                return found;
            }
            going.extend(below.iter().map(|v| v.reference()));
            found.extend(below);
        }
    }

    /// Returns whether a volume is a disk in the record of a VM, or below one.
    pub(crate) fn is_of_other_vm(&self, volume: &Volume) -> bool {
        let reference = volume.reference();
        let is_recorded = |volume: &VolumeRef| self.recording_domain(volume).is_some();
        let users = self.users_of(&reference, &volume.path);
        is_recorded(&reference) || users.overlays.iter().any(|overlay| is_recorded(&overlay.reference()))
    }

    /// The names of all volumes in records.
    pub(crate) fn recorded_names(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().flat_map(|domain| &domain.recorded).map(|volume| volume.name.as_str())
    }

    /// The domain whose record names a volume, whether or not it is attached now.
    pub(crate) fn recording_domain(&self, volume: &VolumeRef) -> Option<String> {
        let names = |d: &&DomainUsage| d.recorded.contains(volume);
        self.domains.iter().find(names).map(|d| d.name.clone())
    }

    /// The domains with a disk in the pool, or with one whose backing file is in it. libvirt lists no volumes of a stopped
    /// pool, so paths are compared with the pool's directory.
    pub(crate) fn domains_in_pool(&self, pool: &Pool, local: bool, who: DomainFilter) -> Vec<String> {
        let place = pool_prefix(pool).map(|place| normalize_path(&place));
        let directory = pool.target.as_deref().filter(|_| local).and_then(file_identity);
        let listed: Vec<&Volume> = self.volumes.iter().filter(|v| v.pool == pool.name).collect();
        let is_in = |file: &str| {
            let normal = normalize_path(file);
            let parent = || normal.parent().and_then(Path::to_str).and_then(file_identity);
            place.as_ref().is_some_and(|p| normal.starts_with(p))
                || (place.is_some() && directory.is_some() && parent() == directory)
                || listed.iter().any(|v| self.is_same(file, &v.path))
        };
        let mut vms = self.find_users(is_in, |named| named.pool == pool.name, who).vms;
        let counted = self.domains.iter().filter(|d| who == DomainFilter::All || d.active);
        let recorded = counted.filter(|d| d.recorded.iter().any(|named| named.pool == pool.name));
        vms.extend(recorded.map(|d| d.name.clone()));
        vms.sort();
        vms.dedup();
        vms
    }

    /// The domains whose disks or records refer to the pool by name, not only by a path in it.
    pub(crate) fn domains_naming_pool(&self, pool: &str) -> Vec<String> {
        let names = |d: &&DomainUsage| d.volumes.union(&d.recorded).any(|named| named.pool == pool);
        let mut vms: Vec<String> = self.domains.iter().filter(names).map(|d| d.name.clone()).collect();
        vms.sort();
        vms
    }

    fn find_users(
        &self,
        is_file: impl Fn(&str) -> bool,
        is_volume: impl Fn(&VolumeRef) -> bool,
        who: DomainFilter,
    ) -> VolumeUsers {
        let overlays = self.overlays_on(&is_file);
        let on_file = |file: &str| is_file(file) || overlays.iter().any(|o| self.may_be_same(file, &o.path));
        let on_volume =
            |named: &VolumeRef| is_volume(named) || overlays.iter().any(|o| o.reference() == *named);
        let uses = |d: &&DomainUsage| {
            d.files.union(&d.mentioned).any(|f| on_file(f)) || d.volumes.iter().any(on_volume)
        };
        let counted = self.domains.iter().filter(|d| who == DomainFilter::All || d.active);
        let mut vms: Vec<String> = counted.filter(uses).map(|d| d.name.clone()).collect();
        vms.sort();
        VolumeUsers { vms, overlays: overlays.into_iter().cloned().collect() }
    }

    /// All volumes whose backing chain contains such a file.
    fn overlays_on(&self, is_file: &impl Fn(&str) -> bool) -> Vec<&Volume> {
        let mut rest: Vec<&Volume> = self.volumes.iter().filter(|v| v.backing.is_some()).collect();
        let mut found: Vec<&Volume> = Vec::new();
        // Each round finds the overlays on top of those found before, so a chain of any length is followed.
        loop {
            let lies = |v: &&Volume| {
                let below = v.backing.as_deref().unwrap_or_default();
                is_file(below) || found.iter().any(|o| self.may_be_same(below, &o.path))
            };
            let (on_these, others): (Vec<&Volume>, Vec<&Volume>) = rest.into_iter().partition(lies);
            if on_these.is_empty() {
                return found;
            }
            found.extend(on_these);
            rest = others;
        }
    }

    /// Returns whether a path may be that file. If the kernel can be asked, its answer decides. Otherwise a path that is no
    /// known volume and has the same file name counts as the same file, because directories are moved and linked, and a
    /// wrong deletion cannot be undone.
    fn may_be_same(&self, named: &str, file: &str) -> bool {
        if let (Some(a), Some(b)) = (self.identities.get(named), self.identities.get(file)) {
            return a == b;
        }
        let (named, file) = (normalize_path(named), normalize_path(file));
        let is_volume = || self.volumes.iter().any(|v| Path::new(&v.path) == named);
        named == file || (named.file_name() == file.file_name() && !is_volume())
    }

    /// Returns whether a path is certainly that file.
    fn is_same(&self, named: &str, file: &str) -> bool {
        match (self.identities.get(named), self.identities.get(file)) {
            (Some(a), Some(b)) => a == b,
            _ => normalize_path(named) == normalize_path(file),
        }
    }
}

/// The path prefix that holds this pool's volumes and nothing else. iSCSI and SCSI pools have none: their volumes are in
/// /dev, like all disks of the host.
fn pool_prefix(pool: &Pool) -> Option<String> {
    match pool.kind.as_str() {
        "rbd" => pool.source.name.clone(),
        "iscsi" | "iscsi-direct" | "scsi" | "mpath" | "disk" => None,
        _ => pool.target.clone(),
    }
}

/// Refreshes a pool and returns whether that worked. libvirt refuses while it creates a volume in the pool; its cached
/// data must do then.
pub(crate) fn refresh_pool(context: &Context, pool: &str) -> Result<bool, Error> {
    match context.host.refresh_pool(pool) {
        Ok(()) => Ok(true),
        Err(lost) if lost.outcome_unknown() => Err(lost.into()),
        Err(_) => Ok(false),
    }
}

/// Returns whether the directory of a pool is certainly missing, for example because its file system is not mounted. A
/// refresh of such a pool makes libvirt stop it, so read-only commands must not refresh it.
pub(crate) fn is_directory_away(context: &Context, pool: &Pool) -> bool {
    let is_away = |target: &String| matches!(std::fs::metadata(target), Err(e) if e.kind() == std::io::ErrorKind::NotFound);
    PoolBackend::of(&pool.kind) == Some(PoolBackend::Files)
        && context.host.is_local()
        && pool.target.as_ref().is_some_and(is_away)
}

/// Refreshes all active pools.
pub(crate) fn refresh_pools(context: &Context) -> Result<(), Error> {
    let pools = context.host.pools()?;
    let mut active = pools.iter().filter(|p| p.active && !is_directory_away(context, p));
    active.try_for_each(|pool| refresh_pool(context, &pool.name).map(drop))
}

/// The file with a snapshot's memory, if it has one.
fn memory_of_snapshot(xml: &str) -> Result<Option<String>, Error> {
    Ok(foundry_host::libvirt_xml::snapshot_memory(xml)?)
}

/// Lists the volumes of all active pools. If a pool does not list a disk in its directory, it is refreshed, because the
/// disk's backing file is known only then.
fn all_volumes(context: &Context, pools: &[Pool], domains: &[DomainUsage]) -> Result<Vec<Volume>, Error> {
    let mut all = Vec::new();
    for pool in pools.iter().filter(|p| p.active) {
        let mut listed = list_volumes(context, &pool.name)?;
        let hides = hides_a_disk(pool, &listed, domains) && !is_directory_away(context, pool);
        if hides && refresh_pool(context, &pool.name)? {
            listed = list_volumes(context, &pool.name)?;
        }
        all.extend(listed);
    }
    Ok(all)
}

/// Returns whether a disk is in the pool's directory but not in libvirt's list.
fn hides_a_disk(pool: &Pool, listed: &[Volume], domains: &[DomainUsage]) -> bool {
    let Some(target) = pool.target.as_deref().map(Path::new) else { return false };
    let is_hidden =
        |f: &String| Path::new(f).parent() == Some(target) && !listed.iter().any(|v| v.path == **f);
    let below = domains.iter().flat_map(|d| &d.below).filter_map(|v| v.backing.as_ref());
    domains.iter().flat_map(|d| &d.files).chain(below).any(is_hidden)
}

/// Lists the volumes of a pool; none if it was stopped meanwhile.
pub(crate) fn list_volumes(context: &Context, pool: &str) -> Result<Vec<Volume>, Error> {
    match context.host.volumes(pool) {
        Ok(volumes) => Ok(volumes),
        Err(lost) if lost.outcome_unknown() => Err(lost.into()),
        Err(refused) => match context.host.pool(pool)? {
            Some(found) if found.active => Err(refused.into()),
            _ => Ok(Vec::new()),
        },
    }
}

fn file_identities(volumes: &[Volume], domains: &[DomainUsage]) -> BTreeMap<String, FileIdentity> {
    let of_volumes = volumes.iter().flat_map(|v| std::iter::once(&v.path).chain(&v.backing));
    let all = of_volumes.chain(domains.iter().flat_map(|d| d.files.union(&d.mentioned)));
    all.filter_map(|path| Some((path.clone(), file_identity(path)?))).collect()
}

/// What identifies a file to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileIdentity {
    /// Device and inode, which identify a file under any path.
    File(u64, u64),
    /// The number of a block device: an LVM volume has several paths and may have several device nodes.
    Device(u64),
}

/// Identifies the file at a path; links are followed.
pub(crate) fn file_identity(path: &str) -> Option<FileIdentity> {
    // A relative path is the name of a Ceph image.
    let metadata = std::fs::metadata(path).ok().filter(|_| path.starts_with('/'))?;
    Some(if metadata.file_type().is_block_device() {
        FileIdentity::Device(metadata.rdev())
    } else {
        FileIdentity::File(metadata.dev(), metadata.ino())
    })
}

/// A path without `//`, `.` and `..`, without looking at the file system.
fn normalize_path(path: &str) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_without_detours() {
        for path in ["/a/b/c", "/a//b/./c", "/a/x/../b/c", "/../a/b/c"] {
            assert_eq!(normalize_path(path), Path::new("/a/b/c"), "{path}");
        }
    }
}
