//! Where an image is stored and found: the default pool, its name, the catalogue, the note of its origin.

use super::{NOTHING, import};
use crate::support::bench::{Bench, whole};
use crate::support::images::{Image, qcow2, raw};
use crate::support::manifests::{WEB, plan_with};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::content::Content;
use foundry::host::memory::MemoryHost;
use foundry::host::{Pools, Transfers, Volumes};
use foundry::operations::image;
use foundry::record::VolumeRef;
use std::io::Read;

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
