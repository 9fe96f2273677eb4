//! The header of a file with a domain's saved memory (libvirt's `src/qemu/qemu_saveimage.h`).
//!
//! ```text
//!   16 bytes magic ▸ version, data_len, was_running, compressed, cookie offset, 14 unused (u32, little-endian)
//!   data_len bytes: XML, NUL, cookie, NUL, zeros ▸ QEMU's stream
//! ```
//!
//! libvirt restores a file with another XML in its header as it is, but a file that it is to restore with another UUID it
//! refuses. So the header is rewritten in place: the new data takes exactly as many bytes as the old one, which has room
//! to spare. The file may be damaged or forged; nothing in it is believed before it was checked.

use std::fmt;

/// The magic of a complete file.
const MAGIC: &[u8; 16] = b"LibvirtQemudSave";
/// The magic of a file whose writing has not ended.
const PARTIAL: &[u8; 16] = b"LibvirtQemudPart";
/// The only version that has the layout above.
const VERSION: u32 = 2;
/// Length of the fixed part in bytes.
pub const FIXED_LENGTH: usize = 16 + 19 * 4;
/// The longest XML and cookie that are read, in bytes. libvirt's own limit for a string is 4 MiB.
pub const LONGEST_DATA: usize = 4 << 20;

/// Why the header of a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedMemoryError {
    /// It is no file of saved memory.
    Foreign,
    /// It is not complete.
    Partial,
    /// It has another layout: this version.
    Version(u32),
    /// Its memory is compressed, in libvirt's format of this number.
    Compressed(u32),
    /// It is damaged, for this reason.
    Damaged(&'static str),
    /// The new data has this many bytes more than there is room for.
    TooLong(usize),
}

impl fmt::Display for SavedMemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("it does not begin as libvirt's files with saved memory do"),
            Self::Partial => f.write_str("it is not complete"),
            Self::Version(version) => write!(f, "it has version {version}, and only version 2 is known"),
            Self::Compressed(format) => write!(
                f,
                "its memory is compressed (format {format}); save_image_format in libvirt's qemu.conf must be raw"
            ),
            Self::Damaged(why) => write!(f, "it is damaged: {why}"),
            Self::TooLong(more) => write!(f, "the new description is {more} bytes too long for it"),
        }
    }
}

impl std::error::Error for SavedMemoryError {}

/// The header of a file with saved memory, without the XML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedMemory {
    fixed: [u8; FIXED_LENGTH],
    data_length: usize,
    cookie_offset: usize,
}

impl SavedMemory {
    /// Reads the fixed part of a header, the first [`FIXED_LENGTH`] bytes of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_fixed(bytes: &[u8]) -> Result<Self, SavedMemoryError> {
        let magic = bytes.get(..MAGIC.len());
        if magic == Some(PARTIAL) {
            return Err(SavedMemoryError::Partial);
        }
        if magic != Some(MAGIC) {
            return Err(SavedMemoryError::Foreign);
        }
        let fixed: &[u8; FIXED_LENGTH] =
            bytes.first_chunk().ok_or(SavedMemoryError::Damaged("its header is cut off"))?;
        let number = |index: usize| {
            let at = MAGIC.len() + index * 4;
            let word = fixed.get(at..).and_then(<[u8]>::first_chunk::<4>);
            word.map_or(0, |word| u32::from_le_bytes(*word))
        };
        let [version, data_length, _, compressed, cookie_offset] = [0, 1, 2, 3, 4].map(number);
        if version != VERSION {
            return Err(SavedMemoryError::Version(version));
        }
        if compressed != 0 {
            return Err(SavedMemoryError::Compressed(compressed));
        }
        let (data_length, cookie_offset) = (data_length as usize, cookie_offset as usize);
        if data_length == 0 || data_length > LONGEST_DATA {
            return Err(SavedMemoryError::Damaged("the length of its description is impossible"));
        }
        if cookie_offset >= data_length {
            return Err(SavedMemoryError::Damaged("its cookie is outside its description"));
        }
        Ok(Self { fixed: *fixed, data_length, cookie_offset })
    }

    /// Returns where QEMU's stream begins, in bytes from the start of the file.
    pub fn header_length(&self) -> usize {
        FIXED_LENGTH + self.data_length
    }

    /// Splits the data after the fixed part into the XML and the cookie, which may be empty.
    ///
    /// # Errors
    /// That the data is damaged.
    pub fn split_data<'a>(&self, data: &'a [u8]) -> Result<(&'a str, &'a [u8]), SavedMemoryError> {
        let data = data.get(..self.data_length).ok_or(SavedMemoryError::Damaged("its header is cut off"))?;
        let until_nul = |part: &'a [u8]| {
            let end = part.iter().position(|byte| *byte == 0);
            end.and_then(|end| part.get(..end)).ok_or(SavedMemoryError::Damaged("its description has no end"))
        };
        let xml = until_nul(data)?;
        let cookie = match self.cookie_offset {
            0 => &[][..],
            offset if offset <= xml.len() => {
                return Err(SavedMemoryError::Damaged("its cookie is inside its description"));
            }
            // It is smaller than the length of the data.
            offset => until_nul(data.get(offset..).unwrap_or_default())?,
        };
        let xml = std::str::from_utf8(xml)
            .map_err(|_| SavedMemoryError::Damaged("its description is not UTF-8"))?;
        Ok((xml, cookie))
    }

    /// Makes the whole header with another XML. It has the same length as before.
    ///
    /// # Errors
    /// [`SavedMemoryError::TooLong`].
    pub fn with_xml(&self, xml: &str, cookie: &[u8]) -> Result<Vec<u8>, SavedMemoryError> {
        let mut header = self.fixed.to_vec();
        let at = xml.len() + 1;
        let needed = at + if cookie.is_empty() { 0 } else { cookie.len() + 1 };
        if needed > self.data_length {
            return Err(SavedMemoryError::TooLong(needed - self.data_length));
        }
        // It is smaller than `LONGEST_DATA`.
        let offset = if cookie.is_empty() { 0 } else { u32::try_from(at).unwrap_or(u32::MAX) };
        let place = MAGIC.len() + 4 * 4;
        header.splice(place..place + 4, offset.to_le_bytes());
        header.extend_from_slice(xml.as_bytes());
        header.push(0);
        header.extend_from_slice(cookie);
        header.resize(self.header_length(), 0);
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(xml: &str, cookie: &str, room: usize) -> Vec<u8> {
        let mut data = [xml.as_bytes(), b"\0"].concat();
        let offset = if cookie.is_empty() { 0 } else { data.len() as u32 };
        if !cookie.is_empty() {
            data.extend_from_slice(cookie.as_bytes());
            data.push(0);
        }
        data.resize(data.len() + room, 0);
        let mut bytes = MAGIC.to_vec();
        for word in [VERSION, data.len() as u32, 1, 0, offset] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.resize(FIXED_LENGTH, 0);
        bytes.extend_from_slice(&data);
        bytes.extend_from_slice(b"QEVM stream");
        bytes
    }

    fn read(bytes: &[u8]) -> Result<(String, Vec<u8>), SavedMemoryError> {
        let header = SavedMemory::read_fixed(bytes)?;
        let (xml, cookie) = header.split_data(bytes.get(FIXED_LENGTH..).unwrap_or_default())?;
        Ok((xml.to_owned(), cookie.to_vec()))
    }

    #[test]
    fn header_is_rewritten_in_its_own_length() {
        let bytes = file("<domain>old</domain>", "<cookie/>", 100);
        let header = SavedMemory::read_fixed(&bytes).unwrap();
        let (_, cookie) = header.split_data(&bytes[FIXED_LENGTH..]).unwrap();
        let new = header.with_xml("<domain>another and longer</domain>", cookie).unwrap();
        assert_eq!(new.len(), header.header_length());
        let whole = [&new[..], &bytes[header.header_length()..]].concat();
        assert_eq!(whole.len(), bytes.len());
        assert!(whole.ends_with(b"QEVM stream"));
        let again = read(&whole).unwrap();
        assert_eq!(again, ("<domain>another and longer</domain>".to_owned(), b"<cookie/>".to_vec()));
        // Running, raw, version 2: as before.
        assert_eq!(whole[16..32], bytes[16..32]);
    }

    #[test]
    fn header_without_cookie_stays_without() {
        let bytes = file("<domain/>", "", 10);
        let header = SavedMemory::read_fixed(&bytes).unwrap();
        let new = header.with_xml("<domain>x</domain>", b"").unwrap();
        assert_eq!(read(&new).unwrap(), ("<domain>x</domain>".to_owned(), Vec::new()));
    }

    #[test]
    fn too_long_xml_is_refused_with_the_missing_bytes() {
        let bytes = file("<domain/>", "<c/>", 3);
        let header = SavedMemory::read_fixed(&bytes).unwrap();
        assert!(header.with_xml("<domain />..", b"<c/>").is_ok());
        assert_eq!(header.with_xml("<domain />...", b"<c/>"), Err(SavedMemoryError::TooLong(1)));
    }

    #[test]
    fn other_files_are_refused_by_what_they_are() {
        let good = file("<domain/>", "<c/>", 0);
        let set = |at: usize, word: u32| {
            let mut bytes = good.clone();
            bytes.splice(at..at + 4, word.to_le_bytes());
            read(&bytes)
        };
        assert_eq!(read(b"QFI\xfb and more than that"), Err(SavedMemoryError::Foreign));
        assert_eq!(read(b""), Err(SavedMemoryError::Foreign));
        let partial = [&PARTIAL[..], &good[16..]].concat();
        assert_eq!(read(&partial), Err(SavedMemoryError::Partial));
        assert_eq!(set(16, 3), Err(SavedMemoryError::Version(3)));
        assert_eq!(set(28, 1), Err(SavedMemoryError::Compressed(1)));
        for length in [0, LONGEST_DATA as u32 + 1, u32::MAX] {
            assert!(matches!(set(20, length), Err(SavedMemoryError::Damaged(_))), "{length}");
        }
        // The cookie before the end of the XML, at the end, and after it.
        for offset in [1, 9, 15, u32::MAX] {
            assert!(matches!(set(32, offset), Err(SavedMemoryError::Damaged(_))), "{offset}");
        }
        assert!(set(32, 10).is_ok());
    }

    /// Every beginning of a file, and every file with one other byte, is read or refused, and never out of bounds.
    #[test]
    fn damaged_files_are_refused_within_bounds() {
        let good = file("<domain/>", "<c/>", 4);
        for end in 0..good.len() {
            let _ = read(&good[..end]);
        }
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                if let Ok((xml, cookie)) = read(&bytes) {
                    assert!(xml.len() + cookie.len() < bytes.len());
                    let header = SavedMemory::read_fixed(&bytes).unwrap();
                    assert!(header.with_xml(&xml, &cookie).is_ok_and(|h| h.len() == header.header_length()));
                }
            }
        }
    }
}
