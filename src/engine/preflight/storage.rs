//! Checks the pools and volumes of a VM.

use super::conflicts::OtherDomains;
use super::revisions::revise_names;
use super::room::check_room;
use super::suggest_names;
use crate::Context;
use crate::preflight::image::{ReadyImage, check_image};
use crate::preflight::issues::PreflightReport;
use crate::storage::backend::PoolBackend;
use crate::storage::usage;
use crate::storage::usage::Usage;
use foundry_core::error::{Advice, Code, Error, Issue, Verb};
use foundry_core::names::{PoolName, VolumeName};
use foundry_core::plan::{BootSource, DiskFormat, VmPlan};
use foundry_core::record::{RecordedVolume, VolumeRef, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::{Domain, Pool, PoolSource, Volume};

/// Where a VM's volumes will be, and the image of its boot disk.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyStorage {
    /// The pool of the VM's disks.
    pub pool: ReadyPool,
    /// The type of the pool.
    pub backend: PoolBackend,
    /// The pool's source: servers and credentials, for Ceph.
    pub source: PoolSource,
    /// The pool of the seed and its type, if the VM's own pool cannot hold a seed.
    pub seed: Option<(ReadyPool, PoolBackend)>,
    /// Boot disk, data disks, seed. The seed's capacity is set when it is generated.
    pub volumes: Vec<RecordedVolume>,
    /// The image of the boot disk.
    pub image: Option<ReadyImage>,
    /// The volumes of another VM that the disks are copied from; empty unless the VM is a copy.
    pub copies: Vec<DiskCopy>,
    /// Of a copy of another VM: the files below its disks.
    pub links: Vec<LinkedDisk>,
}

/// A disk that gets the content of another VM's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCopy {
    /// The new volume.
    pub to: VolumeRef,
    /// The volume with the content.
    pub from: Volume,
}

/// A disk of a copy that is an overlay on a file to which nothing writes: an image, or a file of another VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedDisk {
    /// The new volume.
    pub to: VolumeRef,
    /// All files below it, the nearest first.
    pub chain: Vec<BackingFile>,
}

/// A file below an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackingFile {
    /// Its path.
    pub path: String,
    /// Its format. It is never probed: a guest can write a header into its raw disk.
    pub format: String,
}

impl ReadyStorage {
    /// The files below a volume, if it is a disk of a copy.
    pub(crate) fn linked_chain(&self, volume: &VolumeRef) -> Option<&[BackingFile]> {
        let link = self.links.iter().find(|link| link.to == *volume)?;
        Some(&link.chain)
    }
}

/// A pool, and what it needs before volumes can be created in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyPool {
    /// The pool's name in libvirt.
    pub name: String,
    /// The path prefix of its volumes: its directory, or what [`PoolBackend`] uses instead.
    pub target: String,
    /// What has to be done first.
    pub need: PoolNeed,
}

/// What a pool needs before it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolNeed {
    /// Nothing: it is started.
    Nothing,
    /// It has to be started.
    Start,
    /// It has to be created: a default pool before its first use.
    Make,
}

/// Checks image, pool, space and volumes. Returns `None` if an issue makes the other checks impossible.
pub(crate) fn check_storage(
    context: &Context,
    plan: &VmPlan,
    taken: Option<&Domain>,
    others: &OtherDomains<'_>,
    report: &mut PreflightReport,
) -> Result<Option<ReadyStorage>, Error> {
    let image = match &plan.boot_disk.source {
        BootSource::Empty => None,
        BootSource::Image(reference) => {
            report.begin_check("image", format!("'{reference}' can be used and fits on the boot disk"));
            check_image(context, plan, reference, others, report)?
        }
    };
    report.begin_check("pool", format!("'{}' can hold the disks", plan.pool));
    // libvirt caches a pool's free space, and other programs write to the file system, too. A refresh of a pool that
    // is missing or stopped fails, which is ignored here and reported below.
    usage::refresh_pool(context, plan.pool.as_str())?;
    let Some((pool, backend, found)) = check_pool(context, &plan.pool, report)? else { return Ok(None) };
    let seed = if plan.seed.is_some() && !backend.takes_uploads() {
        seed_pool(context, &pool.name, report)?
    } else {
        None
    };
    check_backend(plan, &pool.name, backend, image.as_ref(), report);
    let mut volumes =
        recorded_volumes(plan, (&pool, backend), seed.as_ref().map(|(p, m)| (p, *m)), image.as_ref());
    let is_active = found.as_ref().is_some_and(|pool| pool.active);
    let are_free = is_active && revise_names(context, &mut volumes, taken)?;
    let source = found.as_ref().map(|p| p.source.clone()).unwrap_or_default();
    let storage =
        ReadyStorage { pool, backend, source, seed, volumes, image, copies: Vec::new(), links: Vec::new() };
    if let Some(found) = found.filter(|pool| pool.active) {
        report.begin_check("room", format!("enough space in pool '{}'", found.name));
        check_room(context, plan, backend, &found, report);
        report.begin_check("volumes", "no volume with these names exists");
        if !are_free {
            check_free(context, &storage, taken, report)?;
        }
    }
    Ok(Some(storage))
}

/// Reports disk formats other than raw for a pool of block devices, which hold the guest's bytes directly.
fn check_formats(plan: &VmPlan, pool: &str, report: &mut PreflightReport) {
    let spec = &plan.manifest.spec;
    let boot = spec.boot_disk.iter().map(|disk| ("spec.bootDisk".to_owned(), &disk.format));
    let data = spec.data_disks.iter().enumerate();
    let data = data.map(|(index, disk)| (format!("spec.dataDisks[{index}]"), &disk.format));
    for (at, format) in boot.chain(data) {
        if let Some(format) = format.as_ref().filter(|f| *f != DiskFormat::Raw.as_str()) {
            report.push(
                Issue::new(
                    Code::PoolUnfit,
                    format!("{at}.format: pool '{pool}' holds raw disks, not {format}"),
                )
                .hint("omit the format, or use a pool of type dir, fs or netfs"),
            );
        }
    }
}

/// Checks that the pool's type supports the formats and the image of the manifest.
fn check_backend(
    plan: &VmPlan,
    pool: &str,
    backend: PoolBackend,
    image: Option<&ReadyImage>,
    report: &mut PreflightReport,
) {
    if let Some(image) = image.filter(|image| backend != PoolBackend::Ceph && image.is_at_ceph()) {
        let holder = image.volume.as_ref().map_or("", |volume| volume.pool.as_str());
        report.push(
            Issue::new(
                Code::PoolUnfit,
                format!("image '{}' is in Ceph, and libvirt can only clone it there", image.reference),
            )
            .hint(format!("spec.storagePool: {holder} puts the VM's disks in the same pool")),
        );
        return;
    }
    if backend == PoolBackend::Files {
        return;
    }
    check_formats(plan, pool, report);
    let Some(image) = image else { return };
    let holder = image.volume.as_ref().map(|volume| volume.pool.as_str());
    let reference = &image.reference;
    match (backend, holder) {
        (PoolBackend::Lvm, None) => report.push(
            Issue::new(
                Code::ImageOutsidePools,
                format!("image '{reference}' is in no pool, so that libvirt cannot copy it to a raw disk"),
            )
            .hint(
                Advice::from(Verb::ImageImport { file: None, name: None, convert: false })
                    .text(" imports it"),
            ),
        ),
        (PoolBackend::Zfs, _) => report.push(
            Issue::new(Code::PoolUnfit, format!("libvirt cannot copy image '{reference}' into a ZFS pool"))
                .hint("a pool of type dir on a mounted dataset can have disks from images")
                .hint("'empty: true' creates a boot disk here without an image"),
        ),
        (PoolBackend::Ceph, holder) if holder != Some(pool) => report.push(
            Issue::new(
                Code::PoolUnfit,
                format!("libvirt can clone an image to Ceph pool '{pool}' only from that pool"),
            )
            .hint(format!(
                "put it there: qemu-img convert -O raw FILE rbd:CEPHPOOL/NAME, then image: {pool}:NAME"
            )),
        ),
        _ => {}
    }
}

/// Checks space and volume names of a pool that was just started; that is impossible while a pool is stopped.
pub(crate) fn check_started(
    context: &Context,
    plan: &VmPlan,
    storage: &ReadyStorage,
    taken: Option<&Domain>,
    report: &mut PreflightReport,
) -> Result<(), Error> {
    match context.host.pool(&storage.pool.name)? {
        Some(pool) if pool.active => check_room(context, plan, storage.backend, &pool, report),
        _ => report
            .push(Issue::new(Code::PoolInactive, format!("pool '{}' was stopped again", storage.pool.name))),
    }
    check_free(context, storage, taken, report)
}

/// Checks that the volume names are free. Volumes of an existing VM with this name do not count: they are deleted with
/// it, or that VM is itself an issue.
fn check_free(
    context: &Context,
    storage: &ReadyStorage,
    taken: Option<&Domain>,
    report: &mut PreflightReport,
) -> Result<(), Error> {
    let ours = taken.and_then(Domain::own_record).map(|r| r.volumes).unwrap_or_default();
    check_names(context, &storage.volumes, &ours, report)
}

/// A planned volume, before its pool is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedVolume {
    /// What it is for.
    pub role: VolumeRole,
    /// The name, which foundry derives from the VM's name.
    pub name: VolumeName,
    /// The format in the manifest.
    pub format: DiskFormat,
    /// The size that the guest sees; 0 for a seed, whose size is known when it is generated.
    pub capacity: Bytes,
}

/// The volumes of a plan: boot disk, data disks, seed.
pub fn planned_volumes(plan: &VmPlan) -> Vec<PlannedVolume> {
    let volume = |role, name: &VolumeName, format, capacity| PlannedVolume {
        role,
        name: name.clone(),
        format,
        capacity,
    };
    let boot = &plan.boot_disk;
    let mut list = vec![volume(VolumeRole::Boot, &boot.volume, boot.format, boot.size)];
    list.extend(plan.data_disks.iter().map(|d| volume(VolumeRole::Data, &d.volume, d.format, d.size)));
    list.extend(plan.seed.iter().map(|s| volume(VolumeRole::Seed, &s.volume, DiskFormat::Raw, Bytes(0))));
    list
}

/// The volumes of a plan, each with its future path.
fn recorded_volumes(
    plan: &VmPlan,
    own: (&ReadyPool, PoolBackend),
    seed: Option<(&ReadyPool, PoolBackend)>,
    image: Option<&ReadyImage>,
) -> Vec<RecordedVolume> {
    let recorded = |planned: PlannedVolume| {
        let (pool, backend) = if planned.role == VolumeRole::Seed { seed.unwrap_or(own) } else { own };
        let lies_on_image = planned.role == VolumeRole::Boot
            && (backend == PoolBackend::Ceph || (backend == PoolBackend::Files && planned.is_overlay()));
        let path = volume_path(&pool.target, planned.name.as_str());
        let volume = VolumeRef::new(pool.name.clone(), planned.name.to_string());
        let (format, capacity) = (backend.format(planned.format), backend.capacity(planned.capacity));
        RecordedVolume {
            backing: image.filter(|_| lies_on_image).map(|i| i.path.clone()),
            ..RecordedVolume::new(planned.role, volume, path, format.as_str(), capacity)
        }
    };
    planned_volumes(plan).into_iter().map(recorded).collect()
}

/// The path of a volume in a pool with this target.
pub(crate) fn volume_path(target: &str, name: &str) -> String {
    format!("{}/{name}", target.trim_end_matches('/'))
}

impl PlannedVolume {
    /// Returns whether it will be an overlay of the image, if there is one; a raw boot disk is a copy instead.
    pub fn is_overlay(&self) -> bool {
        self.role == VolumeRole::Boot && self.format == DiskFormat::Qcow2
    }
}

/// Reports each planned volume that already exists. Such a volume belongs to someone else and is kept.
fn check_names(
    context: &Context,
    volumes: &[RecordedVolume],
    ours: &[RecordedVolume],
    report: &mut PreflightReport,
) -> Result<(), Error> {
    let mut usage: Option<Usage> = None;
    for planned in volumes {
        if ours.iter().any(|o| o.pool == planned.pool && o.name == planned.name) {
            continue;
        }
        let Some(found) = context.host.volume(&planned.reference())? else { continue };
        let message = format!("volume '{}' exists in pool '{}'", planned.name, planned.pool);
        let usage = match &mut usage {
            Some(usage) => usage,
            none => none.insert(Usage::collect(context, None)?),
        };
        report.push(Issue::new(Code::VolumeTaken, message).hint(advice_for_taken(usage, &found)));
    }
    Ok(())
}

/// Returns what to do about a volume whose name is needed. The advice never deletes a volume that is in use, and `gc`
/// checks its use again before it deletes one.
fn advice_for_taken(usage: &Usage, found: &Volume) -> Advice {
    match usage.reason_if_used(found) {
        Some(reason) => format!("{reason}: choose another name for the VM").into(),
        None => {
            Advice::from("it may hold data: choose another name for the VM, or, if nobody needs the volume, ")
                .run(Verb::Gc { only: Some(format!("{}/{}", found.pool, found.name)) })
        }
    }
}

pub(crate) fn check_pool(
    context: &Context,
    name: &PoolName,
    report: &mut PreflightReport,
) -> Result<Option<(ReadyPool, PoolBackend, Option<Pool>)>, Error> {
    let ready = |target: String, need| ReadyPool { name: name.to_string(), target, need };
    let Some(pool) = context.host.pool(name.as_str())? else {
        let target = context.settings.default_target(name.as_str(), context.host.uri());
        if target.is_none() {
            report.push(missing_pool(context, name.as_str())?);
        }
        return Ok(target.map(|t| (ready(t, PoolNeed::Make), PoolBackend::Files, None)));
    };
    let Some(backend) = PoolBackend::of(&pool.kind) else {
        let why = match pool.kind.as_str() {
            "iscsi" | "iscsi-direct" | "scsi" | "mpath" => "and libvirt cannot create volumes in it",
            _ => "in which foundry cannot create disks",
        };
        report.push(
            Issue::new(Code::PoolUnfit, format!("pool '{name}' is of type {}, {why}", pool.kind))
                .hint("use a pool of type dir, fs, netfs, logical, zfs or rbd"),
        );
        return Ok(None);
    };
    let Some(place) = backend.volume_prefix(&pool) else {
        report.push(Issue::new(Code::PoolUnfit, format!("pool '{name}' has no target path")));
        return Ok(None);
    };
    // A default pool without autostart was left by an interrupted creation. It can be active: a starting libvirtd marks
    // a pool as active if its directory exists.
    let is_own =
        || context.settings.default_target(name.as_str(), context.host.uri()).as_ref() == Some(&place);
    let is_ready = pool.active && (pool.autostart || !is_own());
    let need = if is_ready { PoolNeed::Nothing } else { PoolNeed::Start };
    Ok(Some((ready(place, need), backend, Some(pool))))
}

fn missing_pool(context: &Context, name: &str) -> Result<Issue, Error> {
    let known: Vec<String> = context.host.pools()?.into_iter().map(|p| p.name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Ok(Issue::new(Code::PoolMissing, format!("there is no pool '{name}'"))
        .hint(suggest_names(name, &known))
        .hint(Advice::from(Verb::PoolAdd { pool: name.into() }).text(" creates one")))
}

/// Returns the pool of the seed if the VM's own cannot hold one: the default pool of VM disks.
fn seed_pool(
    context: &Context,
    vm_pool: &str,
    report: &mut PreflightReport,
) -> Result<Option<(ReadyPool, PoolBackend)>, Error> {
    let own = &context.settings.vm_pool;
    let default = crate::Settings::default().vm_pool;
    let name = if own.as_str() == vm_pool { &default } else { own };
    let found = check_pool(context, name, report)?.filter(|(_, backend, _)| backend.takes_uploads());
    if found.is_none() {
        report.push(
            Issue::new(
                Code::PoolUnfit,
                format!("pool '{vm_pool}' cannot hold a cloud-init seed, nor can pool '{name}'"),
            )
            .hint("set --vm-pool to a pool of type dir, fs or netfs; the VM's disks stay in the manifest's pool"),
        );
    }
    Ok(found.map(|(pool, backend, _)| (pool, backend)))
}
