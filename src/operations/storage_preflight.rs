//! The part of the preflight that looks at pools, volumes and the image.

use super::Session;
use super::preflight::{Finding, alternatives, record_of};
use crate::disk_image::{self, DiskImage};
use crate::error::Error;
use crate::host::{Domain, Pool, Volume};
use crate::names::{PoolName, VolumeName};
use crate::plan::{BootSource, DiskFormat, ImageRef, VmPlan};
use crate::record::{RecordedVolume, Role};
use crate::units::Bytes;

/// Room that a new qcow2 volume takes before anything is written to it, rounded up generously
/// (a 1 TiB one takes about 200 KiB).
const EMPTY_QCOW2: Bytes = Bytes(1 << 20);

/// Pool types whose volumes are files, in which a qcow2 overlay can be made.
const FILE_POOLS: [&str; 3] = ["dir", "fs", "netfs"];

/// Where a VM's volumes will be, and what will be below the boot disk.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyStorage {
    /// The pool of the VM.
    pub pool: ReadyPool,
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
    /// Its directory.
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

/// An image that a boot disk can be made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyImage {
    /// As the manifest names it, in full.
    pub reference: ImageRef,
    /// Its volume, where it is in a pool.
    pub volume: Option<(String, String)>,
    /// Its path on the host.
    pub path: String,
    /// Its real format, by its header.
    pub format: String,
    /// What a guest would see.
    pub virtual_size: Bytes,
}

/// Looks at all of it. `None` where a finding leaves nothing to go on with.
pub(super) fn check(
    session: &Session<'_>,
    plan: &VmPlan,
    taken: Option<&Domain>,
    findings: &mut Vec<Finding>,
) -> Result<Option<ReadyStorage>, Error> {
    let image = match &plan.boot_disk.source {
        BootSource::Empty => None,
        BootSource::Image(reference) => check_image(session, plan, reference, findings)?,
    };
    let Some((pool, found)) = check_pool(session, &plan.pool, findings)? else { return Ok(None) };
    let volumes = planned_volumes(plan, &pool, image.as_ref());
    if let Some(found) = found.filter(|_| pool.need == PoolNeed::Nothing) {
        check_room(session, plan, &found, findings);
        // What belongs to the VM of that name goes with it, or the VM itself stands in the way.
        let ours = taken.and_then(record_of).map(|r| r.volumes).unwrap_or_default();
        check_names(session, &volumes, &ours, findings)?;
    }
    Ok(Some(ReadyStorage { pool, volumes, image }))
}

/// The volumes of a plan, with the path that each will have: the pool's target and its name.
fn planned_volumes(plan: &VmPlan, pool: &ReadyPool, image: Option<&ReadyImage>) -> Vec<RecordedVolume> {
    let volume = |role, name: &VolumeName, format: DiskFormat, capacity, backing| RecordedVolume {
        role,
        pool: pool.name.clone(),
        name: name.to_string(),
        path: format!("{}/{name}", pool.target.trim_end_matches('/')),
        format: format.as_str().to_owned(),
        capacity,
        backing,
    };
    let boot = &plan.boot_disk;
    let backing = image.filter(|_| boot.format == DiskFormat::Qcow2).map(|i| i.path.clone());
    let mut list = vec![volume(Role::Boot, &boot.volume, boot.format, boot.size, backing)];
    let data = plan.data_disks.iter().map(|d| volume(Role::Data, &d.volume, DiskFormat::Qcow2, d.size, None));
    list.extend(data);
    list.extend(plan.seed.as_ref().map(|s| volume(Role::Seed, &s.volume, DiskFormat::Raw, Bytes(0), None)));
    list
}

/// No volume may be there already; one that is is somebody's and stays.
pub(super) fn check_names(
    session: &Session<'_>,
    volumes: &[RecordedVolume],
    ours: &[RecordedVolume],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    for planned in volumes {
        let is_ours = ours.iter().any(|o| o.pool == planned.pool && o.name == planned.name);
        if !is_ours && session.host.volume(&planned.pool, &planned.name)?.is_some() {
            findings.push(
                Finding::storage(format!("volume '{}' exists in pool '{}'", planned.name, planned.pool))
                    .hint(format!(
                        "it may hold data that somebody kept: choose another name for the VM, or, if nobody needs it, virsh vol-delete --pool {} {}",
                        planned.pool, planned.name
                    )),
            );
        }
    }
    Ok(())
}

fn check_pool(
    session: &Session<'_>,
    name: &PoolName,
    findings: &mut Vec<Finding>,
) -> Result<Option<(ReadyPool, Option<Pool>)>, Error> {
    let ready = |target: String, need| ReadyPool { name: name.to_string(), target, need };
    let Some(pool) = session.host.pool(name.as_str())? else {
        let target = session.settings.default_target(name.as_str(), session.host.uri());
        if target.is_none() {
            findings.push(missing_pool(session, name.as_str())?);
        }
        return Ok(target.map(|t| (ready(t, PoolNeed::Make), None)));
    };
    if !FILE_POOLS.contains(&pool.kind.as_str()) {
        findings.push(
            Finding::storage(format!("pool '{name}' is of type {}, and VM disks are files", pool.kind))
                .hint(format!("use a pool of type {}", FILE_POOLS.join(", "))),
        );
        return Ok(None);
    }
    let Some(target) = pool.target.clone() else {
        findings.push(Finding::storage(format!("pool '{name}' has no target path")));
        return Ok(None);
    };
    let need = if pool.active { PoolNeed::Nothing } else { PoolNeed::Start };
    Ok(Some((ready(target, need), Some(pool))))
}

fn missing_pool(session: &Session<'_>, name: &str) -> Result<Finding, Error> {
    let known: Vec<String> = session.host.pools()?.into_iter().map(|p| p.name).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    Ok(Finding::storage(format!("there is no pool '{name}'"))
        .hint(alternatives(name, &known))
        .hint(format!("foundry pool add {name} dir PATH makes one")))
}

/// Disks are thin: little is needed now, and more is promised than may be there.
fn check_room(session: &Session<'_>, plan: &VmPlan, pool: &Pool, findings: &mut Vec<Finding>) {
    let boot = if plan.boot_disk.format == DiskFormat::Raw { plan.boot_disk.size } else { EMPTY_QCOW2 };
    let needed = plan
        .data_disks
        .iter()
        .fold(boot.saturating_add(EMPTY_QCOW2), |sum, _| sum.saturating_add(EMPTY_QCOW2));
    if pool.available < needed {
        findings.push(Finding::storage(format!(
            "pool '{}' has {} left; the VM needs {needed} at once",
            pool.name, pool.available
        )));
        return;
    }
    let promised =
        plan.data_disks.iter().fold(plan.boot_disk.size, |sum, disk| sum.saturating_add(disk.size));
    if pool.available < promised {
        session.warn(format!(
            "the disks can grow to {promised}, and pool '{}' has {} left",
            pool.name, pool.available
        ));
    }
}

fn check_image(
    session: &Session<'_>,
    plan: &VmPlan,
    reference: &ImageRef,
    findings: &mut Vec<Finding>,
) -> Result<Option<ReadyImage>, Error> {
    let found = match reference {
        ImageRef::Volume { pool, volume } => {
            image_in_pool(session, pool.as_str(), volume.as_str(), findings)?
        }
        ImageRef::Path(path) => image_at_path(session, path, findings)?,
    };
    let Some(found) = found else { return Ok(None) };
    let Some(image) = judge_image(reference, found, findings) else { return Ok(None) };
    if plan.boot_disk.size < image.virtual_size {
        findings.push(
            Finding::storage(format!(
                "spec.bootDisk.sizeGB: image '{reference}' needs {}, the boot disk has {}",
                image.virtual_size, plan.boot_disk.size
            ))
            .hint("a smaller disk would cut the image off"),
        );
    }
    if plan.boot_disk.format == DiskFormat::Raw && image.volume.is_none() {
        findings.push(
            Finding::storage(format!(
                "image '{reference}' is in no pool, so that libvirt cannot copy it to a raw disk"
            ))
            .hint("import it with foundry image import"),
        );
    }
    Ok(Some(image))
}

/// An image that is there, and its first bytes.
struct FoundImage {
    volume: Option<(String, String)>,
    path: String,
    /// Its size as a file or as libvirt says it, which is the virtual size of a raw image.
    size: Bytes,
    head: Vec<u8>,
}

fn judge_image(reference: &ImageRef, found: FoundImage, findings: &mut Vec<Finding>) -> Option<ReadyImage> {
    let probed = disk_image::probe(&found.head).map_err(|e| e.to_string());
    let refusal = probed.as_ref().map_or_else(|e| Some(e.clone()), DiskImage::refusal);
    if let Some(reason) = refusal {
        findings.push(Finding::storage(format!("image '{reference}' cannot be used: {reason}")));
        return None;
    }
    let image = probed.ok()?;
    if let Some(claim) = false_claim(&found.path, &image) {
        findings.push(Finding::storage(format!("image '{reference}' calls itself {claim} and is {image}")));
        return None;
    }
    let virtual_size = match &image {
        DiskImage::Qcow2(header) => header.virtual_size,
        _ => found.size,
    };
    let format = image.format()?.to_owned();
    Some(ReadyImage {
        reference: reference.clone(),
        volume: found.volume,
        path: found.path,
        format,
        virtual_size,
    })
}

/// The format that a file's name promises, where its content is another. `.img` promises nothing.
fn false_claim(path: &str, image: &DiskImage) -> Option<&'static str> {
    let claim = ["qcow2", "raw"].into_iter().find(|format| path.ends_with(&format!(".{format}")))?;
    (image.format() != Some(claim)).then_some(claim)
}

/// Reads the first bytes of a volume, whatever its name or libvirt's last look say of it.
fn read_head(session: &Session<'_>, volume: Volume) -> Result<FoundImage, Error> {
    let mut head = Vec::new();
    let length = disk_image::HEADER_LENGTH.min(volume.allocation.0.max(volume.capacity.0));
    session.host.download(&volume.pool, &volume.name, &mut head, length)?;
    Ok(FoundImage {
        volume: Some((volume.pool, volume.name)),
        path: volume.path,
        size: volume.capacity,
        head,
    })
}

fn image_in_pool(
    session: &Session<'_>,
    pool: &str,
    name: &str,
    findings: &mut Vec<Finding>,
) -> Result<Option<FoundImage>, Error> {
    if let Some(volume) = session.host.volume(pool, name)? {
        return read_head(session, volume).map(Some);
    }
    let import = format!("foundry image import FILE {name}");
    let finding = match session.host.pool(pool)? {
        None => Finding::storage(format!("image '{name}' not found: there is no pool '{pool}'")).hint(import),
        Some(found) if !found.active => {
            Finding::storage(format!("image '{name}' not found: pool '{pool}' is not started"))
                .hint(format!("virsh pool-start {pool}"))
        }
        Some(_) => {
            let known: Vec<String> = session.host.volumes(pool)?.into_iter().map(|v| v.name).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Finding::storage(format!("image '{name}' not found in pool '{pool}'"))
                .hint(alternatives(name, &known))
                .hint(format!("{import} adds one; foundry pool refresh {pool} finds files put there by hand"))
        }
    };
    findings.push(finding);
    Ok(None)
}

/// A file in no pool can be looked at on this machine only.
fn image_at_path(
    session: &Session<'_>,
    path: &str,
    findings: &mut Vec<Finding>,
) -> Result<Option<FoundImage>, Error> {
    if let Some(volume) = session.host.volume_at(path)? {
        return read_head(session, volume).map(Some);
    }
    let import = format!("foundry image import {path} NAME.qcow2, then image: NAME.qcow2");
    if !session.host.is_local() {
        findings.push(Finding::storage(format!("image '{path}' is in no pool of the host")).hint(import));
        return Ok(None);
    }
    match read_local_head(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) => {
            findings.push(Finding::storage(format!("image '{path}' cannot be read: {e}")).hint(import));
            Ok(None)
        }
    }
}

fn read_local_head(path: &str) -> std::io::Result<FoundImage> {
    let file = std::fs::File::open(path)?;
    let size = Bytes(file.metadata()?.len());
    let mut head = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, disk_image::HEADER_LENGTH), &mut head)?;
    Ok(FoundImage { volume: None, path: path.to_owned(), size, head })
}
