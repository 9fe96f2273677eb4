//! What an import checks: the content, the name, the room.

use super::{NOTHING, import};
use crate::support::bench::{Bench, GIB, host_with_neighbours, whole};
use crate::support::images::{Image, qcow2, raw};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::operations::image;

#[test]
fn an_image_is_what_its_content_is() {
    let bench = Bench::new();
    let image = import(&bench, "debian.qcow2", &qcow2()).unwrap();
    assert_eq!((image.format.as_str(), image.capacity.0), ("qcow2", 3 * GIB));
    let image = import(&bench, "debian.raw", &raw()).unwrap();
    assert_eq!(
        (image.format.as_str(), image.capacity.0),
        ("raw", raw().len() as u64),
        "FACTS 17: not a byte more"
    );
    assert_eq!(bench.host.content(&image.path).unwrap(), raw());
    let (done, total) = *bench.told.bytes().last().unwrap();
    assert_eq!((done, total), (raw().len() as u64, Some(raw().len() as u64)));
}

/// The image has a snapshot inside, which nobody will see.
#[test]
fn what_is_remarkable_about_an_image_is_told() {
    let bench = Bench::new();
    let mut bytes = qcow2();
    import(&bench, "plain", &bytes).unwrap();
    assert_eq!(bench.told.warnings(), NOTHING);
    bytes[60..64].copy_from_slice(&1u32.to_be_bytes());
    import(&bench, "old", &bytes).unwrap();
    let warnings = bench.told.warnings();
    assert_eq!(warnings, ["image 'old.qcow2': it contains a snapshot, which uses space and has no effect"]);
}

#[test]
fn a_name_never_lies() {
    let bench = Bench::new();
    assert_eq!(import(&bench, "debian", &qcow2()).unwrap().name, "debian.qcow2");
    assert_eq!(import(&bench, "debian-12.5", &raw()).unwrap().name, "debian-12.5.raw");
    let before = bench.host.fingerprint();
    for (name, bytes, right) in
        [("x.raw", qcow2(), "x.qcow2"), ("x.img", qcow2(), "x.qcow2"), ("x.qcow2", raw(), "x.raw")]
    {
        let error = import(&bench, name, &bytes).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Storage, format!("'{name}' does not fit this image").as_str())
        );
        assert_eq!(error.hint_text().as_deref(), Some(format!("name it {right}").as_str()));
    }
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn what_is_no_image_is_not_imported() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    for (bytes, reason) in [
        (b"hello".to_vec(), "disk.img cannot be an image"),
        (Vec::new(), "disk.img cannot be an image"),
        ([b"KDMV".as_slice(), &[0; 600]].concat(), "VMDK"),
        (b"QFI\xfb\0\0\0\x09".to_vec(), "qcow2 version 9 is unknown"),
    ] {
        let error = import(&bench, "x.qcow2", &bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage);
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    }
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn what_stands_in_the_way_is_found_before_anything_is_sent() {
    let bench = Bench::on(
        host_with_neighbours().with_image("foundry-images", "x.raw", "raw", 1).with_space(1_000_000),
    );
    let before = bench.host.fingerprint();
    let error = import(&bench, "x.raw", &raw()).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Storage, "image 'x.raw' exists in pool 'foundry-images'")
    );
    bench.host.take_space(999_999);
    let error = import(&bench, "small.raw", &raw()).unwrap_err();
    assert!(error.message().starts_with("pool 'foundry-images' has 0 B"), "{error}");
    bench.host.take_space(0);
    let big = [raw(), vec![0; 1_000_000]].concat();
    let error = import(&bench, "big.raw", &big).unwrap_err();
    assert!(error.message().starts_with("pool 'foundry-images' has"), "{error}");
    let mut source = Image::dense(big.as_slice(), 1);
    let error =
        image::import_image(&bench.context(), "foundry-image", &"x.raw".parse().unwrap(), &mut source)
            .unwrap_err();
    assert_eq!(error.message(), "there is no pool 'foundry-image'");
    assert!(error.hint_text().unwrap().starts_with("did you mean 'foundry-images'?"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn an_extension_is_one_whatever_its_capitals() {
    let bench = Bench::new();
    assert_eq!(import(&bench, "A.QCOW2", &qcow2()).unwrap().name, "A.QCOW2");
    let error = import(&bench, "B.IMG", &qcow2()).unwrap_err();
    assert_eq!(error.hint_text().as_deref(), Some("name it B.qcow2"));
}
