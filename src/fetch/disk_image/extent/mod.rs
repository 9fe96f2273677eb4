//! Computes how far an image extends according to its own tables, to detect a truncated one.
//!
//! Formats with tables store the data anywhere after them, and programs read zeros beyond the end of the file. So each
//! table is followed to the data that it refers to. The tables are read as they pass by in a transfer
//! ([`ImageExtent::feed_bytes`]), or from a file ([`ImageExtent::read_missing_tables`]) if they precede the table that
//! refers to them.

mod block_maps;
mod qcow2;
mod two_levels;
mod vhdx;

use std::collections::BTreeMap;

use super::foreign::ForeignFormat;
use super::{DiskImage, raw};

/// Maximum number of tables in memory, enough for an image of hundreds of tebibytes. It limits the memory that a
/// malicious file can use.
const MOST_TABLES: usize = 1 << 18;
/// Maximum length of a table, QEMU's limit for qcow2 (block/qcow2.h, `QCOW_MAX_L1_SIZE`). QEMU would not open an image
/// with a longer one.
const LONGEST_TABLE: u64 = 32 << 20;

/// The length of an image according to its own tables.
#[derive(Debug, Clone)]
pub struct ImageExtent {
    state: ExtentState,
    /// Tables that come later in the file, by the offset of their missing part.
    ahead: BTreeMap<(u64, u64), Table>,
    /// Tables that had already passed by when they became known.
    missed: Vec<(u64, Table)>,
}

/// What is known of the image so far.
#[derive(Debug, Clone, Default)]
struct ExtentState {
    /// End of the last part of the image.
    end: u64,
    /// Virtual size, if the image states it.
    disk: Option<u64>,
    /// Known tables that were not read yet, with their offsets.
    tables: Vec<(u64, Table)>,
}

#[derive(Debug, Clone)]
struct Table {
    length: u64,
    kind: TableKind,
    /// The bytes of the table that passed by so far.
    bytes: Vec<u8>,
}

/// The meaning of a table's entries.
#[derive(Debug, Clone, Copy)]
enum TableKind {
    Qcow2(qcow2::Qcow2Layout, qcow2::Qcow2Table),
    TwoLevels(two_levels::TwoLevelLayout, two_levels::Level),
    Blocks(block_maps::BlockMapLayout),
    Vhdx(vhdx::VhdxTable),
}

impl TableKind {
    fn read_table(self, bytes: &[u8], state: &mut ExtentState) {
        match self {
            Self::Qcow2(layout, part) => layout.read_table(part, bytes, state),
            Self::TwoLevels(layout, level) => layout.read_table(level, bytes, state),
            Self::Blocks(layout) => layout.read_table(bytes, state),
            Self::Vhdx(part) => part.read_table(bytes, state),
        }
    }
}

impl ExtentState {
    /// Adds a range that belongs to the image.
    fn add_range(&mut self, offset: u64, length: u64) {
        self.end = self.end.max(offset.saturating_add(length));
    }

    /// Adds a table of the image.
    fn add_table(&mut self, offset: u64, length: u64, kind: TableKind) {
        self.add_range(offset, length);
        self.add_partial_table(offset, length, kind);
    }

    /// Adds a table that the file need not contain completely.
    fn add_partial_table(&mut self, offset: u64, length: u64, kind: TableKind) {
        if (1..=LONGEST_TABLE).contains(&length) && self.tables.len() < MOST_TABLES {
            self.tables.push((offset, Table { length, kind, bytes: Vec::new() }));
        }
    }
}

impl ImageExtent {
    /// Starts with the first bytes of an image.
    pub fn from_header(image: &DiskImage, head: &[u8]) -> Self {
        let mut state = ExtentState::default();
        match image {
            DiskImage::Qcow2(header) => qcow2::read_header(header, head, &mut state),
            DiskImage::Raw => state.end = raw::least_length(head),
            DiskImage::Foreign(foreign) => match foreign.format {
                ForeignFormat::Vmdk => two_levels::read_vmdk_header(head, &mut state),
                ForeignFormat::Qed => two_levels::read_qed_header(head, &mut state),
                ForeignFormat::Qcow => two_levels::read_qcow_header(head, &mut state),
                ForeignFormat::Vdi => block_maps::read_vdi_header(head, &mut state),
                ForeignFormat::Vhd => block_maps::read_vhd_header(head, &mut state),
                ForeignFormat::Parallels => block_maps::read_parallels_header(head, &mut state),
                ForeignFormat::Vhdx => vhdx::read_header(&mut state),
                ForeignFormat::Luks => {}
            },
            DiskImage::NoDisk(_) | DiskImage::Unknown => {}
        }
        let mut reach = Self { state, ahead: BTreeMap::new(), missed: Vec::new() };
        reach.queue_tables();
        reach.feed_bytes(0, head);
        reach
    }

    /// Returns the end of the last part of the image, as far as its tables were read.
    pub fn end(&self) -> u64 {
        self.state.end
    }

    /// Returns the virtual size, if the image states it.
    pub fn disk_size(&self) -> Option<u64> {
        self.state.disk
    }

    /// Takes the next bytes of the image, in order.
    pub fn feed_bytes(&mut self, at: u64, bytes: &[u8]) {
        let end = at.saturating_add(bytes.len() as u64);
        self.feed_tables(at, end, |table, from, to| {
            let place = |offset: u64| usize::try_from(offset - at).unwrap_or(usize::MAX);
            table.bytes.extend_from_slice(bytes.get(place(from)..place(to)).unwrap_or_default());
        });
    }

    /// Takes a hole of the image, which reads as zeros.
    pub fn feed_hole(&mut self, at: u64, length: u64) {
        self.feed_tables(at, at.saturating_add(length), |table, from, to| {
            // The entries of a table of zeros refer to nothing.
            if !(table.bytes.is_empty() && to - from == table.length) {
                table.bytes.resize(table.bytes.len() + usize::try_from(to - from).unwrap_or(0), 0);
            }
        });
    }

    fn feed_tables(&mut self, at: u64, end: u64, add: impl Fn(&mut Table, u64, u64)) {
        while let Some(entry) = self.ahead.first_entry().filter(|entry| entry.key().0 < end) {
            let ((next, start), mut table) = entry.remove_entry();
            if next < at {
                self.missed.push((start, table));
                continue;
            }
            let table_end = start + table.length;
            let until = table_end.min(end);
            add(&mut table, next, until);
            if until < table_end {
                self.ahead.insert((until, start), table);
                continue;
            }
            table.kind.read_table(&table.bytes, &mut self.state);
            self.queue_tables();
        }
    }

    /// Queues the new tables. Each offset is read once.
    fn queue_tables(&mut self) {
        for (offset, table) in std::mem::take(&mut self.state.tables) {
            // No file can be longer than a signed offset.
            if self.ahead.len() + self.missed.len() < MOST_TABLES && i64::try_from(offset).is_ok() {
                self.ahead.entry((offset, offset)).or_insert(table);
            }
        }
    }

    /// Reads the remaining tables from a file with this length; `read` fills the buffer from an offset on. Tables
    /// beyond the length are not read.
    ///
    /// # Errors
    /// Errors of `read`.
    pub fn read_missing_tables<E>(
        &mut self,
        length: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let next = self.ahead.pop_first().map(|((_, start), table)| (start, table));
            let Some((start, table)) = next.or_else(|| self.missed.pop()) else { return Ok(()) };
            // The image is already known to be truncated, so further tables change nothing.
            if self.state.end > length {
                return Ok(());
            }
            let mut bytes = vec![0; usize::try_from(table.length).unwrap_or(0)];
            read(start, &mut bytes)?;
            table.kind.read_table(&bytes, &mut self.state);
            self.queue_tables();
        }
    }
}

/// Returns the little-endian entries of a table.
fn le32_entries(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_le_bytes(*entry))
}

fn le64_entries(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|entry| u64::from_le_bytes(*entry))
}

/// Returns the big-endian entries of a table.
fn be32_entries(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_be_bytes(*entry))
}

fn be64_entries(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|entry| u64::from_be_bytes(*entry))
}
