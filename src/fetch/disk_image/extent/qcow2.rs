//! qcow2: two levels of cluster tables, and reference counts (QEMU's docs/interop/qcow2.txt).

use super::{ExtentState, TableKind, be64_entries};
use crate::disk_image::qcow2::Qcow2;
use crate::disk_image::{read_be32, read_be64};

/// Bits 9 to 55 of an entry: the offset of a table or a cluster.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Flag: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
/// Flag: the cluster reads as zeros, whatever is at its offset.
const ZERO: u64 = 1;
/// Number of subclusters of a cluster with an extended entry.
const SUBCLUSTERS: u64 = 32;

#[derive(Debug, Clone, Copy)]
pub(super) struct Qcow2Layout {
    cluster: u64,
    disk: u64,
    /// Whether entries have 16 bytes, with a bitmap of the subclusters.
    extended: bool,
    /// Number of bits of a reference count.
    count_bits: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Qcow2Table {
    /// The level 1 table.
    First,
    /// A level 2 table, for the clusters from an offset of the disk on.
    Second { from: u64 },
    /// The table of reference count blocks.
    Counts,
    /// A reference count block, for the clusters from a number on.
    Block { from: u64 },
}

pub(super) fn read_header(header: &Qcow2, head: &[u8], state: &mut ExtentState) {
    let field = |at| read_be64(head, at).unwrap_or_default();
    let small = |at| u64::from(read_be32(head, at).unwrap_or_default());
    let order = if header.version == 2 { 4 } else { small(96).min(6) };
    let layout = Qcow2Layout {
        cluster: header.cluster_size.0,
        disk: header.virtual_size.0,
        extended: header.extended_l2,
        count_bits: 1 << order,
    };
    state.disk = Some(layout.disk);
    let kind = |part| TableKind::Qcow2(layout, part);
    state.add_table(field(40), small(36).saturating_mul(8), kind(Qcow2Table::First));
    let (counts, clusters) = (field(48), small(56));
    // Only the first cluster of the table must be complete.
    state.add_range(counts, clusters.min(1) * 512);
    // The clusters of a snapshot are only in the snapshot's own table, so the reference counts are needed.
    if header.snapshots > 0 {
        state.add_partial_table(counts, clusters.saturating_mul(layout.cluster), kind(Qcow2Table::Counts));
    }
}

impl Qcow2Layout {
    pub(super) fn read_table(self, part: Qcow2Table, bytes: &[u8], state: &mut ExtentState) {
        match part {
            Qcow2Table::First => self.read_first(bytes, state),
            Qcow2Table::Second { from } => self.read_second(from, bytes, state),
            Qcow2Table::Counts => self.read_counts(bytes, state),
            Qcow2Table::Block { from } => self.read_block(from, bytes, state),
        }
    }

    fn entry_length(self) -> u64 {
        if self.extended { 16 } else { 8 }
    }

    fn read_first(self, bytes: &[u8], state: &mut ExtentState) {
        let covered = (self.cluster / self.entry_length()).saturating_mul(self.cluster);
        for (entry, from) in
            be64_entries(bytes).zip(multiples_of(covered)).filter(|(_, from)| *from < self.disk)
        {
            self.add_cluster_table(entry & OFFSET, Qcow2Table::Second { from }, state);
        }
    }

    /// Adds a table of one cluster. QEMU reads only tables that begin at a cluster boundary.
    fn add_cluster_table(self, offset: u64, part: Qcow2Table, state: &mut ExtentState) {
        if offset > 0 && offset.is_multiple_of(self.cluster) {
            state.add_table(offset, self.cluster, TableKind::Qcow2(self, part));
        }
    }

    fn read_second(self, from: u64, bytes: &[u8], state: &mut ExtentState) {
        let length = usize::try_from(self.entry_length()).unwrap_or(8);
        for (entry, offset) in bytes.chunks_exact(length).zip(multiples_of(self.cluster)) {
            let place = from.saturating_add(offset);
            if place >= self.disk {
                break;
            }
            let cluster = read_be64(entry, 0).unwrap_or_default();
            if cluster & COMPRESSED != 0 {
                self.add_compressed(cluster, state);
            } else if cluster & OFFSET != 0 {
                let parts =
                    if self.extended { self.extended_data_length(entry) } else { self.data_length(cluster) };
                state.add_range(cluster & OFFSET, parts.min(self.disk - place));
            }
        }
    }

    /// Returns how much of a cluster is data.
    fn data_length(self, entry: u64) -> u64 {
        if entry & ZERO == 0 { self.cluster } else { 0 }
    }

    /// Returns the data length up to the last allocated subcluster.
    fn extended_data_length(self, entry: &[u8]) -> u64 {
        let allocated = read_be64(entry, 8).unwrap_or_default() as u32;
        u64::from(u32::BITS - allocated.leading_zeros()) * (self.cluster / SUBCLUSTERS)
    }

    /// Adds a compressed cluster: the entry has a byte offset, and the number of further sectors.
    fn add_compressed(self, entry: u64, state: &mut ExtentState) {
        let sector_bits = self.cluster.trailing_zeros() - 8;
        let offset_bits = 62 - sector_bits;
        let offset = entry & ((1 << offset_bits) - 1);
        let sectors = ((entry & (COMPRESSED - 1)) >> offset_bits) + 1;
        state.add_range(offset / 512 * 512, sectors * 512);
    }

    fn read_counts(self, bytes: &[u8], state: &mut ExtentState) {
        let covered = self.cluster * 8 / self.count_bits;
        for (entry, from) in be64_entries(bytes).zip(multiples_of(covered)) {
            self.add_cluster_table(entry & OFFSET, Qcow2Table::Block { from }, state);
        }
    }

    /// Adds the last cluster with a reference. It begins in the file; the last one may be incomplete.
    fn read_block(self, from: u64, bytes: &[u8], state: &mut ExtentState) {
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return };
        let cluster = from.saturating_add(last as u64 * 8 / self.count_bits);
        state.add_range(cluster.saturating_mul(self.cluster), 1);
    }
}

/// Returns 0, `stride`, 2 × `stride` and so on, until the number overflows.
fn multiples_of(stride: u64) -> impl Iterator<Item = u64> {
    (0..).map_while(move |i: u64| i.checked_mul(stride))
}
