//! What holds for any input: the checks of the fuzz targets in .ci/fuzz, which `tests/pure/fuzz.rs` runs on some inputs.

use foundry::disk_image::{DiskImage, detect_format, is_partial_image, is_vhd_footer};
use foundry::manifest::load_text;
use foundry::operations::Settings;
use foundry::plan::VmPlan;
use foundry::record::{Owner, Record};
use foundry::transfer::checksum_file::{ChecksumFile, WantedImage};

use super::rendered;

/// Any text is a checksum file with some digests or none, and a name that is looked up is found or an error.
pub(crate) fn checksum_file(text: &str, name: &str) {
    let file = ChecksumFile::parse(text, "SUMS");
    let wanted = WantedImage { below: Some(name), path: name };
    for found in
        [file.digest_of(name), file.digest_for(wanted), file.digest_beside(wanted)].into_iter().flatten()
    {
        assert!(text.to_ascii_lowercase().contains(found.hex()), "a digest that is not in the text");
    }
}

/// Any bytes are an image of some kind, or an error: never a panic, and never both usable and refused.
pub(crate) fn disk_image(head: &[u8]) {
    is_vhd_footer(head);
    let Ok(image) = detect_format(head) else { return };
    let _ = (image.to_string(), image.note());
    let refused = image.refusal().is_some();
    assert!(refused || (image.format().is_some() && image.driver().is_some() && !is_partial_image(head)));
    if let DiskImage::Qcow2(header) = &image {
        let alone = header.backing_file.is_none() && !header.external_data && header.encryption.is_none();
        assert!(refused || (alone && header.unknown_features.is_empty()));
    }
}

/// The plans that a text has; it may be an error, and never a panic.
fn plans(text: &str) -> Vec<VmPlan> {
    let defaults = Settings::default().defaults(None);
    let manifests = load_text(text, "fuzz.yaml").unwrap_or_default();
    manifests.iter().filter_map(|manifest| VmPlan::from_manifest(manifest, &defaults).ok()).collect()
}

/// Any text is a manifest or an error with a place.
pub(crate) fn manifest(text: &str) {
    plans(text);
}

/// Any text in a domain's metadata is a record or something to be left alone; one that is read is written as it was.
pub(crate) fn record(text: &str) {
    match Owner::parse_metadata(Some(text)) {
        Owner::Foundry(record) => {
            let Ok(written) = Record::to_text(&record) else { panic!("{record:?} cannot be written") };
            assert_eq!(Owner::parse_metadata(Some(&written)), Owner::Foundry(record));
        }
        Owner::Unreadable(why) => assert!(!why.contains('\u{1b}'), "{why:?}"),
        Owner::Foreign => panic!("what bears foundry's mark is not foreign"),
        Owner::FirstFoundry(_) | Owner::Newer(_) => {}
    }
}

/// Whatever can be planned can be rendered: XML of the same shape, YAML that reads as it was meant, an image with three
/// files.
pub(crate) fn render(text: &str) {
    for plan in plans(text) {
        let rendered = rendered::rendered(&plan);
        rendered::check(&plan, &rendered);
        rendered::check_image(&rendered);
    }
}
