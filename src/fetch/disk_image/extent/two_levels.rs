//! Formats with two levels of cluster tables: VMDK, QED, and qcow version 1.

use super::{ExtentState, TableKind, be64_entries, le32_entries, le64_entries};
use crate::disk_image::{bytes_at, read_be64, read_le32, read_le64};

/// The format of table entries.
#[derive(Debug, Clone, Copy)]
enum Entries {
    /// VMDK: little-endian sectors; 1 means a grain of zeros.
    Sectors,
    /// QED: little-endian byte offsets; 1 means a cluster of zeros.
    Little,
    /// qcow: big-endian byte offsets; bit 63 means a compressed cluster, whose length has `cluster_bits` bits.
    Big { cluster_bits: u32 },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct TwoLevelLayout {
    entries: Entries,
    /// Bytes of a cluster, and of the disk.
    cluster: u64,
    disk: u64,
    /// Number of entries of a second-level table, and its bytes.
    second: u64,
    second_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    First,
    /// The table for the clusters from an offset of the disk on.
    Second {
        from: u64,
    },
}

const SECTOR: u64 = 512;

/// Reads the header of VMDK's sparse extent (block/vmdk.c, `VMDK4Header`): capacity, grain size, entries per grain
/// table, directory. The stream-optimized variant has the directory's offset at its end; QEMU does not open it without
/// that.
pub(super) fn read_vmdk_header(head: &[u8], state: &mut ExtentState) {
    let field = |at| read_le64(head, at).unwrap_or_default();
    let (disk, cluster) = (field(12).saturating_mul(SECTOR), field(20).saturating_mul(SECTOR));
    let second = u64::from(read_le32(head, 44).unwrap_or_default());
    state.disk = Some(disk);
    // The grains of a stream are compressed and preceded by markers.
    let is_compressed = read_le32(head, 8).is_none_or(|flags| flags & (1 << 16) != 0);
    if field(56) == u64::MAX || is_compressed || second == 0 || cluster == 0 {
        return;
    }
    let layout =
        TwoLevelLayout { entries: Entries::Sectors, cluster, disk, second, second_bytes: second * 4 };
    let covered = cluster.saturating_mul(second);
    let directory = disk.div_ceil(covered).saturating_mul(4);
    state.add_table(field(56).saturating_mul(SECTOR), directory, TableKind::TwoLevels(layout, Level::First));
}

/// Reads the header of QED (docs/interop/qed_spec.rst). All tables have the same size.
pub(super) fn read_qed_header(head: &[u8], state: &mut ExtentState) {
    let small = |at| u64::from(read_le32(head, at).unwrap_or_default());
    let (cluster, disk) = (small(4), read_le64(head, 48).unwrap_or_default());
    let second_bytes = small(8).saturating_mul(cluster);
    state.disk = Some(disk);
    let layout =
        TwoLevelLayout { entries: Entries::Little, cluster, disk, second: second_bytes / 8, second_bytes };
    let first = read_le64(head, 40).unwrap_or_default();
    state.add_table(first, second_bytes, TableKind::TwoLevels(layout, Level::First));
}

/// Reads the header of qcow version 1 (block/qcow.c, `QCowHeader`).
pub(super) fn read_qcow_header(head: &[u8], state: &mut ExtentState) {
    let field = |at| read_be64(head, at).unwrap_or_default();
    let [cluster_bits, second_bits] = bytes_at::<2>(head, 32).unwrap_or_default().map(u32::from);
    let disk = field(24);
    state.disk = Some(disk);
    // The limits of QEMU: block/qcow.c, `qcow_open`.
    if !(9..=16).contains(&cluster_bits) || !(6..=13).contains(&second_bits) {
        return;
    }
    let (cluster, second) = (1 << cluster_bits, 1 << second_bits);
    let entries = Entries::Big { cluster_bits };
    let layout = TwoLevelLayout { entries, cluster, disk, second, second_bytes: second * 8 };
    let first = disk.div_ceil(cluster * second).saturating_mul(8);
    state.add_table(field(40), first, TableKind::TwoLevels(layout, Level::First));
}

impl TwoLevelLayout {
    pub(super) fn read_table(self, level: Level, bytes: &[u8], state: &mut ExtentState) {
        match self.entries {
            Entries::Sectors => self.read_entries(level, le32_entries(bytes).map(u64::from), state),
            Entries::Little => self.read_entries(level, le64_entries(bytes), state),
            Entries::Big { .. } => self.read_entries(level, be64_entries(bytes), state),
        }
    }

    fn read_entries(self, level: Level, entries: impl Iterator<Item = u64>, state: &mut ExtentState) {
        let (from, stride) = match level {
            Level::First => (0, self.cluster.saturating_mul(self.second)),
            Level::Second { from } => (from, self.cluster),
        };
        let mut place = from;
        for entry in entries {
            if place >= self.disk || stride == 0 {
                break;
            }
            match level {
                Level::First => self.add_second_table(entry, place, state),
                Level::Second { .. } => self.add_data(entry, self.disk - place, state),
            }
            place = place.saturating_add(stride);
        }
    }

    fn add_second_table(self, entry: u64, from: u64, state: &mut ExtentState) {
        let offset = match self.entries {
            Entries::Sectors => entry * SECTOR,
            Entries::Little | Entries::Big { .. } => entry,
        };
        if offset > 0 {
            state.add_table(offset, self.second_bytes, TableKind::TwoLevels(self, Level::Second { from }));
        }
    }

    /// Adds a cluster, of which `left` bytes belong to the disk.
    fn add_data(self, entry: u64, left: u64, state: &mut ExtentState) {
        let length = self.cluster.min(left);
        match self.entries {
            _ if entry == 0 => {}
            Entries::Sectors if entry > 1 => state.add_range(entry * SECTOR, length),
            Entries::Little if entry > 1 => state.add_range(entry, length),
            Entries::Sectors | Entries::Little => {}
            Entries::Big { cluster_bits } if entry >> 63 == 1 => {
                let offset_bits = 63 - cluster_bits;
                let packed = (entry >> offset_bits) & (self.cluster - 1);
                state.add_range(entry & ((1 << offset_bits) - 1), packed);
            }
            Entries::Big { .. } => state.add_range(entry, length),
        }
    }
}
