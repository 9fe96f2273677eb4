//! The files of the host: sizes, content, and how libvirt sees them.

use foundry_fetch::disk_image::{DiskImage, detect_format};

/// First bytes of a qcow2 image.
const QCOW2_MAGIC: &[u8; 4] = b"QFI\xfb";

/// The offset of the ISO 9660 signature (ECMA-119, 8.4.1 and 8.1.2).
const ISO_MARK: (usize, &[u8; 5]) = (32769, b"CD001");

/// The length of the header: version 3 without extensions (QEMU's docs/interop/qcow2).
const QCOW2_HEADER: usize = 104;

/// The allocation of a new qcow2 image, as measured.
const QCOW2_SIZE: u64 = 196_616;

/// A file of the host, sparse.
#[derive(Clone)]
pub(super) struct File {
    pub(super) format: String,
    /// The size that a guest sees.
    pub(super) capacity: u64,
    /// The size it uses on the host.
    pub(super) allocation: u64,
    /// Its length. After the end of `content` it is zeros.
    pub(super) length: u64,
    pub(super) content: Vec<u8>,
    pub(super) backing: Option<String>,
    pub(super) mode: u32,
    /// Whether it was written since libvirt last probed it.
    pub(super) written: bool,
}

impl File {
    /// An empty image, as `qemu-img create` makes it.
    pub(super) fn new(format: &str, capacity: u64, backing: Option<String>) -> Self {
        let qcow2 = format == "qcow2";
        Self {
            format: format.to_owned(),
            capacity,
            allocation: if qcow2 { QCOW2_SIZE } else { capacity },
            length: if qcow2 { QCOW2_SIZE } else { capacity },
            content: if qcow2 { qcow2_header(capacity, backing.as_deref()) } else { Vec::new() },
            backing,
            mode: 0o600,
            written: false,
        }
    }

    /// An image that looks bootable by its first bytes: a raw one has a boot sector.
    pub(super) fn image(format: &str, capacity: u64) -> Self {
        let mut file = Self::new(format, capacity, None);
        if format == "raw" && capacity >= 512 {
            file.content = [vec![0xeb, 0xfe], vec![0; 508], vec![0x55, 0xaa]].concat();
        }
        file
    }

    /// A file with content, as libvirt sees it after a refresh of the pool.
    pub(super) fn with_content(content: &[u8]) -> Self {
        let mut file = Self::new("raw", content.len() as u64, None);
        file.write(0, content, 0);
        file.probe_file();
        file
    }

    /// Writes at an offset. libvirt probes the file some time after an upload (in a thread, measured up to 60 ms late)
    /// or when told to; only the latter is reliable.
    ///
    /// `data` is the number of bytes that are not holes.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], data: u64) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        self.content[start..end].copy_from_slice(bytes);
        self.length = self.length.max(end as u64);
        self.allocation = (self.allocation + data).min(self.length).max(self.allocation);
        self.written = true;
    }

    /// Sets the size that a guest sees.
    pub(super) fn resize(&mut self, capacity: u64) {
        self.capacity = capacity;
        if self.format == "qcow2" {
            let header = qcow2_header(capacity, self.backing.as_deref());
            self.content.splice(..self.content.len().min(header.len()), header);
        } else {
            self.length = capacity;
        }
    }

    /// Up to `length` bytes from the start; zeros where nothing was written.
    pub(super) fn read(&self, length: u64) -> Vec<u8> {
        let length = usize::try_from(length.min(self.length)).unwrap_or(usize::MAX);
        let mut bytes = self.content[..self.content.len().min(length)].to_vec();
        bytes.resize(length, 0);
        bytes
    }

    /// Lets libvirt probe the file.
    pub(super) fn probe_file(&mut self) {
        if !std::mem::take(&mut self.written) {
            return;
        }
        let (mark, iso) = ISO_MARK;
        (self.format, self.capacity, self.backing) = if self.content.starts_with(QCOW2_MAGIC)
            && let Ok(DiskImage::Qcow2(image)) = detect_format(&self.content)
        {
            ("qcow2".into(), image.virtual_size.0, image.backing_file)
        } else if self.content.get(mark..mark + iso.len()) == Some(iso) {
            ("iso".into(), self.length, None)
        } else {
            ("raw".into(), self.length, None)
        };
    }
}

/// A qcow2 header that is real enough for its readers.
fn qcow2_header(capacity: u64, backing: Option<&str>) -> Vec<u8> {
    let mut header = vec![0; QCOW2_HEADER];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, QCOW2_MAGIC);
    put(4, &3u32.to_be_bytes());
    put(20, &16u32.to_be_bytes());
    put(24, &capacity.to_be_bytes());
    put(96, &4u32.to_be_bytes());
    put(100, &(QCOW2_HEADER as u32).to_be_bytes());
    if let Some(backing) = backing {
        // Eight zeros end the list of extensions; the backing file's name follows.
        put(8, &(QCOW2_HEADER as u64 + 8).to_be_bytes());
        put(16, &u32::try_from(backing.len()).unwrap_or(u32::MAX).to_be_bytes());
        header.extend([0; 8]);
        header.extend(backing.as_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_was_made_is_seen_as_what_it_is() {
        let made = File::new("qcow2", 5 << 30, Some("/pool/base.img".into()));
        let seen = File::with_content(&made.content);
        assert_eq!((seen.format.as_str(), seen.capacity), ("qcow2", 5 << 30));
        assert_eq!(seen.backing.as_deref(), Some("/pool/base.img"));
    }

    #[test]
    fn a_resized_image_says_so_in_its_header() {
        let mut image = File::new("qcow2", 1 << 30, Some("/b".into()));
        image.resize(2 << 30);
        let seen = File::with_content(&image.content);
        assert_eq!((seen.capacity, seen.backing.as_deref()), (2 << 30, Some("/b")));
    }

    #[test]
    fn an_iso_and_anything_else() {
        let mut iso = vec![0; 40_000];
        iso[32769..32774].copy_from_slice(b"CD001");
        assert_eq!(File::with_content(&iso).format, "iso");
        let text = File::with_content(b"QFI");
        assert_eq!((text.format.as_str(), text.capacity), ("raw", 3));
        let broken = File::with_content(b"QFI\xfb and no more");
        assert_eq!(broken.format, "raw");
    }

    #[test]
    fn reading_ends_with_the_file() {
        let mut file = File::new("raw", 10, None);
        file.write(0, b"abc", 3);
        assert_eq!(file.read(100), b"abc\0\0\0\0\0\0\0");
        assert_eq!(file.read(2), b"ab");
    }
}
