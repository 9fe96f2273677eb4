//! Images and pools: what is imported under which name, and what is deleted only if nobody needs it.

use std::io::Read;

use crate::support::bench::{Bench, GIB, host_with_neighbours, whole};
use crate::support::faults::{assert_named, each_fault};
use crate::support::images::{Image, qcow2, raw};
use crate::support::manifests::{WEB, plan_with};
use crate::support::shown::Shown;
use foundry::content::Content;
use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{Pools, Transfers, Volume, Volumes};
use foundry::operations::image;
use foundry::record::VolumeRef;
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];

fn import(bench: &Bench, name: &str, bytes: &[u8]) -> Result<Volume, Error> {
    Image::dense(bytes, bytes.len() as u64).import(bench, name)
}

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

/// FACTS 23: looking makes no pool, importing does.
#[test]
fn the_image_pool_is_made_by_an_import_and_by_no_look() {
    let bench = Bench::on(MemoryHost::new());
    let before = bench.host.fingerprint();
    assert_eq!(image::list_images(&bench.context(), "foundry-images").unwrap(), []);
    assert_eq!(image::list_images(&bench.context(), "ssd").unwrap_err().kind(), Kind::Storage);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    import(&bench, "x.raw", &raw()).unwrap();
    let pool = bench.host.pool("foundry-images").unwrap().unwrap();
    assert_eq!(
        (pool.active, pool.autostart, pool.target.as_deref()),
        (true, true, Some("/var/lib/libvirt/images/foundry/images"))
    );
    bench.host.stop_pool("foundry-images").unwrap();
    let error = image::list_images(&bench.context(), "foundry-images").unwrap_err();
    assert_eq!(error.message(), "pool 'foundry-images' is not started");
    import(&bench, "y.raw", &raw()).unwrap();
}

#[test]
fn images_are_listed_by_name() {
    let bench = Bench::new();
    let listed = image::list_images(&bench.context(), "foundry-images").unwrap();
    let names: Vec<(&str, &str)> = listed.iter().map(|v| (v.name.as_str(), v.format.as_str())).collect();
    assert_eq!(names, [("debian-12", "qcow2"), ("web_boot", "qcow2")]);
}

/// `image pull debian-13` makes debian-13.qcow2.
#[test]
fn a_name_without_its_extension_means_the_only_image() {
    let bench = Bench::new();
    import(&bench, "short.qcow2", &qcow2()).unwrap();
    let meant = |name: &str| image::resolve_name(&bench.context(), "foundry-images", name);
    for (name, image) in [
        ("short", "short.qcow2"),
        ("short.qcow2", "short.qcow2"),
        ("debian-12", "debian-12"),
        ("none", "none"),
    ] {
        assert_eq!(meant(name).unwrap(), image);
    }
    bench.create(&plan_with(WEB, &[("image: debian-12", "image: short")])).unwrap();
    let record = bench.record("web");
    assert_eq!(record.image.as_deref(), Some("foundry-images:short.qcow2"));
    let boot = record.manifest.spec.boot_disk.unwrap();
    assert_eq!(boot.image.as_deref(), Some("short.qcow2"), "what is recorded is the name that it has");
    let lies_on = record.volumes.iter().find_map(|volume| volume.backing.clone());
    assert_eq!(lies_on.as_deref(), Some("/pool/images/short.qcow2"));
    let error =
        image::delete_image(&bench.context(), &VolumeRef::new("foundry-images", "short.qcow2")).unwrap_err();
    assert_eq!(error.message(), "image 'short.qcow2' is in use by VM 'web'");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("that VM needs it") && !hint.contains("destroy"), "{hint}");

    import(&bench, "short.raw", &raw()).unwrap();
    let error = meant("short").unwrap_err();
    assert!(error.text().contains("may be any of short.qcow2, short.raw"), "{error}");
    let wanted = plan_with(WEB, &[("image: debian-12", "image: short"), ("name: web", "name: other")]);
    let told = whole(&bench.create(&wanted).unwrap_err());
    assert!(told.contains("may be any of short.qcow2, short.raw"), "{told}");
    import(&bench, "debian-12.qcow2", &qcow2()).unwrap();
    assert_eq!(meant("debian-12").unwrap(), "debian-12", "the very name comes first");
}

#[test]
fn what_the_catalogue_has_is_pulled_and_anything_else_imported() {
    let bench = Bench::new();
    for (name, way) in [
        ("ubuntu-24.04", "foundry image pull ubuntu-24.04"),
        ("ubuntu-24.04.qcow2", "foundry image pull ubuntu-24.04"),
        ("golden", "foundry image import FILE golden"),
        ("golden.qcow2", "foundry image import FILE golden.qcow2"),
    ] {
        let wanted = plan_with(WEB, &[("image: debian-12", &format!("image: {name}"))]);
        let told = whole(&bench.create(&wanted).unwrap_err());
        assert!(told.contains(way), "{told}");
    }
    let told = whole(
        &image::image_info(&bench.context(), &VolumeRef::new("foundry-images", "ubuntu-24.04")).unwrap_err(),
    );
    assert!(told.contains("foundry image pull ubuntu-24.04"), "{told}");
    let own = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(own.path(), "images:\n  golden:\n    url: https://images.example.com/golden.qcow2\n")
        .unwrap();
    let mut bench = Bench::new();
    bench.settings.catalog = Some(own.path().to_owned());
    let wanted = plan_with(WEB, &[("image: debian-12", "image: golden")]);
    let told = whole(&bench.create(&wanted).unwrap_err());
    assert!(told.contains("foundry image pull golden"), "{told}");
}

/// Nothing is transferred for a name beside which no note can lie.
#[test]
fn the_place_of_the_note_is_looked_at_before_the_transfer() {
    struct Unread;
    impl Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("it was read")
        }
    }
    impl Content for Unread {}
    let import = |bench: &Bench, name: &str| {
        let head = Vec::from(&qcow2()[..65536]);
        let content = HeadThen(head, 0, Unread);
        Image::unknown(content).origin("https://example.com/x").import(bench, name).unwrap_err()
    };
    let (long, longest) = ("n".repeat(238) + ".qcow2", "n".repeat(237) + ".qcow2");
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    for name in [&long, &"n".repeat(238)] {
        let error = import(&bench, name);
        assert_eq!(
            (error.kind(), error.outcome_texts()),
            (Kind::Validation, vec!["nothing was changed".to_owned()])
        );
        assert!(whole(&error).contains("243"), "{}", whole(&error));
    }
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    let bytes = qcow2();
    Image::unknown(&*bytes).origin("https://example.com/x").import(&bench, &longest).unwrap();
    Image::unknown(&*bytes).import(&bench, &("m".repeat(249) + ".qcow2")).unwrap();

    let xml = "<volume><name>x.qcow2.origin.json</name><capacity>4</capacity><target><format type='raw'/></target></volume>";
    bench.host.create_volume("foundry-images", xml).unwrap();
    bench
        .host
        .upload_all(&VolumeRef::new("foundry-images", "x.qcow2.origin.json"), &mut &b"mine"[..], 4)
        .unwrap();
    let told = whole(&import(&bench, "x.qcow2"));
    assert!(told.contains("is in the way") && told.contains("nothing was changed"), "{told}");
}

/// The first bytes, and then what must not be read.
struct HeadThen<C>(Vec<u8>, usize, C);

impl<C: Read> Read for HeadThen<C> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.1 == self.0.len() {
            return self.2.read(buffer);
        }
        let read = (&self.0[self.1..]).read(buffer)?;
        self.1 += read;
        Ok(read)
    }
}

impl<C: Read> Content for HeadThen<C> {}

#[test]
fn an_extension_is_one_whatever_its_capitals() {
    let bench = Bench::new();
    assert_eq!(import(&bench, "A.QCOW2", &qcow2()).unwrap().name, "A.QCOW2");
    let error = import(&bench, "B.IMG", &qcow2()).unwrap_err();
    assert_eq!(error.hint_text().as_deref(), Some("name it B.qcow2"));
}
