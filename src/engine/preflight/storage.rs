//! The part of the preflight that checks pools and volumes.

use super::conflicts::OtherDomains;
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
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::{Domain, Pool, PoolSource, Volume};

/// Room that a new qcow2 volume takes before anything is written to it, rounded up generously
/// (a 1 TiB one takes about 200 KiB).
pub(crate) const EMPTY_QCOW2: Bytes = Bytes(1 << 20);

/// Where a VM's volumes will be, and what will be below the boot disk.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyStorage {
    /// The pool of the VM.
    pub pool: ReadyPool,
    /// What its volumes are.
    pub backend: PoolBackend,
    /// What it is made of.
    pub source: PoolSource,
    /// The pool of the seed and what its volumes are, where the VM's own cannot hold it.
    pub seed: Option<(ReadyPool, PoolBackend)>,
    /// Boot disk, data disks, seed; the capacity of the seed is known when it is made.
    pub volumes: Vec<RecordedVolume>,
    /// The image of the boot disk.
    pub image: Option<ReadyImage>,
}

/// A pool, and what it needs before a volume can be made in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyPool {
    /// Its name.
    pub name: String,
    /// Where its volumes are: its directory, or what [`PoolBackend`] says.
    pub target: String,
    /// What it needs.
    pub need: PoolNeed,
}

/// What a pool needs before it can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolNeed {
    /// Nothing.
    Nothing,
    /// To be started.
    Start,
    /// To be made: a default pool before its first use.
    Make,
}

/// Looks at all of it. `None` where an issue leaves nothing to go on with.
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
            report.begin_check("image", format!("'{reference}' can be used, and fits into the boot disk"));
            check_image(context, plan, reference, others, report)?
        }
    };
    report.begin_check("pool", format!("'{}' can hold the disks", plan.pool));
    // What libvirt knows of the room is from its last look, and others fill the file system too. A pool that is
    // missing or stopped refuses this one, and is found so below.
    usage::refresh_pool(context, plan.pool.as_str())?;
    let Some((pool, backend, found)) = check_pool(context, &plan.pool, report)? else { return Ok(None) };
    let seed = if plan.seed.is_some() && !backend.takes_uploads() {
        seed_pool(context, &pool.name, report)?
    } else {
        None
    };
    check_backend(plan, &pool.name, backend, image.as_ref(), report);
    let volumes =
        recorded_volumes(plan, (&pool, backend), seed.as_ref().map(|(p, m)| (p, *m)), image.as_ref());
    let source = found.as_ref().map(|p| p.source.clone()).unwrap_or_default();
    let storage = ReadyStorage { pool, backend, source, seed, volumes, image };
    if let Some(found) = found.filter(|pool| pool.active) {
        report.begin_check("room", format!("pool '{}' has enough of it for now", found.name));
        check_room(context, plan, backend, &found, report);
        report.begin_check("volumes", "none of that name exists");
        check_free(context, &storage, taken, report)?;
    }
    Ok(Some(storage))
}

/// Blocks hold the guest's bytes as they are.
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
                .hint("leave the format out, or use a pool of type dir, fs or netfs"),
            );
        }
    }
}

/// What the pool can hold is not all that a manifest can ask for.
fn check_backend(
    plan: &VmPlan,
    pool: &str,
    backend: PoolBackend,
    image: Option<&ReadyImage>,
    report: &mut PreflightReport,
) {
    if let Some(image) = image.filter(|image| backend != PoolBackend::Ceph && image.is_at_ceph()) {
        let holder = image.volume.as_ref().map_or("", |(pool, _)| pool.as_str());
        report.push(
            Issue::new(
                Code::PoolUnfit,
                format!("image '{}' is at Ceph, where libvirt only clones", image.reference),
            )
            .hint(format!("spec.storagePool: {holder} puts the VM's disks there, too")),
        );
        return;
    }
    if backend == PoolBackend::Files {
        return;
    }
    check_formats(plan, pool, report);
    let Some(image) = image else { return };
    let holder = image.volume.as_ref().map(|(pool, _)| pool.as_str());
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
                .hint("'empty: true' makes a boot disk here without an image"),
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

/// Looks whether a pool that was just started has room for a VM and none of its volumes: while it was
/// stopped, nobody could tell.
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

/// What belongs to a VM of that name goes with it, or that VM itself stands in the way.
fn check_free(
    context: &Context,
    storage: &ReadyStorage,
    taken: Option<&Domain>,
    report: &mut PreflightReport,
) -> Result<(), Error> {
    let ours = taken.and_then(Domain::own_record).map(|r| r.volumes).unwrap_or_default();
    check_names(context, &storage.volumes, &ours, report)
}

/// A volume of a plan, wherever it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedVolume {
    /// What it is for.
    pub role: VolumeRole,
    /// Its name.
    pub name: VolumeName,
    /// Its format.
    pub format: DiskFormat,
    /// What the guest sees; of a seed it is known when that is made.
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

/// The volumes of a plan, with the path that each will have: the pool's place and its name.
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
        RecordedVolume {
            pool: pool.name.clone(),
            path: volume_path(&pool.target, planned.name.as_str()),
            format: backend.format(planned.format).as_str().to_owned(),
            backing: image.filter(|_| lies_on_image).map(|i| i.path.clone()),
            capacity: backend.capacity(planned.capacity),
            role: planned.role,
            name: planned.name.to_string(),
            attaching: None,
        }
    };
    planned_volumes(plan).into_iter().map(recorded).collect()
}

/// The path that a volume will have in a pool with that target.
pub(crate) fn volume_path(target: &str, name: &str) -> String {
    format!("{}/{name}", target.trim_end_matches('/'))
}

impl PlannedVolume {
    /// Whether it lies on the image, where there is one; a raw boot disk is a copy.
    pub fn is_overlay(&self) -> bool {
        self.role == VolumeRole::Boot && self.format == DiskFormat::Qcow2
    }
}

/// No volume may be there already; one that is is somebody's and stays.
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
        let Some(found) = context.host.volume(&planned.pool, &planned.name)? else { continue };
        let message = format!("volume '{}' exists in pool '{}'", planned.name, planned.pool);
        let usage = match &mut usage {
            Some(usage) => usage,
            none => none.insert(Usage::collect(context, None)?),
        };
        report.push(Issue::new(Code::VolumeTaken, message).hint(advice_for_taken(usage, &found)));
    }
    Ok(())
}

/// What to do about a volume that is in the way: one that somebody uses stays, and nobody is told to delete one without
/// another look at who uses it.
fn advice_for_taken(usage: &Usage, found: &Volume) -> Advice {
    match usage.reason_if_used(found) {
        Some(reason) => format!("{reason}: choose another name for the VM").into(),
        None => Advice::from(
            "it may hold data that somebody kept: choose another name for the VM, or, if nobody needs it, ",
        )
        .run(Verb::Gc { only: Some(format!("{}/{}", found.pool, found.name)) }),
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
            "iscsi" | "iscsi-direct" | "scsi" | "mpath" => "whose units are there, and libvirt makes none",
            _ => "in which foundry makes no disks",
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
    // One of foundry's own that does not start with the host is one whose making was broken off: a libvirtd that
    // starts finds its directory there and takes it for started.
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
        .hint(Advice::from(Verb::PoolAdd { pool: name.into() }).text(" makes one")))
}

/// Disks are thin: little is needed now, and more is promised than may be there. Those of LVM are not.
fn check_room(
    context: &Context,
    plan: &VmPlan,
    backend: PoolBackend,
    pool: &Pool,
    report: &mut PreflightReport,
) {
    let promised =
        plan.data_disks.iter().fold(plan.boot_disk.size, |sum, disk| sum.saturating_add(disk.size));
    let needed = match backend {
        PoolBackend::Files => room_for_files(plan),
        PoolBackend::Lvm => promised.saturating_add(EMPTY_QCOW2),
        PoolBackend::Zfs | PoolBackend::Ceph => EMPTY_QCOW2,
    };
    if pool.available < needed {
        let message =
            format!("pool '{}' has {} left; the VM needs {needed} at once", pool.name, pool.available);
        report.push(Issue::new(Code::OutOfSpace, message).hint(
            Advice::from(Verb::GcDryRun).text(" lists what nobody uses; spec.storagePool names another pool"),
        ));
        return;
    }
    if pool.available < promised {
        context.warn(format!(
            "the disks can grow to {promised}, and pool '{}' has {} left",
            pool.name, pool.available
        ));
    }
}

fn room_for_files(plan: &VmPlan) -> Bytes {
    let boot = if plan.boot_disk.format == DiskFormat::Raw { plan.boot_disk.size } else { EMPTY_QCOW2 };
    plan.data_disks.iter().fold(boot.saturating_add(EMPTY_QCOW2), |sum, _| sum.saturating_add(EMPTY_QCOW2))
}

/// The pool of the seed where the VM's own cannot hold one: the default one of VM disks.
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
            .hint("name a pool of files with --vm-pool; the VM's disks stay where its manifest says"),
        );
    }
    Ok(found.map(|(pool, backend, _)| (pool, backend)))
}
