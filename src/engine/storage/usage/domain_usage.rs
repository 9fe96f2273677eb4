//! Collects the files and volumes that one domain uses.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::pool_prefix;
use crate::Context;
use foundry_core::error::Error;
use foundry_core::record::{Record, RecordedVolume, VolumeRef};
use foundry_fetch::disk_image::{self, DiskImage};
use foundry_host::libvirt_xml::{DiskDescription, DiskDevice, DiskSource, DomainDescription, Mentions};
use foundry_host::{Domain, Pool, View, Volume};

/// The files and volumes that one domain uses.
#[derive(Debug)]
pub(super) struct DomainUsage {
    pub(super) name: String,
    pub(super) active: bool,
    pub(super) files: BTreeSet<String>,
    /// Other paths in its XML; their backing files are not followed.
    pub(super) mentioned: BTreeSet<String>,
    /// Pool and name of each volume that its XML names.
    pub(super) volumes: BTreeSet<VolumeRef>,
    /// Pool and name of each volume in its record, whether or not it is attached now.
    pub(super) recorded: BTreeSet<VolumeRef>,
    /// The disks that it writes to, without their backing files.
    pub(super) written: BTreeSet<String>,
    /// The volumes of its record that have a backing file.
    pub(super) below: Vec<RecordedVolume>,
}

/// Collects what a domain uses: now, at its next start, in its saved memory, and in its snapshots.
pub(super) fn domain_usage(
    context: &Context,
    domain: &Domain,
    snapshots: &[(Uuid, String)],
) -> Result<DomainUsage, Error> {
    let mut usage = DomainUsage::of_domain(domain);
    let both = domain.persistent && domain.state.is_active();
    let views: &[View] = if both { &[View::Current, View::Config] } else { &[View::Current] };
    for view in views {
        // A domain that is gone uses nothing. Any other failure must not look like that, so it is an error.
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

    /// Adds what one definition names, including its record: the running and the persistent definition can differ.
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
        let volumes: Vec<RecordedVolume> =
            record.iter().flat_map(|record| record.all_volumes().cloned()).collect();
        self.recorded.extend(volumes.iter().map(RecordedVolume::reference));
        self.below.extend(volumes.into_iter().filter(|v| v.backing.is_some()));
    }

    /// Adds the backing files in its record, unless libvirt lists the volume with its actual backing file: after a copy
    /// into a single file it has none. libvirt reports no backing file for Ceph.
    pub(super) fn find_below(&mut self, listed: &[Volume]) {
        let tells = |noted: &RecordedVolume| {
            let is_it = |v: &&Volume| (&v.pool, &v.name, &v.path) == (&noted.pool, &noted.name, &noted.path);
            let found = listed.iter().find(is_it);
            found.is_some_and(|v| v.path.starts_with('/') && v.format == noted.format)
        };
        let untold = self.below.iter().filter(|noted| !tells(noted));
        let below: Vec<String> = untold.filter_map(|noted| noted.backing.clone()).collect();
        self.files.extend(below);
    }

    /// Adds the paths of LVM volumes that it names by another path, such as `/dev/mapper/…` or `/dev/dm-N`. libvirt maps
    /// those; it is only asked if there is such a pool.
    pub(super) fn find_devices(&mut self, context: &Context, listed: &[Volume]) -> Result<(), Error> {
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

    /// Adds the paths of volumes that libvirt does not list, as in a stopped pool, because another pool may have the same
    /// files. If the pool is gone, only the volume's name is known, and that is compared.
    pub(super) fn find_unlisted(&mut self, pools: &[Pool], listed: &[Volume]) {
        let listed: BTreeSet<VolumeRef> = listed.iter().map(Volume::reference).collect();
        let base = |name: &str| {
            let pool = pools.iter().find(|p| p.name == name)?;
            pool_prefix(pool).or_else(|| pool.target.clone())
        };
        let unlisted = self.volumes.difference(&listed);
        let file = |VolumeRef { pool, name }: &VolumeRef| {
            base(pool).map_or_else(|| name.clone(), |base| format!("{base}/{name}"))
        };
        let files: Vec<String> = unlisted.map(file).collect();
        self.files.extend(files);
    }

    /// Adds the paths of its volumes, and the backing files of files that are in no active pool.
    pub(super) fn resolve_paths(&mut self, listed: &[Volume], local: bool) {
        let named = |v: &&Volume| self.volumes.contains(&v.reference());
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

/// The backing file of a local file, if it is a readable overlay.
fn backing_of(path: &Path) -> Option<PathBuf> {
    // Opening a pipe would block.
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(disk_image::HEADER_LENGTH).read_to_end(&mut head).ok()?;
    let Ok(DiskImage::Qcow2(header)) = disk_image::detect_format(&head) else { return None };
    Some(path.parent()?.join(header.backing_file?))
}
