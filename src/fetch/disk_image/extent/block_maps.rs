//! Formats with one table of large blocks: VDI, dynamic VHD, Parallels.

use super::{ExtentState, TableKind, be32_entries, le32_entries};
use crate::disk_image::{has_bytes, read_be32, read_be64, read_le32, read_le64};

/// The layout of a block table.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockMapLayout {
    big_endian: bool,
    /// Values from this number on mean that a block does not exist.
    none_from: u32,
    /// Whether 0 also means that.
    none_at_zero: bool,
    /// An entry counts units of this many bytes, starting at `base`.
    unit: u64,
    base: u64,
    /// Bytes of a block including its bitmap.
    block: u64,
}

impl BlockMapLayout {
    pub(super) fn read_table(self, bytes: &[u8], state: &mut ExtentState) {
        let is_block = |entry: &u32| *entry < self.none_from && !(self.none_at_zero && *entry == 0);
        let last = match self.big_endian {
            true => be32_entries(bytes).filter(is_block).max(),
            false => le32_entries(bytes).filter(is_block).max(),
        };
        if let Some(last) = last {
            state.add_range(self.base.saturating_add(u64::from(last).saturating_mul(self.unit)), self.block);
        }
    }
}

/// Reads the header of a VDI (block/vdi.c, `VdiHeader`). The two highest numbers are a block that was never written and
/// a block of zeros.
pub(super) fn read_vdi_header(head: &[u8], state: &mut ExtentState) {
    let small = |at| u64::from(read_le32(head, at).unwrap_or_default());
    let (map, data, block) = (small(0x154), small(0x158), small(0x178).saturating_add(small(0x17c)));
    state.disk = read_le64(head, 0x170);
    state.add_range(data, small(0x184).saturating_mul(block));
    let layout = BlockMapLayout {
        big_endian: false,
        none_from: u32::MAX - 1,
        none_at_zero: false,
        unit: block,
        base: data,
        block,
    };
    state.add_table(map, small(0x180).saturating_mul(4), TableKind::Blocks(layout));
}

/// Reads the header of a dynamic VHD ("Virtual Hard Disk Image Format Specification", 1.0): the copy of the footer
/// refers to the header, which refers to the table. Each block begins with a bitmap of its sectors.
pub(super) fn read_vhd_header(head: &[u8], state: &mut ExtentState) {
    state.disk = read_be64(head, 48);
    let header = read_be64(head, 16).and_then(|at| usize::try_from(at).ok()).and_then(|at| head.get(at..));
    let Some(header) = header.filter(|header| has_bytes(header, 0, b"cxsparse")) else { return };
    let small = |at| u64::from(read_be32(header, at).unwrap_or_default());
    let block = small(32);
    let bitmap = block.div_ceil(512 * 8).next_multiple_of(512);
    let layout = BlockMapLayout {
        big_endian: true,
        none_from: u32::MAX,
        none_at_zero: false,
        unit: 512,
        base: 0,
        block: bitmap + block,
    };
    state.add_table(
        read_be64(header, 16).unwrap_or_default(),
        small(28).saturating_mul(4),
        TableKind::Blocks(layout),
    );
}

/// Reads the header of a Parallels image (docs/interop/parallels.rst). The newer of its two variants counts clusters.
pub(super) fn read_parallels_header(head: &[u8], state: &mut ExtentState) {
    let small = |at| u64::from(read_le32(head, at).unwrap_or_default());
    let cluster = small(28).saturating_mul(512);
    let counts_clusters = has_bytes(head, 0, b"WithouFreSpacExt");
    let sectors = if counts_clusters { read_le64(head, 36) } else { read_le32(head, 36).map(u64::from) };
    state.disk = sectors.map(|sectors| sectors.saturating_mul(512));
    let layout = BlockMapLayout {
        big_endian: false,
        none_from: u32::MAX,
        none_at_zero: true,
        unit: if counts_clusters { cluster } else { 512 },
        base: 0,
        block: cluster,
    };
    state.add_table(64, small(32).saturating_mul(4), TableKind::Blocks(layout));
}
