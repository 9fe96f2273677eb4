//! Any bytes are an image of some kind, or an error: never a panic, and never both usable and refused.
#![no_main]

use foundry::disk_image::{DiskImage, is_torso, is_vhd_footer, probe};

libfuzzer_sys::fuzz_target!(|head: &[u8]| {
    is_vhd_footer(head);
    let Ok(image) = probe(head) else { return };
    let _ = (image.to_string(), image.note());
    let refused = image.refusal().is_some();
    assert!(refused || (image.format().is_some() && image.driver().is_some() && !is_torso(head)));
    if let DiskImage::Qcow2(header) = &image {
        let alone = header.backing_file.is_none() && !header.external_data && header.encryption.is_none();
        assert!(refused || (alone && header.unknown_features.is_empty()));
    }
});
