//! Raw images, which are recognized only by a boot sector or partition table.
//!
//! MBR: code up to byte 440, four partition entries from 446, the signature `55 aa` at 510. GPT: the header
//! "EFI PART" in the second sector, of 512 or 4096 bytes (UEFI specification 2.10, chapter 5).

use super::{bytes_at, has_bytes, read_le32, read_le64};

/// Whether a firmware would find boot code or a partition table.
pub(super) fn is_bootable(head: &[u8]) -> bool {
    has_gpt(head, 512) || has_gpt(head, 4096) || has_boot_sector(head)
}

/// Returns the end of the last partition, or of the second header that a GPT has at the end of the disk.
pub(super) fn least_length(head: &[u8]) -> u64 {
    for sector in [512, 4096] {
        if has_gpt(head, sector) {
            let last = read_le64(head, sector + 32).unwrap_or_default();
            return last.saturating_add(1).saturating_mul(sector as u64);
        }
    }
    if !has_bytes(head, 510, &[0x55, 0xaa]) {
        return 0;
    }
    let end = |at: usize| {
        let place = |at| u64::from(read_le32(head, at).unwrap_or_default());
        if is_partition(head, at) { (place(at + 8) + place(at + 12)) * 512 } else { 0 }
    };
    (0..4).map(|i| end(446 + 16 * i)).max().unwrap_or_default()
}

/// Whether there is a boot sector. The signature alone is not enough: partitioning tools write it on empty disks.
fn has_boot_sector(head: &[u8]) -> bool {
    let has_code = || head.iter().take(440).any(|byte| *byte != 0);
    has_bytes(head, 510, &[0x55, 0xaa]) && (has_code() || (0..4).any(|i| is_partition(head, 446 + 16 * i)))
}

/// Whether an entry describes a partition: `00` or `80`, a type, a start after the table itself, a length.
fn is_partition(head: &[u8], at: usize) -> bool {
    let kind = bytes_at::<1>(head, at + 4) != Some([0]);
    let place = || read_le32(head, at + 8) > Some(0) && read_le32(head, at + 12) > Some(0);
    matches!(bytes_at(head, at), Some([0x00 | 0x80])) && kind && place()
}

/// Whether there is a GPT header; it contains its own position, block 1.
fn has_gpt(head: &[u8], sector: usize) -> bool {
    let length = read_le32(head, sector + 12).unwrap_or_default();
    has_bytes(head, sector, b"EFI PART")
        && (92..=4096).contains(&length)
        && read_le64(head, sector + 24) == Some(1)
        && read_le64(head, sector + 72).is_some_and(|entries| entries > 1)
}
