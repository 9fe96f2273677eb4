//! Checks an image before its conversion, and the result afterwards.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::disk_image::{self, DiskImage, ImageExtent};
use foundry_core::units::Bytes;

/// Length of the footer of a VHD image in bytes.
const FOOTER: u64 = 512;

/// An image that can be converted.
pub(super) struct SourceImage {
    /// QEMU's driver for the format.
    pub(super) driver: &'static str,
    /// Size of the disk in bytes, as the image states it.
    pub(super) disk: u64,
}

/// Why an image cannot be converted.
pub(super) enum UnfitImage {
    /// It is not an image, or needs other files.
    Kind(String),
    /// It is shorter than its own tables say.
    CutOff(String),
    /// It cannot be read.
    Unreadable(io::Error),
}

impl From<io::Error> for UnfitImage {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Detects the format of a file.
pub(super) fn detect_image(file: &File) -> Result<(DiskImage, Vec<u8>), UnfitImage> {
    let mut head = Vec::new();
    ReadFromStart { file, offset: 0 }.take(disk_image::HEADER_LENGTH).read_to_end(&mut head)?;
    let image = disk_image::detect_format(&head).map_err(|e| UnfitImage::Kind(e.to_string()))?;
    Ok((image, head))
}

/// Checks that an image needs no other file and is as long as its own tables say.
pub(super) fn check_source(file: &File) -> Result<SourceImage, UnfitImage> {
    let length = file.metadata()?.len();
    let (image, head) = detect_image(file)?;
    let driver = match (image.driver(), image.refusal()) {
        (Some(driver), _) => driver,
        (None, reason) => return Err(UnfitImage::Kind(reason.unwrap_or_default())),
    };
    if driver == "raw" {
        // A footer at the end means that this is a fixed VHD, whose last sector does not belong to the disk.
        if let Some(disk) = read_vhd_footer(file, length)? {
            let is_whole = disk <= length - FOOTER;
            let cut = || UnfitImage::CutOff(truncated_message(disk + FOOTER, length));
            return is_whole.then_some(SourceImage { driver: "vpc", disk }).ok_or_else(cut);
        }
    }
    let mut reach = ImageExtent::from_header(&image, &head);
    reach.read_missing_tables(length, |at, table| read_padded(file, at, table))?;
    if reach.end() > length {
        return Err(UnfitImage::CutOff(truncated_message(reach.end(), length)));
    }
    Ok(SourceImage { driver, disk: reach.disk_size().unwrap_or(length) })
}

fn truncated_message(end: u64, length: u64) -> String {
    format!("it is truncated: by its own tables it has at least {end} bytes, but only {length} are present")
}

/// Reads the disk size from the footer of a fixed VHD.
fn read_vhd_footer(file: &File, length: u64) -> io::Result<Option<u64>> {
    let Some(at) = length.checked_sub(FOOTER) else { return Ok(None) };
    let mut tail = [0; FOOTER as usize];
    file.read_exact_at(&mut tail, at)?;
    Ok(disk_image::is_vhd_footer(&tail).then(|| disk_image::vhd_disk_size(&tail)).flatten())
}

/// Checks that a result contains the whole disk: the size that the image states, and everything that its partition
/// table refers to. QEMU rounds sizes to whole sectors.
pub(super) fn check_result_size(result: &File, image: &DiskImage, disk: u64) -> Result<(), String> {
    let made = match image {
        DiskImage::Qcow2(header) => header.virtual_size.0,
        _ => result.metadata().map_err(|e| e.to_string())?.len(),
    };
    if made.abs_diff(disk) >= 512 {
        return Err(format!("qemu-img created a disk of {made} bytes, but the image has {disk}"));
    }
    let end = disk_image::partitions_end(&first_bytes(result, image).map_err(|e| e.to_string())?);
    if end <= made {
        return Ok(());
    }
    let (made, end) = (Bytes(made), Bytes(end));
    Err(format!("the disk in the image is truncated: it has {made}, but its partitions end at {end}"))
}

/// Reads the first bytes of the disk in a result, which is raw, or qcow2 without compression.
fn first_bytes(result: &File, image: &DiskImage) -> io::Result<Vec<u8>> {
    let DiskImage::Qcow2(header) = image else {
        let mut head = Vec::new();
        ReadFromStart { file: result, offset: 0 }.take(disk_image::HEADER_LENGTH).read_to_end(&mut head)?;
        return Ok(head);
    };
    let number = |at| {
        let mut bytes = [0; 8];
        read_padded(result, at, &mut bytes).map(|()| u64::from_be_bytes(bytes))
    };
    // The offset in an entry is in bits 9 to 55 (QEMU's docs/interop/qcow2).
    let place = |entry: u64| entry & 0x00ff_ffff_ffff_fe00;
    // The header has the offset of the first table at byte 40.
    let table = place(number(number(40)?)?);
    let cluster = if table == 0 { 0 } else { place(number(table)?) };
    let length = header.cluster_size.0.min(disk_image::HEADER_LENGTH);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    if cluster > 0 {
        read_padded(result, cluster, &mut bytes)?;
    }
    Ok(bytes)
}

/// Reads bytes; what is beyond the end of the file is zero, as in QEMU.
fn read_padded(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<()> {
    buffer.fill(0);
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at.saturating_add(done as u64))? {
            0 => break,
            read => done += read,
        }
    }
    Ok(())
}

/// Reads a file from its beginning, independent of its present position.
struct ReadFromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for ReadFromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
