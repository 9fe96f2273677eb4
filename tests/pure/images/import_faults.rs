//! An import that fails, is interrupted or killed, or whose file is cut off.

use super::{NOTHING, import};
use crate::support::bench::{Bench, whole};
use crate::support::faults::{assert_named, each_fault};
use crate::support::images::{Image, qcow2, raw};
use crate::support::manifests::{WEB, plan_with};
use crate::support::shown::Shown;
use foundry::content::Content;
use foundry::host::memory::Effect;
use foundry::host::{Volume, Volumes};
use foundry::operations::image;
use foundry::record::VolumeRef;
use foundry::{Error, Kind};
use std::io::Read;

/// A qcow2 image by qemu-img, with data at the end of its disk; with its first table moved to the end, as a growing disk's
/// is, if so wanted.
fn made_qcow2(options: &[&str], moved: bool) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let disk: Vec<u8> = (0..4 << 20).map(|i| (i % 251) as u8 | 1).collect();
    std::fs::write(dir.path().join("disk"), disk).unwrap();
    let arguments = [&["convert", "-f", "raw", "disk", "image", "-O", "qcow2"], options].concat();
    let done = std::process::Command::new("qemu-img").current_dir(dir.path()).args(arguments).status();
    assert!(done.unwrap().success());
    let mut image = std::fs::read(dir.path().join("image")).unwrap();
    if moved {
        let number = |at: usize| u64::from_be_bytes(image[at..at + 8].try_into().unwrap());
        let table = image[number(40) as usize..][..65536].to_vec();
        let end = (image.len() as u64).next_multiple_of(65536);
        image.resize(end as usize, 0);
        image[40..48].copy_from_slice(&end.to_be_bytes());
        image.extend(table);
    }
    image
}

/// QEMU reads zeros behind the end, so that nobody would notice.
#[test]
fn what_is_cut_off_never_becomes_an_image() {
    for (options, moved) in [
        (["-o", "compat=1.1"].as_slice(), false),
        (&["-o", "compat=0.10"], false),
        (&["-o", "extended_l2=on"], false),
        (&["-o", "cluster_size=512"], false),
        (&["-o", "preallocation=metadata"], false),
        (&["-c"], false),
        (&["-c", "-o", "compression_type=zstd"], false),
        (&["-o", "compat=1.1"], true),
    ] {
        let whole = made_qcow2(options, moved);
        let bench = Bench::new();
        import(&bench, "whole", &whole).unwrap();
        let before = bench.host.fingerprint();
        for cut in [512, 65536, whole.len() / 2, whole.len() - 300_000] {
            // With its first table at the end, the clusters before are cut out.
            let end = whole.len() - if moved { 65536 } else { 0 };
            let cut = if moved { (cut.next_multiple_of(65536) + 65536).min(end - 5 * 65536) } else { cut };
            let mut bytes = whole[..end - cut.min(end)].to_vec();
            if moved {
                let at = bytes.len() as u64;
                bytes.extend(&whole[end..]);
                bytes[40..48].copy_from_slice(&at.to_be_bytes());
            }
            let error = import(&bench, "cut", &bytes).unwrap_err();
            assert!(error.to_string().contains("truncated"), "{options:?} without {cut}: {error}");
            // From a server that does not say how long it is.
            let source = Image::unknown(bytes.as_slice());
            let error = source.import(&bench, "cut").unwrap_err();
            assert!(error.to_string().contains("truncated"), "{options:?} without {cut}: {error}");
            assert_eq!(bench.host.changes_since(&before), NOTHING);
        }
    }
}

#[test]
fn a_failed_import_leaves_no_volume_or_says_so() {
    failed(|bench| import(bench, "x.raw", &raw()));
}

#[test]
fn a_failed_import_of_unknown_length_leaves_no_volume_or_says_so() {
    failed(|bench| Image::unknown(&*raw()).import(bench, "x.raw"));
}

fn failed(import: impl Fn(&Bench) -> Result<Volume, Error>) {
    let fresh = Bench::new;
    let faults = each_fault(fresh, import, |bench, outcome, effect, label| {
        let Err(error) = outcome else {
            // A pool that cannot be looked at anew is taken as it was seen last.
            assert!(label.ends_with("refresh_pool foundry-images"), "{label}: it says that all went well");
            assert_eq!(bench.host.content("/pool/images/x.raw").unwrap(), raw(), "{label}");
            return;
        };
        let left = bench.host.changes_since(&fresh().host.fingerprint());
        assert_named(&left, &error, label);
        assert!(
            !left.is_empty() || effect.breaks_connection() || !whole(&error).contains("all the same"),
            "{label}"
        );
    });
    assert!(faults > 20, "{faults}");
}

#[test]
fn ctrl_c_in_an_import_leaves_no_volume() {
    struct Slow<'a>(&'a Bench, &'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = buffer.len().min(1000);
            let read = self.1.read(&mut buffer[..length])?;
            if self.1.len() < 20_000 {
                self.0.cancel.request();
            }
            Ok(read)
        }
    }
    let (bench, bytes) = (Bench::new(), raw());
    let before = bench.host.fingerprint();
    impl Content for Slow<'_> {}
    let error = Image::dense(Slow(&bench, &bytes), bytes.len() as u64).import(&bench, "x.raw").unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(error.outcome_texts(), ["the volume is removed again"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// What a kill leaves is under the image's name, and must not pass for it.
#[test]
fn an_import_that_is_killed_leaves_no_image() {
    killed(|bytes, bench, name| import(bench, name, bytes));
}

#[test]
fn an_import_of_unknown_length_that_is_killed_leaves_no_image() {
    killed(|bytes, bench, name| Image::unknown(bytes).origin("https://example.com/x").import(bench, name));
}

fn killed(import: impl Fn(&[u8], &Bench, &str) -> Result<Volume, Error>) {
    for bytes in [qcow2(), raw(), qcow2()[..1000].to_vec()] {
        let name = if bytes.starts_with(b"QFI") { "x.qcow2" } else { "x.raw" };
        for n in 0.. {
            let bench = Bench::new();
            bench.host.fail_at(n, Effect::BrokenBefore);
            let outcome = import(&bytes, &bench, name);
            bench.host.heal();
            let path = format!("/pool/images/{name}");
            let Some(content) = bench.host.content(&path) else { continue };
            let sent = content.get(..512) == bytes.get(..512);
            assert!(!sent || content == bytes, "call {n}: the head is there before the rest is");
            let Some(image) = bench.host.volume(&VolumeRef::new("foundry-images", name)).unwrap() else {
                continue;
            };
            assert_eq!(image::is_unfinished(&bench.context(), &image).unwrap(), !sent, "call {n}");
            let wanted = plan_with(WEB, &[("image: debian-12", &format!("image: {name}"))]);
            if !sent {
                let error = bench.create(&wanted).unwrap_err();
                let told = format!(
                    "image 'foundry-images:{name}' cannot be used: its import was interrupted or is still running\n    foundry image delete {name} --pool foundry-images --force removes it"
                );
                assert!(error.text().contains(&told), "call {n}: {error}");
                let error = image::delete_image(&bench.context(), &VolumeRef::new("foundry-images", name))
                    .unwrap_err();
                assert!(error.hint_text().unwrap().contains("--force"), "call {n}: {}", whole(&error));
                image::delete_image_in_use(&bench.context(), &VolumeRef::new("foundry-images", name))
                    .unwrap();
                import(&bytes, &bench, name).unwrap();
            }
            bench.create(&wanted).unwrap();
            if outcome.is_ok() {
                break;
            }
        }
    }
}

#[test]
fn a_file_that_ends_early_leaves_no_volume() {
    let (bench, bytes) = (Bench::new(), raw());
    let before = bench.host.fingerprint();
    let error = Image::dense(&*bytes, bytes.len() as u64 + 1).import(&bench, "x.raw").unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is dying"))
        }
    }
    impl Content for Broken {}
    let bench = Bench::new();
    let error = Image::dense(Broken, 1000).import(&bench, "x.raw").unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::Storage, "cannot read disk.img: the disk is dying")
    );
    assert_eq!(bench.host.call_count(), 0);
}
