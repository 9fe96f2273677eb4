//! Where images came from: noted beside them, shown, taken away with them, and what goes when nobody uses it.

use crate::support::bench::{Bench, whole};
use crate::support::http;
use crate::support::images::{Image, origin, qcow2, raw};
use crate::support::manifests::{WEB, plan_with};
use foundry::Kind;
use foundry::host::memory::Effect;
use foundry::host::{Pools, Transfers, Volume, Volumes};
use foundry::operations::image::{self, Age, ImageState, UnusedImage};
use foundry::origin::ImageOrigin;
use foundry::record::VolumeRef;
use foundry::transfer::{Client, Expected, HttpSettings};

const POOL: &str = "foundry-images";
const URL: &str = "https://example.com/debian-13.qcow2";

fn pulled(bench: &Bench, name: &str) -> Volume {
    let bytes = qcow2();
    Image::unknown(&*bytes).origin(URL).import(bench, name).unwrap()
}

fn volumes(bench: &Bench) -> Vec<String> {
    let mut names: Vec<String> = bench.host.volumes(POOL).unwrap().into_iter().map(|v| v.name).collect();
    names.retain(|name| name.starts_with('x'));
    names.sort();
    names
}

#[test]
fn an_origin_is_noted_shown_and_deleted_with_its_image() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    assert_eq!(volumes(&bench), ["x.qcow2", "x.qcow2.origin.json"]);
    let listed = image::list_images(&bench.context(), POOL).unwrap();
    assert!(listed.iter().all(|image| !image.name.contains("origin")), "{listed:?}");
    assert_eq!(
        image::image_info(&bench.context(), &VolumeRef::new(POOL, "x.qcow2")).unwrap().origin,
        Some(origin(URL))
    );
    assert_eq!(image::image_info(&bench.context(), &VolumeRef::new(POOL, "debian-12")).unwrap().origin, None);

    let error =
        image::delete_image(&bench.context(), &VolumeRef::new(POOL, "x.qcow2.origin.json")).unwrap_err();
    assert!(whole(&error).contains("foundry image delete x.qcow2"), "{}", whole(&error));
    image::delete_image(&bench.context(), &VolumeRef::new(POOL, "x.qcow2")).unwrap();
    assert_eq!(volumes(&bench), [""; 0]);
}

#[test]
fn a_note_without_its_image_goes_by_its_own_name() {
    let orphan = || {
        let bench = Bench::new();
        pulled(&bench, "x.qcow2");
        bench.host.delete_volume(&VolumeRef::new(POOL, "x.qcow2")).unwrap();
        bench
    };
    let bench = orphan();
    image::delete_image(&bench.context(), &VolumeRef::new(POOL, "x.qcow2.origin.json")).unwrap();
    assert_eq!(volumes(&bench), [""; 0]);
    let error =
        image::delete_image(&bench.context(), &VolumeRef::new(POOL, "x.qcow2.origin.json")).unwrap_err();
    assert!(error.message().contains("there is no image 'x.qcow2.origin.json'"), "{error}");
    let bench = orphan();
    image::delete_image_in_use(&bench.context(), &VolumeRef::new(POOL, "x.qcow2.origin.json")).unwrap();
    assert_eq!(volumes(&bench), [""; 0]);
}

/// The look at who uses it is the last thing before the image goes.
#[test]
fn nothing_is_asked_between_the_look_and_the_deletion() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    bench.host.forget_calls();
    image::delete_image(&bench.context(), &VolumeRef::new(POOL, "x.qcow2")).unwrap();
    let calls = bench.host.calls();
    let deleted = calls.iter().position(|call| call.starts_with("delete_volume")).unwrap();
    assert!(calls[deleted - 1].starts_with("volumes "), "{calls:#?}");
}

/// That a beginning cannot be read does not say that it is there.
#[test]
fn an_image_that_cannot_be_read_is_neither_whole_nor_dispensable() {
    let bench = Bench::new();
    Image::unknown(&*raw()).import(&bench, "x.raw").unwrap();
    let image = bench.host.volume(&VolumeRef::new(POOL, "x.raw")).unwrap().unwrap();
    assert_eq!(image::image_state(&bench.context(), &image).unwrap(), ImageState::Complete);
    bench.host.fail_calls_named("download");
    assert_eq!(image::image_state(&bench.context(), &image).unwrap(), ImageState::Unknown);
    let all = image::find_unused(&bench.context(), POOL, true).unwrap();
    assert!(!names(&all).contains(&"x.raw"), "{all:?}");
    let before = bench.host.fingerprint();
    let error = image::delete_image(&bench.context(), &VolumeRef::new(POOL, "x.raw")).unwrap_err();
    assert_eq!(error.message(), "image 'x.raw' may be incomplete");
    assert_eq!(bench.host.changes_since(&before), [""; 0]);
    image::delete_image_in_use(&bench.context(), &VolumeRef::new(POOL, "x.raw")).unwrap();
}

#[test]
fn a_vm_remembers_where_its_image_came_from() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    bench.create(&plan_with(WEB, &[("image: debian-12", "image: x.qcow2")])).unwrap();
    let record = bench.record("web");
    assert_eq!(record.image_origin, Some(origin(URL)));
}

#[test]
fn what_is_no_note_is_left_alone() {
    let bench = Bench::new();
    let xml = "<volume><name>x.raw.origin.json</name><capacity>4</capacity><target><format type='raw'/></target></volume>";
    bench.host.create_volume(POOL, xml).unwrap();
    bench.host.upload_all(&VolumeRef::new(POOL, "x.raw.origin.json"), &mut &b"mine"[..], 4).unwrap();
    let before = bench.host.fingerprint();
    let error = Image::unknown(&*raw()).origin(URL).import(&bench, "x.raw").unwrap_err();
    assert!(whole(&error).contains("is in the way"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), [""; 0]);
    // An image without an origin needs no note, and no note of it is believed.
    Image::unknown(&*raw()).import(&bench, "x.raw").unwrap();
    assert_eq!(image::image_origin(&bench.context(), &VolumeRef::new(POOL, "x.raw")).unwrap(), None);
}

#[test]
fn a_note_that_was_left_is_replaced() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    bench.host.delete_volume(&VolumeRef::new(POOL, "x.qcow2")).unwrap();
    let bytes = qcow2();
    Image::unknown(&*bytes).origin("https://example.com/other").import(&bench, "x.qcow2").unwrap();
    let found = image::image_origin(&bench.context(), &VolumeRef::new(POOL, "x.qcow2")).unwrap().unwrap();
    assert_eq!(found.source, "https://example.com/other");
}

fn names(found: &[UnusedImage]) -> Vec<&str> {
    found.iter().map(|d| d.image.name.as_str()).collect()
}

#[test]
fn only_what_nobody_uses_and_what_can_be_had_again_is_dispensable() {
    let bench = Bench::new();
    for name in ["x-used.qcow2", "x-free.qcow2"] {
        pulled(&bench, name);
    }
    Image::unknown(&*raw()).import(&bench, "x-own.raw").unwrap();
    // One on its way.
    bench.host.create_volume(POOL, "<volume><name>x-torso.raw</name><capacity>65536</capacity><target><format type='raw'/></target></volume>").unwrap();
    bench.create(&plan_with(WEB, &[("image: debian-12", "image: x-used.qcow2")])).unwrap();
    let context = bench.context();
    assert_eq!(names(&image::find_unused(&context, POOL, false).unwrap()), ["x-free.qcow2"]);
    let all = image::find_unused(&context, POOL, true).unwrap();
    assert!(names(&all).contains(&"x-own.raw") && !names(&all).contains(&"x-used.qcow2"), "{all:?}");
    assert!(!names(&all).contains(&"x-torso.raw"), "{all:?}");
}

/// Between the question and the answer somebody may have made a VM.
#[test]
fn what_is_used_by_now_is_not_pruned() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    let found = image::find_unused(&bench.context(), POOL, false).unwrap();
    bench.create(&plan_with(WEB, &[("image: debian-12", "image: x.qcow2")])).unwrap();
    let mut gone = Vec::new();
    let error =
        image::prune_images(&bench.context(), &found, |image| gone.push(image.name.clone())).unwrap_err();
    assert!(error.message().contains("in use by VM 'web'"), "{error}");
    assert_eq!((gone.len(), volumes(&bench).len()), (0, 2));
}

#[test]
fn an_image_is_exported_as_it_lies_there() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    let mut out = Vec::new();
    assert_eq!(
        image::export_image(&bench.context(), &VolumeRef::new(POOL, "x.qcow2"), &mut out).unwrap(),
        200_000
    );
    assert!(out == qcow2());
    bench.host.create_volume(POOL, "<volume><name>x-torso.raw</name><capacity>65536</capacity><target><format type='raw'/></target></volume>").unwrap();
    let error = image::export_image(&bench.context(), &VolumeRef::new(POOL, "x-torso.raw"), &mut Vec::new())
        .unwrap_err();
    assert!(error.message().contains("is incomplete"), "{error}");
}

fn leave_room(bench: &Bench, bytes: u64) {
    let available = bench.host.pool(POOL).unwrap().unwrap().available.0;
    bench.host.take_space(available - bytes);
}

/// An upload onto a full disk ends libvirtd, so it is not begun, or ends before.
#[test]
fn an_image_that_outgrows_its_pool_is_given_up_in_time() {
    const MIB: usize = 1 << 20;
    for (length, room) in [(80 * MIB, 60 * MIB), (40 * MIB, 17 * MIB), (MIB, 10 * MIB)] {
        let bench = Bench::new();
        leave_room(&bench, room as u64);
        let before = bench.host.fingerprint();
        let mut bytes = vec![7; length];
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        let error = Image::unknown(&*bytes).import(&bench, "x.raw").unwrap_err();
        assert_eq!(error.kind(), Kind::Storage, "{}", whole(&error));
        assert!(whole(&error).contains("pool 'foundry-images'"), "{}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), [""; 0]);
    }
}

/// Zeros cost nothing: an image of which little is not zero goes where it would not fit in full.
#[test]
fn an_image_of_holes_fits_where_its_data_do() {
    let bench = Bench::new();
    leave_room(&bench, 20 << 20);
    let mut bytes = vec![0; 64 << 20];
    bytes[..raw().len()].copy_from_slice(&raw());
    bytes[40 << 20..41 << 20].fill(7);
    let made =
        Image { data: Some(2 << 20), ..Image::dense(&*bytes, 64 << 20) }.import(&bench, "x.raw").unwrap();
    assert_eq!(made.capacity.0, 64 << 20);
    assert!(made.allocation.0 < 3 << 20, "{made:?}");
    assert!(bench.host.content(&made.path).unwrap() == bytes);
}

#[test]
fn a_lost_connection_is_not_an_unknown_origin() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    bench.host.fail_calls_named_with("download", Effect::BrokenBefore);
    let lost = image::image_origin(&bench.context(), &VolumeRef::new(POOL, "x.qcow2")).unwrap_err();
    assert_eq!(lost.kind(), Kind::Connection);
}

/// Somebody deletes the volume while an image comes in, and makes an image of that name.
fn replace(host: &foundry::host::memory::MemoryHost) {
    host.delete_volume(&VolumeRef::new(POOL, "x.raw")).unwrap();
    let bytes = [raw(), vec![9; 5000]].concat();
    let xml = format!(
        "<volume><name>x.raw</name><capacity>{}</capacity><target><format type='raw'/></target></volume>",
        bytes.len()
    );
    host.create_volume(POOL, &xml).unwrap();
    host.upload_all(&VolumeRef::new(POOL, "x.raw"), &mut &*bytes, bytes.len() as u64).unwrap();
}

#[test]
fn an_image_that_took_the_place_of_one_on_its_way_is_left_alone() {
    let import = |bench: &Bench| Image::unknown(&*raw()).import(bench, "x.raw");
    let looks = {
        let bench = Bench::new();
        import(&bench).unwrap();
        let calls = bench.host.calls();
        (0..calls.len()).filter(|n| calls[*n].starts_with("download")).collect::<Vec<_>>()
    };
    assert!(!looks.is_empty(), "nothing looks whose the volume is");
    for n in looks {
        let bench = Bench::new();
        bench.host.on_call(n, replace);
        let error = import(&bench).unwrap_err();
        assert!(
            whole(&error).contains("belongs to someone else now and is kept"),
            "call {n}: {}",
            whole(&error)
        );
        let there = bench.host.content("/pool/images/x.raw").unwrap();
        assert!(there == [raw(), vec![9; 5000]].concat(), "call {n}");
    }
}

#[test]
fn a_note_on_another_image_of_that_name_is_not_believed() {
    let bench = Bench::new();
    pulled(&bench, "x.qcow2");
    bench.host.delete_volume(&VolumeRef::new(POOL, "x.qcow2")).unwrap();
    let other = [qcow2(), vec![0; 512]].concat();
    let mut other_head = other.clone();
    other_head[200] = 2;
    Image::unknown(&*other_head).import(&bench, "x.qcow2").unwrap();
    assert_eq!(image::image_origin(&bench.context(), &VolumeRef::new(POOL, "x.qcow2")).unwrap(), None);
}

#[test]
fn an_image_that_is_shorter_than_its_tables_say_is_cut_off() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    let mut cut = qcow2();
    // The table of tables is said to begin at 1 MiB.
    cut[36..40].copy_from_slice(&1u32.to_be_bytes());
    cut[40..48].copy_from_slice(&(1u64 << 20).to_be_bytes());
    let mut disk = raw();
    // A partition of 1 GiB from 1 MiB on.
    disk[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0x20, 0]);
    for (bytes, name) in [(cut, "x.qcow2"), (disk, "x.raw")] {
        let error = Image::unknown(&*bytes).import(&bench, name).unwrap_err();
        assert!(whole(&error).contains("truncated"), "{name}: {}", whole(&error));
        assert_eq!(bench.host.changes_since(&before), [""; 0]);
    }
}

/// A note is anybody's who may write to the pool: what it names beside the image's own host is not asked.
#[test]
fn a_note_makes_nobody_ask_another_host_for_a_list() {
    let server = http::Server::start(|_| http::Reply::new(404, ""));
    let image = server.url("/x.qcow2");
    let bench = Bench::new();
    let ages = |list: &str, lists: &[Expected]| {
        let noted = ImageOrigin { verified_by: Some(list.into()), ..origin(&image) };
        let bytes = qcow2();
        let import = Image { origin: Some(noted), ..Image::unknown(&*bytes) };
        import.import(&bench, "x.qcow2").unwrap();
        let all = image::find_outdated(&bench.context(), POOL, &Client::new(HttpSettings::default()), lists);
        let found = all.unwrap().into_iter().find(|found| found.image.name == "x.qcow2").unwrap();
        image::delete_image(&bench.context(), &VolumeRef::new(POOL, "x.qcow2")).unwrap();
        let Age::Unknown(why) = found.age else { panic!("{:?}", found.age) };
        (why, server.requests().len())
    };
    let elsewhere = server.url("/SUMS").replace("127.0.0.1", "localhost");
    let told =
        format!("its note names a list of checksums on another host, {elsewhere}, which was not fetched");
    assert_eq!(ages(&elsewhere, &[]), (told, 0));
    let (told, asked) = ages(&server.url("/SUMS"), &[]);
    assert!(told.contains("404") && asked == 1, "the host that it came from: {told}");
    let (told, asked) = ages(&elsewhere, &[elsewhere.parse().unwrap()]);
    assert!(told.contains("404") && asked == 2, "the catalogue's: {told}");
}
