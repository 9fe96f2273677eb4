//! Images and pools: what is imported under which name, and what is deleted only if nobody needs it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

use std::io::Read;

use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{Host, Volume};
use foundry::operations::images::{self, Source};
use foundry::operations::{pools, storage};
use foundry::{Error, Kind};
use support::{Bench, GENTLE, GIB, WEB, assert_named, foreign, host_with_neighbours, plan, plan_with, whole};

const NOTHING: [&str; 0] = [];

/// A qcow2 image, as its first bytes say; 200 KB.
fn qcow2() -> Vec<u8> {
    let host = MemoryHost::new().with_image("tmp", "x", "qcow2", 3 * GIB);
    let mut bytes = host.content("/pool/tmp/x").unwrap();
    bytes.resize(200_000, 1);
    bytes
}

fn raw() -> Vec<u8> {
    [vec![0; 510], vec![0x55, 0xaa], vec![7; 100_000]].concat()
}

fn import(bench: &Bench, name: &str, bytes: &[u8]) -> Result<Volume, Error> {
    let mut content = bytes;
    let source = Source { from: "disk.img".into(), length: bytes.len() as u64, content: &mut content };
    images::import(&bench.session(), "foundry-images", &name.parse().unwrap(), source)
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
    assert_eq!((done, total), (raw().len() as u64, raw().len() as u64));
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
            (Kind::Storage, format!("'{name}' is not a name for this image").as_str())
        );
        assert_eq!(error.hint_text(), Some(format!("call it {right}").as_str()));
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
        (b"QFI\xfb\0\0\0\x09".to_vec(), "qcow2 version 9 is not known"),
    ] {
        let error = import(&bench, "x.qcow2", &bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage);
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.outcomes(), ["nothing was changed"]);
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
    let big = [raw(), vec![0; 1_000_000]].concat();
    let error = import(&bench, "big.raw", &big).unwrap_err();
    assert!(error.message().starts_with("pool 'foundry-images' has"), "{error}");
    let mut content = big.as_slice();
    let source = Source { from: "x".into(), length: 1, content: &mut content };
    let error =
        images::import(&bench.session(), "foundry-image", &"x.raw".parse().unwrap(), source).unwrap_err();
    assert_eq!(error.message(), "there is no pool 'foundry-image'");
    assert!(error.hint_text().unwrap().starts_with("did you mean 'foundry-images'?"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn a_failed_import_leaves_no_volume_or_says_so() {
    let fresh = Bench::new;
    let faults = support::each_fault(
        fresh,
        |bench| import(bench, "x.raw", &raw()),
        |bench, outcome, effect, label| {
            let Err(error) = outcome else { panic!("{label}: it says that all went well") };
            let left = bench.host.changes_since(&fresh().host.fingerprint());
            assert_named(&left, &error, label);
            assert!(
                !left.is_empty() || effect.breaks() || !whole(&error).contains("all the same"),
                "{label}"
            );
        },
    );
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
    let mut content = Slow(&bench, &bytes);
    let source = Source { from: "x".into(), length: bytes.len() as u64, content: &mut content };
    let error =
        images::import(&bench.session(), "foundry-images", &"x.raw".parse().unwrap(), source).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(error.outcomes(), ["the volume is removed again"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// What a kill leaves is under the image's name, and must not pass for it.
#[test]
fn an_import_that_is_killed_leaves_no_image() {
    for bytes in [qcow2(), raw(), qcow2()[..1000].to_vec()] {
        let name = if bytes.starts_with(b"QFI") { "x.qcow2" } else { "x.raw" };
        for n in 0.. {
            let bench = Bench::new();
            bench.host.fail_at(n, Effect::BrokenBefore);
            let outcome = import(&bench, name, &bytes);
            bench.host.heal();
            let path = format!("/pool/images/{name}");
            let Some(content) = bench.host.content(&path) else { continue };
            let sent = content.get(..512) == bytes.get(..512);
            assert!(!sent || content == bytes, "call {n}: the head is there before the rest is");
            let Some(image) = bench.host.volume("foundry-images", name).unwrap() else { continue };
            assert_eq!(images::is_unfinished(&bench.session(), &image).unwrap(), !sent, "call {n}");
            let wanted = plan_with(WEB, &[("image: debian-12", &format!("image: {name}"))]);
            if !sent {
                let error = bench.create(&wanted).unwrap_err();
                let told = format!(
                    "image 'foundry-images:{name}' cannot be used: an import of it was interrupted, or still goes on\n    foundry image delete {name} --pool foundry-images removes it"
                );
                assert!(error.message().contains(&told), "call {n}: {error}");
                delete(&bench, name).unwrap();
                import(&bench, name, &bytes).unwrap();
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
    let mut content = bytes.as_slice();
    let source = Source { from: "x".into(), length: bytes.len() as u64 + 1, content: &mut content };
    let error =
        images::import(&bench.session(), "foundry-images", &"x.raw".parse().unwrap(), source).unwrap_err();
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
    let bench = Bench::new();
    let source = Source { from: "disk.img".into(), length: 1000, content: &mut Broken };
    let error =
        images::import(&bench.session(), "foundry-images", &"x.raw".parse().unwrap(), source).unwrap_err();
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
    assert_eq!(images::list(&bench.session(), "foundry-images").unwrap(), []);
    assert_eq!(images::list(&bench.session(), "ssd").unwrap_err().kind(), Kind::Storage);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    import(&bench, "x.raw", &raw()).unwrap();
    let pool = bench.host.pool("foundry-images").unwrap().unwrap();
    assert_eq!(
        (pool.active, pool.autostart, pool.target.as_deref()),
        (true, true, Some("/var/lib/libvirt/images/foundry/images"))
    );
    bench.host.stop_pool("foundry-images").unwrap();
    assert_eq!(images::list(&bench.session(), "foundry-images").unwrap(), []);
    import(&bench, "y.raw", &raw()).unwrap();
}

#[test]
fn images_are_listed_by_name() {
    let bench = Bench::new();
    let listed = images::list(&bench.session(), "foundry-images").unwrap();
    let names: Vec<(&str, &str)> = listed.iter().map(|v| (v.name.as_str(), v.format.as_str())).collect();
    assert_eq!(names, [("debian-12", "qcow2"), ("web_boot", "qcow2")]);
}

fn delete(bench: &Bench, name: &str) -> Result<(), Error> {
    images::delete(&bench.session(), "foundry-images", name)
}

#[test]
fn an_unused_image_goes_without_a_word() {
    let bench = Bench::new();
    delete(&bench, "debian-12").unwrap();
    assert!(!bench.host.files().contains(&"/pool/images/debian-12".to_owned()));
    let error = delete(&bench, "debian-12").unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Storage, "there is no image 'debian-12' in pool 'foundry-images'")
    );
}

fn assert_in_use(bench: &Bench, sentence: &str) {
    let before = bench.host.fingerprint();
    let error = delete(bench, "debian-12").unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Storage, format!("image 'debian-12' is in use by {sentence}").as_str())
    );
    assert_eq!(error.outcomes(), ["nothing was changed"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn an_image_in_use_stays_whoever_uses_it() {
    let bench = Bench::with_web();
    assert_in_use(&bench, "VM 'web'");
    // Off, libvirt shows no chain; the volumes do.
    bench.host.set_state("web", foundry::host::DomainState::ShutOff);
    assert_in_use(&bench, "VM 'web'");
    bench.create(&plan_with(WEB, &[("name: web,", "name: db,"), ("10.0.0.1/24", "10.0.0.2/24")])).unwrap();
    assert_in_use(&bench, "VM 'db', VM 'web'");

    let direct = |xml: &str| Bench::on(host_with_neighbours().with_foreign_domain(xml));
    assert_in_use(&direct(&foreign("box", "/pool/images/debian-12")), "VM 'box'");
    let by_pool = foreign("box", "/x")
        .replace("type='file'", "type='volume'")
        .replace("file='/x'", "pool='foundry-images' volume='debian-12'");
    assert_in_use(&direct(&by_pool), "VM 'box'");
}

/// The chain goes over pools, and a disk of nobody's lies on the image as well as a VM's.
#[test]
fn an_overlay_in_another_pool_holds_its_image() {
    let overlays = || {
        host_with_neighbours().with_overlay("ssd", "middle", GIB, "/pool/images/debian-12").with_overlay(
            "hdd",
            "top",
            GIB,
            "/pool/ssd/middle",
        )
    };
    assert_in_use(&Bench::on(overlays()), "volume ssd/middle, volume hdd/top");
    let bench = Bench::on(overlays().with_foreign_domain(&foreign("box", "/pool/hdd/top")));
    assert_in_use(&bench, "VM 'box'");
    let info = images::info(&bench.session(), "foundry-images", "debian-12").unwrap();
    assert_eq!(
        (info.vms, info.overlays),
        (vec!["box".to_owned()], vec!["ssd/middle".to_owned(), "hdd/top".to_owned()])
    );
}

/// An overlay that a path leads to nowhere: the image's directory was moved, or has another name there.
#[test]
fn an_image_under_an_unknown_path_of_its_name_stays() {
    let old = || host_with_neighbours().with_overlay("ssd", "top", GIB, "/moved/images/debian-12");
    assert_in_use(&Bench::on(old()), "volume ssd/top");
    let bench = Bench::on(old().with_foreign_domain(&foreign("box", "/pool/ssd/top")));
    assert_in_use(&bench, "VM 'box'");
    let odd = host_with_neighbours().with_overlay("ssd", "top", GIB, "/pool/ssd/../images//debian-12");
    assert_in_use(&Bench::on(odd), "volume ssd/top");
    // A volume of that name elsewhere is another image.
    let other = host_with_neighbours().with_image("golden", "debian-12", "qcow2", GIB).with_overlay(
        "ssd",
        "top",
        GIB,
        "/pool/golden/debian-12",
    );
    delete(&Bench::on(other), "debian-12").unwrap();
}

/// On this machine the kernel tells what is the same file, whatever it is called.
#[test]
fn an_image_in_use_under_another_name_of_its_directory_stays() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(at("images")).unwrap();
    std::os::unix::fs::symlink(at("images"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("images/debian"), at("renamed")).unwrap();
    std::fs::write(at("images/debian"), "x").unwrap();
    std::fs::create_dir(at("other")).unwrap();
    std::fs::write(at("other/debian"), "y").unwrap();
    let host = |on: &str| {
        MemoryHost::new()
            .local()
            .with_pool("foundry-images", &at("images"))
            .with_image("foundry-images", "debian", "qcow2", GIB)
            .with_overlay("ssd", "top", GIB, &at(on))
    };
    let outcome = |bench: &Bench| delete(bench, "debian").map_err(|e| e.message().to_owned());
    for on in ["images/debian", "link/debian", "renamed"] {
        let refused = outcome(&Bench::on(host(on)));
        assert_eq!(refused, Err("image 'debian' is in use by volume ssd/top".into()), "{on}");
    }
    outcome(&Bench::on(host("other/debian"))).unwrap();
    for disk in ["link/debian", "renamed"] {
        let bench = Bench::on(host("other/debian").with_foreign_domain(&foreign("box", &at(disk))));
        assert_eq!(outcome(&bench), Err("image 'debian' is in use by VM 'box'".into()), "{disk}");
        let pool = bench.host.pool("foundry-images").unwrap().unwrap().target.unwrap();
        assert_eq!(pool, at("images"));
    }
}

/// A disk that is in no pool is read, where it can be.
#[test]
fn a_disk_in_no_pool_holds_its_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let overlay = |on: &str| {
        let host = MemoryHost::new().with_image("p", "b", "qcow2", 1).with_overlay("p", "x", GIB, on);
        host.content("/pool/p/x").unwrap()
    };
    std::fs::write(path("low"), overlay("/pool/images/debian-12")).unwrap();
    std::fs::write(path("high"), overlay("low")).unwrap();
    let host = || host_with_neighbours().with_foreign_domain(&foreign("box", &path("high")));
    assert_in_use(&Bench::on(host().local()), "VM 'box'");
    delete(&Bench::on(host()), "debian-12").unwrap();
}

/// What was put into a pool by hand is looked for before anything goes.
#[test]
fn an_overlay_that_libvirt_has_not_seen_holds_its_image() {
    let other = MemoryHost::new().with_overlay("vms", "x", GIB, "/pool/images/debian-12");
    let overlay = other.content("/pool/vms/x").unwrap();
    let bench = Bench::on(host_with_neighbours().with_file("/pool/vms/by-hand", &overlay));
    assert_in_use(&bench, "volume foundry-vms/by-hand");
}

/// The record names the image from the definition on, before there is an overlay.
#[test]
fn an_image_of_a_vm_that_is_being_made_stays() {
    let bench = Bench::new();
    bench.host.fail_calls_named_with("create_volume", Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap_err();
    bench.host.heal();
    assert_in_use(&bench, "VM 'web'");
}

#[test]
fn a_domain_that_cannot_be_seen_may_use_the_image() {
    let bench =
        Bench::on(host_with_neighbours().with_foreign_domain(&foreign("box", "/pool/images/debian-12")));
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named("domain_xml box");
    delete(&bench, "debian-12").unwrap_err();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn a_pool_is_added_started_and_kept() {
    let bench = Bench::new();
    pools::add(&bench.session(), &"ssd".parse().unwrap(), "/mnt/ssd").unwrap();
    let pool = bench.host.pool("ssd").unwrap().unwrap();
    assert_eq!((pool.active, pool.autostart, pool.target.as_deref()), (true, true, Some("/mnt/ssd")));
    let error = pools::add(&bench.session(), &"ssd".parse().unwrap(), "/other").unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Storage, "pool 'ssd' exists"));
    pools::refresh(&bench.session(), "ssd").unwrap();
    let error = pools::refresh(&bench.session(), "foundry-vm").unwrap_err();
    assert_eq!(error.message(), "there is no pool 'foundry-vm'");
    assert!(error.hint_text().unwrap().starts_with("did you mean 'foundry-vms'?"), "{}", whole(&error));
    assert_eq!(pools::info(&bench.session(), "ssd").unwrap().1, []);
    let names: Vec<String> = pools::list(&bench.session()).unwrap().into_iter().map(|p| p.name).collect();
    assert_eq!(names, ["foundry-images", "foundry-vms", "ssd"]);
}

/// FACTS 24, for a pool of the user's.
#[test]
fn a_directory_that_exists_keeps_owner_and_mode() {
    let host = MemoryHost::new().with_pool("old", "/srv/data");
    host.stop_pool("old").unwrap();
    host.undefine_pool("old").unwrap();
    let bench = Bench::on(host);
    pools::add(&bench.session(), &"new".parse().unwrap(), "/srv/data").unwrap();
    assert!(!bench.host.calls().iter().any(|c| c.starts_with("build_pool")));
}

#[test]
fn a_pool_that_cannot_be_started_is_not_left_defined() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    bench.host.fail_calls_named("build_pool");
    let error = pools::add(&bench.session(), &"ssd".parse().unwrap(), "/mnt/ssd").unwrap_err();
    assert_eq!(error.outcomes(), ["the pool is undefined again"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.host.fail_calls_named("undefine_pool");
    let error = pools::add(&bench.session(), &"ssd".parse().unwrap(), "/mnt/ssd").unwrap_err();
    assert!(error.outcomes()[0].starts_with("left behind: pool 'ssd'"), "{}", whole(&error));
}

#[test]
fn foundrys_own_pools_and_pools_in_use_are_not_deleted() {
    let bench = Bench::on(host_with_neighbours().with_pool("ssd", "/ssd"));
    bench.create(&plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  storagePool: ssd")])).unwrap();
    let refused = |name: &str, force: bool, sentence: &str| {
        let before = bench.host.fingerprint();
        let error = pools::delete(&bench.session(), name, force).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Storage, sentence));
        assert_eq!(error.outcomes(), ["nothing was changed"]);
        assert_eq!(bench.host.changes_since(&before), NOTHING);
    };
    for force in [false, true] {
        refused("foundry-vms", force, "pool 'foundry-vms' is one of foundry's own and is not deleted");
        refused("foundry-images", force, "pool 'foundry-images' is one of foundry's own and is not deleted");
        refused("ssd", force, "pool 'ssd' is in use by VM 'web'");
    }
    // libvirt lists no volumes of a stopped pool; its VMs are still there.
    bench.host.stop_pool("ssd").unwrap();
    refused("ssd", true, "pool 'ssd' is in use by VM 'web'");
    bench.host.start_pool("ssd").unwrap();
    bench.destroy("web", GENTLE).unwrap();
    pools::delete(&bench.session(), "ssd", false).unwrap();
}

#[test]
fn a_pool_of_images_that_vms_lie_on_is_in_use() {
    let bench = Bench::on(host_with_neighbours().with_image("golden", "debian", "qcow2", GIB));
    bench.create(&plan_with(WEB, &[("image: debian-12", "image: 'golden:debian'")])).unwrap();
    bench.host.set_state("web", foundry::host::DomainState::ShutOff);
    let error = pools::delete(&bench.session(), "golden", true).unwrap_err();
    assert_eq!(error.message(), "pool 'golden' is in use by VM 'web'");
}

/// A VM of nobody's, and off: only its volume says what it lies on.
#[test]
fn a_pool_of_images_that_foreign_vms_lie_on_is_in_use() {
    let host = host_with_neighbours().with_image("golden", "debian", "qcow2", GIB);
    let host = host.with_overlay("ssd", "top", GIB, "/pool/golden/debian");
    let bench = Bench::on(host.with_foreign_domain(&foreign("box", "/pool/ssd/top")));
    let error = pools::delete(&bench.session(), "golden", true).unwrap_err();
    assert_eq!(error.message(), "pool 'golden' is in use by VM 'box'");
}

/// FACTS 21: a stopped pool can be deleted, and the volumes of any stay.
#[test]
fn deleting_a_pool_leaves_its_volumes() {
    let bench =
        Bench::on(host_with_neighbours().with_image("ssd", "a", "raw", 1).with_inactive_pool("off", "/off"));
    let error = pools::delete(&bench.session(), "off", false).unwrap_err();
    assert_eq!(error.message(), "pool 'off' is not started, so its volumes cannot be seen");
    assert_eq!((error.kind(), error.outcomes()), (Kind::Storage, &["nothing was changed".to_owned()][..]));
    assert!(error.hint_text().unwrap().starts_with("--force forgets the pool"));
    assert!(bench.host.pool("off").unwrap().is_some_and(|p| !p.active), "it was not started to look");
    pools::delete(&bench.session(), "off", true).unwrap();
    let error = pools::delete(&bench.session(), "ssd", false).unwrap_err();
    assert_eq!((error.message(), error.hint_text().is_some()), ("pool 'ssd' has 1 volume", true));
    pools::delete(&bench.session(), "ssd", true).unwrap();
    assert!(bench.host.files().contains(&"/pool/ssd/a".to_owned()));
    assert_eq!(bench.host.pool("ssd").unwrap(), None);
}

/// FACTS 22: a file system counts once, however many pools are on it.
#[test]
fn storage_status_counts_a_file_system_once() {
    let bench = Bench::on(host_with_neighbours().with_inactive_pool("off", "/off").with_space(100 * GIB));
    let status = storage::status(&bench.session()).unwrap();
    assert_eq!(status.capacity.0, 100 * GIB);
    assert!(status.available.0 > 90 * GIB && status.available.0 <= 100 * GIB);
    let promised: u64 = status.pools.iter().map(|p| p.promised.0).sum();
    assert_eq!((status.promised.0, promised), (7 * GIB, 7 * GIB));
    let shown: Vec<(&str, bool, usize)> =
        status.pools.iter().map(|p| (p.name.as_str(), p.active, p.volumes)).collect();
    assert_eq!(shown, [("foundry-images", true, 2), ("foundry-vms", true, 3), ("off", false, 0)]);
}
