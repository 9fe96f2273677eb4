//! VHDX ("MS-VHDX", 2.2 to 2.6): a table of regions; one region is the block table, another contains the block size.

use super::{ExtentState, TableKind, le64_entries};
use crate::disk_image::{bytes_at, has_bytes, read_le32, read_le64};

/// Offset and length of the first of two identical region tables.
const REGIONS: u64 = 192 << 10;
const REGIONS_LENGTH: u64 = 64 << 10;
/// The GUIDs of the regions and metadata items, in their byte order in the file.
const BLOCKS: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
const METADATA: [u8; 16] = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
const FILE_PARAMETERS: [u8; 16] = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
const DISK_SIZE: [u8; 16] = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
const SECTOR_SIZE: [u8; 16] = *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";
/// States of blocks that are at least partly in the file.
const PRESENT: [u64; 2] = [6, 7];

#[derive(Debug, Clone, Copy)]
pub(super) enum VhdxTable {
    Regions,
    /// The metadata of the disk; `blocks` is the range of the block table.
    Metadata {
        blocks: (u64, u64),
    },
    /// The block table. After every `ratio` blocks of `block` bytes there is an entry for their bitmap.
    Blocks {
        block: u64,
        ratio: u64,
    },
}

pub(super) fn read_header(state: &mut ExtentState) {
    state.add_table(REGIONS, REGIONS_LENGTH, TableKind::Vhdx(VhdxTable::Regions));
}

impl VhdxTable {
    pub(super) fn read_table(self, bytes: &[u8], state: &mut ExtentState) {
        match self {
            Self::Regions => read_regions(bytes, state),
            Self::Metadata { blocks } => read_metadata(bytes, blocks, state),
            Self::Blocks { block, ratio } => read_blocks(bytes, block, ratio, state),
        }
    }
}

fn read_regions(bytes: &[u8], state: &mut ExtentState) {
    let count = read_le32(bytes, 8).unwrap_or_default() as usize;
    let entries = bytes.get(16..).unwrap_or_default().as_chunks::<32>().0.iter().take(count);
    let place = |id: [u8; 16]| {
        let entry = entries.clone().find(|entry| entry[..16] == id)?;
        Some((read_le64(entry, 16)?, u64::from(read_le32(entry, 24)?)))
    };
    if let (true, Some(blocks), Some((offset, length))) =
        (has_bytes(bytes, 0, b"regi"), place(BLOCKS), place(METADATA))
    {
        state.add_range(blocks.0, blocks.1);
        state.add_table(offset, length, TableKind::Vhdx(VhdxTable::Metadata { blocks }));
    }
}

fn read_metadata(bytes: &[u8], blocks: (u64, u64), state: &mut ExtentState) {
    let count = usize::from(bytes_at::<2>(bytes, 10).map_or(0, u16::from_le_bytes));
    let entries = bytes.get(32..).unwrap_or_default().as_chunks::<32>().0.iter().take(count);
    let item = |id: [u8; 16]| {
        let entry = entries.clone().find(|entry| entry[..16] == id)?;
        Some(read_le32(entry, 16)? as usize)
    };
    state.disk = item(DISK_SIZE).and_then(|at| read_le64(bytes, at));
    let block = item(FILE_PARAMETERS).and_then(|at| read_le32(bytes, at)).map_or(0, u64::from);
    let sector = item(SECTOR_SIZE).and_then(|at| read_le32(bytes, at)).map_or(0, u64::from);
    if block == 0 || sector == 0 {
        return;
    }
    // A bitmap of one mebibyte has one bit for each sector of `ratio` blocks.
    let ratio = ((1 << 23) * sector / block).max(1);
    let disk = state.disk.unwrap_or_default().div_ceil(block);
    let entries = disk.saturating_add(disk.saturating_sub(1) / ratio);
    let length = entries.saturating_mul(8).min(blocks.1);
    state.add_table(blocks.0, length, TableKind::Vhdx(VhdxTable::Blocks { block, ratio }));
}

fn read_blocks(bytes: &[u8], block: u64, ratio: u64, state: &mut ExtentState) {
    for (i, entry) in (0u64..).zip(le64_entries(bytes)) {
        let is_bitmap = i % (ratio + 1) == ratio;
        if !is_bitmap && PRESENT.contains(&(entry & 7)) {
            state.add_range(entry >> 20 << 20, block);
        }
    }
}
