//! The boot disk and the data disks.

use std::collections::HashSet;

use super::judge::{Judge, Judged, all};
use super::{BootDisk, BootSource, DataDisk, Defaults, DiskFormat, image};
use crate::error::Code;
use crate::manifest::{self, Number};
use crate::names::{DiskTarget, VmName};
use crate::units::{Bytes, GIB};

/// The largest disk in GiB: 2^63 - 1 bytes, a signed file offset.
const MAX_GIB: u64 = i64::MAX as u64 / GIB;

/// Judges `spec.bootDisk`.
pub(super) fn boot(
    judge: &mut Judge,
    disk: Option<&manifest::BootDisk>,
    vm: Judged<&VmName>,
    defaults: &Defaults,
) -> Judged<BootDisk> {
    let Some(disk) = disk else {
        return Err(judge.missing("spec.bootDisk", "is required: sizeGB, and image or 'empty: true'"));
    };
    let manifest::BootDisk { size_gb, size_gib, image, image_pool, empty, format } = disk;
    let size = size(judge, "spec.bootDisk", *size_gb, *size_gib);
    let source = source(judge, image.as_deref(), image_pool.as_deref(), *empty, defaults);
    let format = self::format(judge, "spec.bootDisk.format", format.as_deref());
    Ok(BootDisk { volume: vm?.boot_volume(), size: size?, source: source?, format: format? })
}

/// Judges the format of a disk.
fn format(judge: &mut Judge, path: &str, word: Option<&str>) -> Judged<DiskFormat> {
    let known = DiskFormat::ALL.map(|format| (format.as_str(), format));
    judge.word(path, word, &known, DiskFormat::Qcow2)
}

/// Judges `image`, `imagePool` and `empty`, of which exactly one says what is on the disk.
fn source(
    judge: &mut Judge,
    image: Option<&str>,
    pool: Option<&str>,
    empty: Option<bool>,
    defaults: &Defaults,
) -> Judged<BootSource> {
    match (image, empty.unwrap_or_default()) {
        (Some(image), false) => Ok(BootSource::Image(image::parse(judge, image, pool, defaults)?)),
        (Some(image), true) => {
            let message = "contradicts 'empty: true'; leave one of the two out";
            Err(judge.wrong(Code::Contradiction, "spec.bootDisk.image", image, message))
        }
        (None, true) => match pool {
            Some(pool) => Err(judge.wrong(
                Code::Contradiction,
                "spec.bootDisk.imagePool",
                pool,
                "has no meaning for an empty disk",
            )),
            None => Ok(BootSource::Empty),
        },
        (None, false) => {
            let message = "is required; for a disk without an image write 'empty: true'";
            Err(judge.missing("spec.bootDisk.image", message))
        }
    }
}

/// Judges `spec.dataDisks`.
pub(super) fn data(
    judge: &mut Judge,
    disks: &[manifest::DataDisk],
    vm: Judged<&VmName>,
) -> Judged<Vec<DataDisk>> {
    let mut seen = HashSet::new();
    all(disks.iter().enumerate().map(|(index, disk)| {
        let path = format!("spec.dataDisks[{index}]");
        let manifest::DataDisk { device, size_gb, size_gib, format, serial } = disk;
        let target = target(judge, &format!("{path}.device"), device.as_deref(), &mut seen);
        let size = size(judge, &path, *size_gb, *size_gib);
        let format = self::format(judge, &format!("{path}.format"), format.as_deref());
        let serial = serial.as_deref().map(|s| judge.name(&format!("{path}.serial"), s)).transpose();
        let target = target?;
        Ok(DataDisk {
            volume: vm?.data_volume(&target),
            target,
            size: size?,
            format: format?,
            serial: serial?,
        })
    }))
}

fn target(
    judge: &mut Judge,
    path: &str,
    device: Option<&str>,
    seen: &mut HashSet<DiskTarget>,
) -> Judged<DiskTarget> {
    let Some(device) = device else {
        return Err(judge.missing(path, "is required: vdb to vdz"));
    };
    let target: DiskTarget = judge.name(path, device)?;
    if !seen.insert(target.clone()) {
        return Err(judge.wrong(Code::DeviceTwice, path, device, "is the device of an earlier data disk"));
    }
    Ok(target)
}

/// Judges a size, which has two names that both count GiB.
fn size(judge: &mut Judge, disk: &str, gb: Option<Number>, gib: Option<Number>) -> Judged<Bytes> {
    let (name, number) = match (gb, gib) {
        (Some(gb), Some(gib)) if gb.real() != gib.real() => {
            let message = format!("differs from sizeGB ({gb}); both count GiB, leave one out");
            return Err(judge.wrong(Code::Contradiction, format!("{disk}.sizeGiB"), gib, message));
        }
        (Some(gb), _) => ("sizeGB", gb),
        (None, Some(gib)) => ("sizeGiB", gib),
        (None, None) => {
            let message = "is required: the size in GiB, for instance 20";
            return Err(judge.missing(format!("{disk}.sizeGB"), message));
        }
    };
    let path = format!("{disk}.{name}");
    let whole = judge.whole(&path, number, (1, MAX_GIB), " of GiB")?;
    Bytes::from_gib(whole).ok_or_else(|| judge.wrong(Code::NumberUnfit, path, number, "is too large"))
}
