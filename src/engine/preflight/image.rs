//! Checks the image of a boot disk.

use std::path::Path;

use super::conflicts::OtherDomains;
use super::image_name::{NameMatch, ambiguous_name, fetch_command, match_name};
use super::suggest_names;
use crate::preflight::issues::PreflightReport;
use crate::storage::backend::PoolBackend;
use crate::storage::usage::Usage;
use crate::{Context, image};
use foundry_core::error::{Advice, Code, Error, Issue, Kind, Verb};
use foundry_core::origin::ImageOrigin;
use foundry_core::plan::{DiskFormat, ImageRef, VmPlan};
use foundry_core::record::VolumeRef;
use foundry_core::text::describe_io_error;
use foundry_core::units::{Bytes, GIB};
use foundry_fetch::disk_image::{self, DiskImage};
use foundry_fetch::file_ownership::{self, TrustedOwners};
use foundry_host::{Pool, Volume};

/// An image that a boot disk can be made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyImage {
    /// The reference in the manifest, with the full name.
    pub reference: ImageRef,
    /// Pool and name of its volume, if it is in a pool.
    pub volume: Option<VolumeRef>,
    /// Its path on the host, or its name in Ceph.
    pub path: String,
    /// Its format, as detected from the header.
    pub format: String,
    /// The size that a guest would see.
    pub virtual_size: Bytes,
    /// Where it came from, if that was recorded.
    pub origin: Option<ImageOrigin>,
}

impl ReadyImage {
    /// Returns whether it is stored in Ceph: then it is neither a file nor a device of the host.
    pub(crate) fn is_at_ceph(&self) -> bool {
        !self.path.starts_with('/')
    }
}

/// Checks the image of a boot disk. Returns `None` if it cannot be used.
pub(crate) fn check_image(
    context: &Context,
    plan: &VmPlan,
    reference: &ImageRef,
    others: &OtherDomains<'_>,
    report: &mut PreflightReport,
) -> Result<Option<ReadyImage>, Error> {
    let found = match reference {
        ImageRef::Volume { pool, volume } => image_in_pool(context, pool.as_str(), volume.as_str(), report)?,
        ImageRef::Path(path) => image_at_path(context, path, report)?,
    };
    let Some(found) = found else { return Ok(None) };
    let reference = &found.full_reference(reference);
    if let Some(vm) = find_writer(context, &found, others)? {
        let message = format!("image '{reference}' is a disk that domain '{vm}' writes to");
        report.push(
            Issue::new(Code::ImageIsDisk, message).hint(
                Advice::from("while the domain is off, ")
                    .run(Verb::ImageExport)
                    .text(" copies its disk into a file, and ")
                    .run(Verb::ImageImport { file: None, name: None, convert: false })
                    .text(" imports that file as an image"),
            ),
        );
        return Ok(None);
    }
    let Some(mut image) = judge_image(reference, &found, report) else { return Ok(None) };
    if let (Some(volume), ImageHead::Read(head)) = (&found.volume, found.head) {
        image.origin = image::origin_beside(context, volume, || Ok(head))?;
    }
    if plan.boot_disk.size < image.virtual_size {
        report.push(
            Issue::new(
                Code::DiskSmallerThanImage,
                format!(
                    "spec.bootDisk.sizeGB: image '{reference}' needs {}, but the boot disk has only {}",
                    image.virtual_size, plan.boot_disk.size
                ),
            )
            .hint(format!(
                "spec.bootDisk.sizeGB: {}, or more; a smaller disk would truncate the image",
                image.virtual_size.0.div_ceil(GIB)
            )),
        );
    }
    if plan.boot_disk.format == DiskFormat::Raw && image.volume.is_none() {
        report.push(
            Issue::new(
                Code::ImageOutsidePools,
                format!("image '{reference}' is in no pool, so that libvirt cannot copy it to a raw disk"),
            )
            .hint(
                Advice::from(Verb::ImageImport { file: None, name: None, convert: false })
                    .text(" imports it"),
            ),
        );
    }
    Ok(Some(image))
}

/// An existing image, and its first bytes.
struct FoundImage {
    volume: Option<VolumeRef>,
    path: String,
    /// Its size as a file, or as libvirt reports it. This is the virtual size of a raw image.
    size: Bytes,
    head: ImageHead,
}

impl FoundImage {
    /// The reference with the volume's full name, in case the manifest leaves out the extension.
    fn full_reference(&self, reference: &ImageRef) -> ImageRef {
        match (reference, self.volume.as_ref().and_then(|volume| volume.name.parse().ok())) {
            (ImageRef::Volume { pool, .. }, Some(volume)) => ImageRef::Volume { pool: pool.clone(), volume },
            _ => reference.clone(),
        }
    }
}

/// The first bytes of an image.
enum ImageHead {
    /// The bytes, as far as the image has them.
    Read(Vec<u8>),
    /// libvirt cannot read images in Ceph; they are always raw.
    AtCeph,
}

/// Returns the domain that uses an image as its disk. For the image pool, the domains that were already listed are
/// enough; other pools hold disks, so all uses are collected.
fn find_writer(
    context: &Context,
    found: &FoundImage,
    others: &OtherDomains<'_>,
) -> Result<Option<String>, Error> {
    let volume = found.volume.as_ref();
    if let Some(writer) = others.find_writer(volume, &found.path) {
        return Ok(Some(writer));
    }
    if volume.is_some_and(|volume| volume.pool == context.settings.image_pool.as_str()) {
        return Ok(None);
    }
    Ok(Usage::collect(context, None)?.find_writer(volume, &found.path))
}

fn judge_image(reference: &ImageRef, found: &FoundImage, report: &mut PreflightReport) -> Option<ReadyImage> {
    let (probed, is_partial) = match &found.head {
        ImageHead::Read(head) => {
            (disk_image::detect_format(head).map_err(|e| e.to_string()), disk_image::is_partial_image(head))
        }
        ImageHead::AtCeph => (Ok(DiskImage::Raw), false),
    };
    let refusal = probed.as_ref().map_or_else(|e| Some(e.clone()), DiskImage::refusal);
    if let Some(reason) = refusal {
        report.push(match &found.volume {
            Some(volume) if is_partial => incomplete_image(reference, volume),
            _ => Issue::new(Code::NotAnImage, format!("image '{reference}' cannot be used: {reason}")),
        });
        return None;
    }
    let image = probed.ok()?;
    if let Some(claim) = wrong_extension(&found.path, &image) {
        report.push(Issue::new(
            Code::ImageMisnamed,
            format!("image '{reference}' has the extension {claim}, but its content is {image}"),
        ));
        return None;
    }
    let virtual_size = match &image {
        DiskImage::Qcow2(header) => header.virtual_size,
        _ => found.size,
    };
    let format = image.format()?.to_owned();
    Some(ReadyImage {
        reference: reference.clone(),
        volume: found.volume.clone(),
        path: found.path.clone(),
        format,
        virtual_size,
        origin: None,
    })
}

fn incomplete_image(reference: &ImageRef, volume: &VolumeRef) -> Issue {
    Issue::new(
        Code::ImageIncomplete,
        format!("image '{reference}' cannot be used: its import was interrupted or is still running"),
    )
    .hint(
        Advice::from(Verb::ImageDelete {
            image: volume.name.clone(),
            pool: Some(volume.pool.clone()),
            force: true,
        })
        .text(" removes it"),
    )
}

/// Whether an image is complete. An import writes the first bytes last, so they show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    /// The image is complete.
    Complete,
    /// Its import was killed, or is still running.
    Incomplete,
    /// The first bytes cannot be read.
    Unknown,
}

/// Returns whether a volume is a complete image, judged by its first bytes.
pub(crate) fn image_state(context: &Context, volume: &Volume) -> Result<ImageState, Error> {
    // libvirt detects the other formats by their header, so the header was written.
    if volume.format != "raw" || volume.capacity == Bytes(0) {
        return Ok(ImageState::Complete);
    }
    match read_head(context, volume.clone()).map(|found| found.head) {
        Ok(ImageHead::Read(head)) if disk_image::is_partial_image(&head) => Ok(ImageState::Incomplete),
        Ok(_) => Ok(ImageState::Complete),
        Err(e) if e.kind() == Kind::Storage => Ok(ImageState::Unknown),
        Err(e) => Err(e),
    }
}

/// Returns the format in a file name if the content has another one. `.img` fits any format.
fn wrong_extension(path: &str, image: &DiskImage) -> Option<&'static str> {
    let claim = ["qcow2", "raw"].into_iter().find(|format| path.ends_with(&format!(".{format}")))?;
    (image.format() != Some(claim)).then_some(claim)
}

/// Reads the first bytes of a volume. Its name and libvirt's cached format are not trusted.
fn read_head(context: &Context, volume: Volume) -> Result<FoundImage, Error> {
    let head = if volume.path.starts_with('/') {
        let mut head = Vec::new();
        let length = disk_image::HEADER_LENGTH.min(volume.allocation.0.max(volume.capacity.0));
        context.host.download(&volume.reference(), &mut head, length)?;
        ImageHead::Read(head)
    } else {
        ImageHead::AtCeph
    };
    Ok(FoundImage { volume: Some(volume.reference()), path: volume.path, size: volume.capacity, head })
}

fn image_in_pool(
    context: &Context,
    pool: &str,
    name: &str,
    report: &mut PreflightReport,
) -> Result<Option<FoundImage>, Error> {
    match match_name(context, pool, name)? {
        NameMatch::One(volume) => {
            let whole = volume.name.clone();
            if let Some(what) = not_a_file(context, &volume)? {
                let message = format!("image '{whole}' in pool '{pool}' cannot be used: its file is {what}");
                report.push(Issue::new(Code::NotAnImage, message));
                return Ok(None);
            }
            match read_head(context, volume) {
                // The volume was deleted since it was listed: report it as missing.
                Err(_) if matches!(context.host.volume(&VolumeRef::new(pool, &whole)), Ok(None)) => {}
                found => return found.map(Some),
            }
        }
        NameMatch::Several(names) => {
            report.push(
                Issue::new(Code::ImageMissing, ambiguous_name(pool, name, &names))
                    .hint("give the name with its extension"),
            );
            return Ok(None);
        }
        NameMatch::Nothing => {}
    }
    let is_ours = pool == context.settings.image_pool.as_str();
    let bring = fetch_command(context, name, (!is_ours).then_some(pool));
    let issue = match context.host.pool(pool)? {
        None => {
            Issue::new(Code::ImageMissing, format!("image '{name}' not found: there is no pool '{pool}'"))
                .hint(if is_ours { bring } else { Advice::from(Verb::PoolList).text(" lists the pools") })
        }
        Some(found) if !found.active => {
            Issue::new(Code::PoolInactive, format!("image '{name}' not found: pool '{pool}' is not started"))
                .hint(Verb::PoolStart { pool: pool.into() })
        }
        Some(_) => {
            let known: Vec<String> = context.host.volumes(pool)?.into_iter().map(|v| v.name).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Issue::new(Code::ImageMissing, format!("image '{name}' not found in pool '{pool}'"))
                .hint(suggest_names(name, &known))
                .hint(
                    bring
                        .text(" adds one; ")
                        .run(Verb::PoolRefresh { pool: pool.into() })
                        .text(" finds files put there by hand"),
                )
        }
    };
    report.push(issue);
    Ok(None)
}

/// Returns what a volume in a directory pool is, if it is not a regular file (on this machine only). A device node would
/// give the guest a disk of the host.
fn not_a_file(context: &Context, volume: &Volume) -> Result<Option<&'static str>, Error> {
    if !context.host.is_local() {
        return Ok(None);
    }
    let found = std::fs::metadata(&volume.path).ok().and_then(|found| file_ownership::non_file_kind(&found));
    // Volumes of LVM and ZFS are devices by nature.
    let is_of_files = || Ok::<_, Error>(context.host.pool(&volume.pool)?.is_some_and(|pool| is_files(&pool)));
    Ok(if found.is_some() && is_of_files()? { found } else { None })
}

fn is_files(pool: &Pool) -> bool {
    PoolBackend::of(&pool.kind) == Some(PoolBackend::Files)
}

/// Finds an image by its path. A file outside all pools can be read on this machine only.
fn image_at_path(
    context: &Context,
    path: &str,
    report: &mut PreflightReport,
) -> Result<Option<FoundImage>, Error> {
    if let Some(volume) = context.host.volume_at(path)? {
        return read_head(context, volume).map(Some);
    }
    let import =
        Verb::ImageImport { file: Some(path.into()), name: Some("NAME.qcow2".into()), convert: false };
    let import = Advice::from(import).text(", then image: NAME.qcow2");
    if !context.host.is_local() {
        report.push(
            Issue::new(Code::ImageOutsidePools, format!("image '{path}' is in no pool of the host"))
                .hint(import),
        );
        return Ok(None);
    }
    match read_local_head(context, path) {
        Ok(LocalImage::Image(found)) => Ok(Some(found)),
        Ok(LocalImage::OfOthers(who)) => {
            let message = format!("image '{path}' cannot be used: {who}");
            let why = "a user who can write there could replace it, and QEMU would open the replacement";
            report.push(Issue::new(Code::ImageOfOthers, format!("{message}; {why}")).hint(import));
            Ok(None)
        }
        Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => {
            report.push(Issue::new(Code::NotAnImage, format!("image '{path}' cannot be used: {e}")));
            Ok(None)
        }
        Err(e) => {
            let is_missing = e.kind() == std::io::ErrorKind::NotFound;
            let code = if is_missing { Code::ImageMissing } else { Code::DiskUnreadable };
            let cause = describe_io_error(&e);
            report.push(Issue::new(code, format!("image '{path}' cannot be read: {cause}")).hint(import));
            Ok(None)
        }
    }
}

/// The file at a path of this machine.
enum LocalImage {
    Image(FoundImage),
    /// Other users can write to the file or to a directory above it; this says who.
    OfOthers(String),
}

/// Reads the first bytes of a local file. Links are resolved, and the VM gets the real path. No other user may write to
/// that path, so QEMU opens the file that was checked here.
fn read_local_head(context: &Context, path: &str) -> std::io::Result<LocalImage> {
    let (file, whole, found) = file_ownership::open_regular(Path::new(path))?;
    // While a VM runs, libvirt changes the owner of its files to the QEMU user.
    let qemu = || Some(context.host.capabilities().ok()?.guest_ids()?.0);
    let trusted = TrustedOwners::root_and_caller();
    let other_user = match trusted.find_untrusted(&whole, &found)? {
        Some(_) => trusted.with_file_owner(qemu()).find_untrusted(&whole, &found)?,
        None => None,
    };
    if let Some(who) = other_user {
        return Ok(LocalImage::OfOthers(who));
    }
    let Some(whole) = whole.to_str() else {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "its real path is not valid UTF-8",
        ));
    };
    let mut head = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, disk_image::HEADER_LENGTH), &mut head)?;
    let (path, size) = (whole.to_owned(), Bytes(found.len()));
    Ok(LocalImage::Image(FoundImage { volume: None, path, size, head: ImageHead::Read(head) }))
}
