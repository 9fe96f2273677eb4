//! Finds the users of a file. Everything that deletes a file asks here.
//!
//! A file is used by the volumes that lie on it, however many overlays are between; by the domains that name it or one
//! of those, in what runs, in what starts next, in a snapshot that they can go back to, or in the memory that libvirt
//! saved of them; and by the records that name it as what a disk lies on. Beside disks these are EFI variables, the
//! memory of snapshots and whatever else has a path. libvirt shows what a disk lies on only while its domain runs, so all
//! volumes are asked. Who has a file open without any libvirt's knowledge shows by its lock: `held` tells that.

mod volume_use;

pub(crate) use volume_use::VolumeUse;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use uuid::Uuid;

use super::backend::PoolBackend;
use crate::Context;
use foundry_core::error::Error;
use foundry_core::record::{Record, RecordedVolume};
use foundry_fetch::disk_image::{self, DiskImage};
use foundry_host::libvirt_xml::{DiskDescription, DiskDevice, DiskSource, DomainDescription, Mentions};
use foundry_host::{Domain, Pool, View, Volume};

/// All volumes of the active pools and what the domains need, looked at once.
#[derive(Debug)]
pub(crate) struct Usage {
    volumes: Vec<Volume>,
    domains: Vec<DomainUsage>,
    /// The memory of the snapshots of the domain that was left out.
    own_memory: BTreeSet<String>,
    /// What each path leads to, where the host is this machine and lets us look.
    identities: BTreeMap<String, FileIdentity>,
    is_local: bool,
}

/// Which domains count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DomainFilter {
    /// All that are defined or run.
    All,
    /// Those that run, or may.
    Active,
}

/// What one domain needs.
#[derive(Debug)]
struct DomainUsage {
    name: String,
    active: bool,
    files: BTreeSet<String>,
    /// What else its XML names: not followed to what is below.
    mentioned: BTreeSet<String>,
    /// Pool and name of each.
    volumes: BTreeSet<(String, String)>,
    /// Pool and name of those that its record names, whether or not it has them now.
    recorded: BTreeSet<(String, String)>,
    /// The disks that it writes to, not what is below them.
    written: BTreeSet<String>,
    /// What those volumes lie on, by the record.
    below: Vec<RecordedVolume>,
}

/// Who uses a volume.
#[derive(Debug, Default)]
pub(crate) struct VolumeUsers {
    /// Names of domains, sorted.
    pub(crate) vms: Vec<String>,
    /// The volumes that lie on it, nearest first.
    pub(crate) overlays: Vec<Volume>,
}

impl VolumeUsers {
    /// Forgets those overlays that go together with what they lie on.
    pub(crate) fn without_overlays(mut self, going: &[(String, String)]) -> Self {
        self.overlays.retain(|o| !going.iter().any(|(pool, name)| o.pool == *pool && o.name == *name));
        self
    }

    /// Why the volume of a VM that goes must stay, if it must.
    pub(crate) fn reason_to_keep(&self) -> Option<String> {
        self.describe_users("uses it too")
    }

    fn describe_users(&self, uses: &str) -> Option<String> {
        let vms = (!self.vms.is_empty()).then(|| format!("domain '{}' {uses}", self.vms.join("', '")));
        let overlays: Vec<String> =
            self.overlays.iter().map(|o| format!("volume '{}' in pool '{}'", o.name, o.pool)).collect();
        let verb = if overlays.len() == 1 { "lies" } else { "lie" };
        let lie = (!overlays.is_empty()).then(|| format!("{} {verb} on it", overlays.join(" and ")));
        match (vms, lie) {
            (Some(vms), Some(lie)) => Some(format!("{vms}; {lie}")),
            (vms, lie) => vms.or(lie),
        }
    }
}

impl Usage {
    /// Looks at everything but that domain.
    ///
    /// The domains come first: one that is being made after that look shows by its volumes.
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

    /// Names of the domains that name a file which is in no pool, or what leads to it.
    pub(crate) fn domains_using(&self, path: &str) -> Vec<String> {
        let here = if self.is_local { file_identity(path) } else { None };
        let is_it = |file: &str| match (self.identities.get(file), here) {
            (Some(named), Some(here)) => *named == here,
            _ => normalize_path(file) == normalize_path(path),
        };
        self.find_users(is_it, |_, _| false, DomainFilter::All).vms
    }

    /// The domain that writes to that volume, or whose record names it: it is no image for others.
    pub(crate) fn find_writer(&self, pool: &str, name: &str, path: &str) -> Option<String> {
        let volume = (pool.to_owned(), name.to_owned());
        let named = format!("{pool}/{name}");
        let writes = |d: &&DomainUsage| {
            d.recorded.contains(&volume) || d.written.iter().any(|w| *w == named || self.is_same(w, path))
        };
        self.domains.iter().find(writes).map(|d| d.name.clone())
    }

    /// The files with the memory of snapshots of the domain that was left out, which no other domain names.
    pub(crate) fn own_snapshot_memory(&self) -> impl Iterator<Item = &String> {
        self.own_memory.iter().filter(|path| self.domains_using(path).is_empty())
    }

    /// The volumes of the active pools that pass, and that is unused or names.
    pub(crate) fn unused_volumes(&self, passes: impl Fn(&Volume) -> bool) -> Vec<&Volume> {
        self.volumes.iter().filter(|v| passes(v) && self.reason_if_used(v).is_none()).collect()
    }

    /// Who uses the volume of that pool, name and path.
    pub(crate) fn users_of(&self, pool: &str, name: &str, path: &str) -> VolumeUsers {
        self.find_users(|file| self.may_be_same(file, path), |p, n| p == pool && n == name, DomainFilter::All)
    }

    /// Why a volume of the domain that was left out must stay, if it must: somebody else uses it, or has it in a record.
    /// Those overlays do not count that go, too.
    pub(crate) fn reason_to_keep_of(
        &self,
        (pool, name, path): (&str, &str, &str),
        going: &[(String, String)],
    ) -> Option<String> {
        let named =
            || self.recording_domain(pool, name).map(|vm| format!("the record of VM '{vm}' names it too"));
        self.users_of(pool, name, path).without_overlays(going).reason_to_keep().or_else(named)
    }

    /// A domain whose record names that volume, whether or not it has it now.
    pub(crate) fn recording_domain(&self, pool: &str, name: &str) -> Option<String> {
        let names = |d: &&DomainUsage| d.recorded.iter().any(|(p, n)| p == pool && n == name);
        self.domains.iter().find(names).map(|d| d.name.clone())
    }

    /// The domains with a disk in the pool, or on something in it. libvirt does not list the volumes of a
    /// stopped one, so it is the place that counts.
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
        let mut vms = self.find_users(is_in, |p, _| p == pool.name, who).vms;
        let counted = self.domains.iter().filter(|d| who == DomainFilter::All || d.active);
        let recorded = counted.filter(|d| d.recorded.iter().any(|(p, _)| *p == pool.name));
        vms.extend(recorded.map(|d| d.name.clone()));
        vms.sort();
        vms.dedup();
        vms
    }

    /// The domains whose disks or records name the pool itself, and not only a path in it.
    pub(crate) fn domains_naming_pool(&self, pool: &str) -> Vec<String> {
        let names = |d: &&DomainUsage| d.volumes.union(&d.recorded).any(|(named, _)| named == pool);
        let mut vms: Vec<String> = self.domains.iter().filter(names).map(|d| d.name.clone()).collect();
        vms.sort();
        vms
    }

    fn find_users(
        &self,
        is_file: impl Fn(&str) -> bool,
        is_volume: impl Fn(&str, &str) -> bool,
        who: DomainFilter,
    ) -> VolumeUsers {
        let overlays = self.overlays_on(&is_file);
        let on_file = |file: &str| is_file(file) || overlays.iter().any(|o| self.may_be_same(file, &o.path));
        let on_volume =
            |p: &str, n: &str| is_volume(p, n) || overlays.iter().any(|o| o.pool == p && o.name == n);
        let uses = |d: &&DomainUsage| {
            d.files.union(&d.mentioned).any(|f| on_file(f)) || d.volumes.iter().any(|(p, n)| on_volume(p, n))
        };
        let counted = self.domains.iter().filter(|d| who == DomainFilter::All || d.active);
        let mut vms: Vec<String> = counted.filter(uses).map(|d| d.name.clone()).collect();
        vms.sort();
        VolumeUsers { vms, overlays: overlays.into_iter().cloned().collect() }
    }

    /// All volumes whose chain of backing files comes to such a file.
    fn overlays_on(&self, is_file: &impl Fn(&str) -> bool) -> Vec<&Volume> {
        let mut rest: Vec<&Volume> = self.volumes.iter().filter(|v| v.backing.is_some()).collect();
        let mut found: Vec<&Volume> = Vec::new();
        // Each round finds the overlays on the earlier rounds', so a chain of any length is followed.
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

    /// Whether a path that somebody names is that file. Directories move and have links to them: where the
    /// kernel can be asked, it says; elsewhere a path that leads to no volume and ends in the same name is
    /// taken for the same, because the other mistake cannot be undone.
    fn may_be_same(&self, named: &str, file: &str) -> bool {
        if let (Some(a), Some(b)) = (self.identities.get(named), self.identities.get(file)) {
            return a == b;
        }
        let (named, file) = (normalize_path(named), normalize_path(file));
        let is_volume = || self.volumes.iter().any(|v| Path::new(&v.path) == named);
        named == file || (named.file_name() == file.file_name() && !is_volume())
    }

    /// Whether a path is surely that file.
    fn is_same(&self, named: &str, file: &str) -> bool {
        match (self.identities.get(named), self.identities.get(file)) {
            (Some(a), Some(b)) => a == b,
            _ => normalize_path(named) == normalize_path(file),
        }
    }
}

/// The path prefix that holds this pool's volumes and nothing else. The units of iSCSI and SCSI are where all disks of
/// the host are.
fn pool_prefix(pool: &Pool) -> Option<String> {
    match pool.kind.as_str() {
        "rbd" => pool.source.name.clone(),
        "iscsi" | "iscsi-direct" | "scsi" | "mpath" | "disk" => None,
        _ => pool.target.clone(),
    }
}

/// Has libvirt look at a pool anew, where it can: it refuses while a volume is being made in it, and then
/// what it knew last must do.
pub(crate) fn refresh_pool(context: &Context, pool: &str) -> Result<bool, Error> {
    match context.host.refresh_pool(pool) {
        Ok(()) => Ok(true),
        Err(lost) if lost.outcome_unknown() => Err(lost.into()),
        Err(_) => Ok(false),
    }
}

/// Whether the directory of a pool is surely not there, as where its file system is not mounted. libvirt stops a pool
/// whose directory it cannot read when it looks at it anew, and who only looks changes nothing.
pub(crate) fn is_directory_away(context: &Context, pool: &Pool) -> bool {
    let is_away = |target: &String| matches!(std::fs::metadata(target), Err(e) if e.kind() == std::io::ErrorKind::NotFound);
    PoolBackend::of(&pool.kind) == Some(PoolBackend::Files)
        && context.host.is_local()
        && pool.target.as_ref().is_some_and(is_away)
}

/// Has libvirt look at all active pools anew.
pub(crate) fn refresh_pools(context: &Context) -> Result<(), Error> {
    let pools = context.host.pools()?;
    let mut active = pools.iter().filter(|p| p.active && !is_directory_away(context, p));
    active.try_for_each(|pool| refresh_pool(context, &pool.name).map(drop))
}

/// What a listed domain needs, running, at its next start, to go on from its saved memory, and to go back to one of its
/// snapshots.
fn domain_usage(
    context: &Context,
    domain: &Domain,
    snapshots: &[(Uuid, String)],
) -> Result<DomainUsage, Error> {
    let mut usage = DomainUsage::of_domain(domain);
    let both = domain.persistent && domain.state.is_active();
    let views: &[View] = if both { &[View::Current, View::Config] } else { &[View::Current] };
    for view in views {
        // One that vanished since uses nothing; that it cannot be seen for another reason is no sign of that.
        let described = context.host.describe(domain.uuid, *view)?;
        described.into_iter().for_each(|described| usage.add_description(domain, described));
    }
    if domain.saved
        && let Some(xml) = context.host.saved_xml(domain.uuid)?
    {
        usage.add_description(domain, DomainDescription::read(&xml)?);
    }
    for (_, snapshot) in snapshots.iter().filter(|(uuid, _)| *uuid == domain.uuid) {
        usage.add_mentions(Mentions::of_snapshot(snapshot)?);
    }
    Ok(usage)
}

/// Where the memory of a snapshot is, if it has a file of its own.
fn memory_of_snapshot(xml: &str) -> Result<Option<String>, Error> {
    Ok(foundry_host::libvirt_xml::snapshot_memory(xml)?)
}

/// The volumes of all active pools. A pool that a disk is in and that does not show it is looked at anew:
/// what that disk lies on is known only then.
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

/// Whether a disk is in the pool's directory and not in its list.
fn hides_a_disk(pool: &Pool, listed: &[Volume], domains: &[DomainUsage]) -> bool {
    let Some(target) = pool.target.as_deref().map(Path::new) else { return false };
    let is_hidden =
        |f: &String| Path::new(f).parent() == Some(target) && !listed.iter().any(|v| v.path == **f);
    let below = domains.iter().flat_map(|d| &d.below).filter_map(|v| v.backing.as_ref());
    domains.iter().flat_map(|d| &d.files).chain(below).any(is_hidden)
}

/// The volumes of a pool that was active a moment ago; none where somebody stopped it since.
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

impl DomainUsage {
    fn of_domain(domain: &Domain) -> Self {
        let mut usage = Self {
            name: domain.name.clone(),
            active: domain.state.is_active(),
            files: BTreeSet::new(),
            mentioned: BTreeSet::new(),
            volumes: BTreeSet::new(),
            recorded: BTreeSet::new(),
            written: BTreeSet::new(),
            below: Vec::new(),
        };
        usage.add_record(domain.own_record());
        usage
    }

    /// Adds what one of its descriptions names, by its record too: what runs may have another one than what starts next.
    fn add_description(&mut self, domain: &Domain, described: DomainDescription) {
        let own = described.disks.iter().filter(|d| d.device == DiskDevice::Disk && !d.readonly);
        self.written.extend(own.filter_map(|disk| match &disk.source {
            DiskSource::Volume { pool, volume } => Some(format!("{pool}/{volume}")),
            source => source.path().map(str::to_owned),
        }));
        let of_disks = described.disks.iter().flat_map(DiskDescription::files);
        self.files.extend(of_disks.map(|f| f.display().to_string()));
        if described.record != domain.record {
            self.add_record(Domain { record: described.record, ..domain.clone() }.own_record());
        }
        self.add_mentions(described.mentions);
    }

    fn add_mentions(&mut self, mentions: Mentions) {
        self.volumes.extend(mentions.volumes);
        self.mentioned.extend(mentions.paths);
    }

    fn add_record(&mut self, record: Option<Record>) {
        let volumes = record.map(|record| record.volumes).unwrap_or_default();
        self.recorded.extend(volumes.iter().map(|v| (v.pool.clone(), v.name.clone())));
        self.below.extend(volumes.into_iter().filter(|v| v.backing.is_some()));
    }

    /// Adds what its volumes lie on by its record, where the volume itself does not say: one that is copied into a
    /// single file lies on nothing any more. libvirt does not tell what an image at Ceph lies on.
    fn find_below(&mut self, listed: &[Volume]) {
        let tells = |noted: &RecordedVolume| {
            let is_it = |v: &&Volume| (&v.pool, &v.name, &v.path) == (&noted.pool, &noted.name, &noted.path);
            let found = listed.iter().find(is_it);
            found.is_some_and(|v| v.path.starts_with('/') && v.format == noted.format)
        };
        let untold = self.below.iter().filter(|noted| !tells(noted));
        let below: Vec<String> = untold.filter_map(|noted| noted.backing.clone()).collect();
        self.files.extend(below);
    }

    /// Adds the paths of volumes that it names otherwise: a volume of LVM's is also `/dev/mapper/…` and `/dev/dm-N`,
    /// and libvirt knows which one is which. It is asked only where there is such a pool.
    fn find_devices(&mut self, context: &Context, listed: &[Volume]) -> Result<(), Error> {
        let is_device = |path: &str| path.starts_with("/dev/");
        if !listed.iter().any(|v| is_device(&v.path)) {
            return Ok(());
        }
        let is_listed = |file: &String| listed.iter().any(|v| v.path == *file);
        let unknown: Vec<String> =
            self.files.iter().filter(|f| is_device(f) && !is_listed(f)).cloned().collect();
        for file in unknown {
            self.files.extend(context.host.volume_at(&file)?.map(|volume| volume.path));
        }
        Ok(())
    }

    /// Adds where the volumes are that it names and libvirt does not list, as those of a stopped pool: another pool
    /// may have the same files. Of one in a pool that is gone only the name is left, and that counts then.
    fn find_unlisted(&mut self, pools: &[Pool], listed: &[Volume]) {
        let is_listed = |p: &str, n: &str| listed.iter().any(|v| v.pool == p && v.name == n);
        let base = |name: &str| {
            let pool = pools.iter().find(|p| p.name == name)?;
            pool_prefix(pool).or_else(|| pool.target.clone())
        };
        let unlisted = self.volumes.iter().filter(|(p, n)| !is_listed(p, n));
        let files: Vec<String> =
            unlisted.map(|(p, n)| base(p).map_or_else(|| n.clone(), |b| format!("{b}/{n}"))).collect();
        self.files.extend(files);
    }

    /// Adds the paths of volumes, and what lies below files that are in no active pool.
    fn resolve_paths(&mut self, listed: &[Volume], local: bool) {
        let named = |v: &&Volume| self.volumes.contains(&(v.pool.clone(), v.name.clone()));
        let paths: Vec<String> = listed.iter().filter(named).map(|v| v.path.clone()).collect();
        self.files.extend(paths);
        let mut unknown: Vec<String> = if local { self.files.iter().cloned().collect() } else { Vec::new() };
        while let Some(file) = unknown.pop() {
            if listed.iter().any(|v| v.path == file) {
                continue;
            }
            let below = backing_of(Path::new(&file)).map(|b| b.display().to_string());
            unknown.extend(below.filter(|b| self.files.insert(b.clone())));
        }
    }
}

/// What a file of this machine lies on, if it is an overlay and can be read.
fn backing_of(path: &Path) -> Option<PathBuf> {
    // To open a pipe would wait for its other end.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(disk_image::HEADER_LENGTH).read_to_end(&mut head).ok()?;
    let Ok(DiskImage::Qcow2(header)) = disk_image::detect_format(&head) else { return None };
    Some(path.parent()?.join(header.backing_file?))
}

fn file_identities(volumes: &[Volume], domains: &[DomainUsage]) -> BTreeMap<String, FileIdentity> {
    let of_volumes = volumes.iter().flat_map(|v| std::iter::once(&v.path).chain(&v.backing));
    let all = of_volumes.chain(domains.iter().flat_map(|d| d.files.union(&d.mentioned)));
    all.filter_map(|path| Some((path.clone(), file_identity(path)?))).collect()
}

/// What the kernel knows a file by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileIdentity {
    /// Device and inode.
    File(u64, u64),
    /// A block device's number: a volume of LVM's has several names, and may have several nodes.
    Device(u64),
}

/// Links are followed: it is the file itself that counts.
pub(crate) fn file_identity(path: &str) -> Option<FileIdentity> {
    // A relative one is an image's at Ceph.
    let metadata = std::fs::metadata(path).ok().filter(|_| path.starts_with('/'))?;
    Some(if metadata.file_type().is_block_device() {
        FileIdentity::Device(metadata.rdev())
    } else {
        FileIdentity::File(metadata.dev(), metadata.ino())
    })
}

/// A path without `//`, `.` and `..`, as far as that can be told without looking.
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
