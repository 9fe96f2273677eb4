//! The boot disk and the data disks.

use std::collections::HashSet;

use super::judge::{Judge, Judged, collect_all};
use super::{BootDiskPlan, BootSource, DataDiskPlan, Defaults, DiskFormat, ImageRef, image};
use crate::error::Code;
use crate::manifest::{self, Number};
use crate::names::{DiskTarget, VmName};
use crate::units::{Bytes, GIB};

/// Maximum size of a disk in GiB: 2^63 - 1 bytes, a signed file offset.
const MAX_GIB: u64 = i64::MAX as u64 / GIB;

/// Judges `spec.bootDisk`.
pub(super) fn judge_boot_disk(
    judge: &mut Judge,
    disk: Option<&manifest::BootDisk>,
    vm: Judged<&VmName>,
    defaults: &Defaults,
) -> Judged<BootDiskPlan> {
    let Some(disk) = disk else {
        return Err(judge.reject_missing("spec.bootDisk", "is required: sizeGB, and image or 'empty: true'"));
    };
    let manifest::BootDisk { size_gb, size_gib, image, image_pool, warm, empty, format } = disk;
    let size = judge_size(judge, "spec.bootDisk", *size_gb, *size_gib);
    let source = match warm {
        Some(warm) => {
            let others = [("image", image.is_some()), ("empty", *empty == Some(true))];
            judge_warm_source(judge, warm, image_pool.as_deref(), others, defaults)
        }
        None => judge_source(judge, image.as_deref(), image_pool.as_deref(), *empty, defaults),
    };
    let format = self::judge_format(judge, "spec.bootDisk.format", format.as_deref());
    if warm.is_some() && format == Ok(DiskFormat::Raw) {
        let message = "contradicts warm: the disk is an overlay on the warm image, in the format qcow2";
        return Err(judge.reject_value(Code::Contradiction, "spec.bootDisk.format", "raw", message));
    }
    Ok(BootDiskPlan { volume: vm?.boot_volume(), size: size?, source: source?, format: format? })
}

/// Judges the format of a disk.
fn judge_format(judge: &mut Judge, path: &str, word: Option<&str>) -> Judged<DiskFormat> {
    let known = DiskFormat::ALL.map(|format| (format.as_str(), format));
    judge.choose_word(path, word, &known, DiskFormat::Qcow2)
}

/// Judges `image`, `imagePool` and `empty`. Exactly one of image and `empty: true` is required.
fn judge_source(
    judge: &mut Judge,
    image: Option<&str>,
    pool: Option<&str>,
    empty: Option<bool>,
    defaults: &Defaults,
) -> Judged<BootSource> {
    match (image, empty.unwrap_or_default()) {
        (Some(image), false) => Ok(BootSource::Image(image::judge_image(judge, image, pool, defaults)?)),
        (Some(image), true) => {
            let message = "contradicts 'empty: true'; leave one of them out";
            Err(judge.reject_value(Code::Contradiction, "spec.bootDisk.image", image, message))
        }
        (None, true) => match pool {
            Some(pool) => Err(judge.reject_value(
                Code::Contradiction,
                "spec.bootDisk.imagePool",
                pool,
                "has no meaning for an empty disk",
            )),
            None => Ok(BootSource::Empty),
        },
        (None, false) => {
            let message = "is required; for a disk without an image write 'empty: true'";
            Err(judge.reject_missing("spec.bootDisk.image", message))
        }
    }
}

/// Judges `warm`, which names an image in a pool, and stands alone.
fn judge_warm_source(
    judge: &mut Judge,
    warm: &str,
    pool: Option<&str>,
    others: [(&str, bool); 2],
    defaults: &Defaults,
) -> Judged<BootSource> {
    const PATH: &str = "spec.bootDisk.warm";
    if let Some((other, _)) = others.into_iter().find(|(_, is_given)| *is_given) {
        let message = format!("contradicts {other}; leave one of them out");
        return Err(judge.reject_value(Code::Contradiction, PATH, warm, message));
    }
    match image::judge_image_at(judge, PATH, warm, pool, defaults)? {
        found @ ImageRef::Volume { .. } => Ok(BootSource::Image(found)),
        ImageRef::Path(_) => {
            let message = "is a path; write the name of a warm image";
            Err(judge.reject_value(Code::ImageReference, PATH, warm, message))
        }
    }
}

/// Judges `spec.dataDisks`.
pub(super) fn judge_data_disks(
    judge: &mut Judge,
    disks: &[manifest::DataDisk],
    vm: Judged<&VmName>,
) -> Judged<Vec<DataDiskPlan>> {
    let mut seen = HashSet::new();
    collect_all(disks.iter().enumerate().map(|(index, disk)| {
        let path = format!("spec.dataDisks[{index}]");
        let manifest::DataDisk { device, size_gb, size_gib, format, serial } = disk;
        let target = judge_device(judge, &format!("{path}.device"), device.as_deref(), &mut seen);
        let size = judge_size(judge, &path, *size_gb, *size_gib);
        let format = self::judge_format(judge, &format!("{path}.format"), format.as_deref());
        let serial = serial.as_deref().map(|s| judge.parse_name(&format!("{path}.serial"), s)).transpose();
        let target = target?;
        Ok(DataDiskPlan {
            volume: vm?.data_volume(&target),
            target,
            size: size?,
            format: format?,
            serial: serial?,
        })
    }))
}

fn judge_device(
    judge: &mut Judge,
    path: &str,
    device: Option<&str>,
    seen: &mut HashSet<DiskTarget>,
) -> Judged<DiskTarget> {
    let Some(device) = device else {
        return Err(judge.reject_missing(path, "is required: vdb to vdz"));
    };
    let target: DiskTarget = judge.parse_name(path, device)?;
    if !seen.insert(target.clone()) {
        return Err(judge.reject_value(
            Code::DeviceTwice,
            path,
            device,
            "is also the device of an earlier data disk",
        ));
    }
    Ok(target)
}

/// Judges a size. The field has two names, and both are in GiB.
fn judge_size(judge: &mut Judge, disk: &str, gb: Option<Number>, gib: Option<Number>) -> Judged<Bytes> {
    let (name, number) = match (gb, gib) {
        // As numbers: 20 and 20.0 are the same size.
        (Some(gb), Some(gib)) if gb.to_f64() != gib.to_f64() => {
            let message = format!("differs from sizeGB ({gb}), which is the same field; leave one out");
            return Err(judge.reject_value(Code::Contradiction, format!("{disk}.sizeGiB"), gib, message));
        }
        (Some(gb), _) => ("sizeGB", gb),
        (None, Some(gib)) => ("sizeGiB", gib),
        (None, None) => {
            let message = "is required: the size in GiB, such as 20";
            return Err(judge.reject_missing(format!("{disk}.sizeGB"), message));
        }
    };
    let path = format!("{disk}.{name}");
    let whole = judge.check_whole_number(&path, number, (1, MAX_GIB), " of GiB")?;
    Bytes::from_gib(whole).ok_or_else(|| judge.reject_value(Code::NumberUnfit, path, number, "is too large"))
}
