//! Images from a server on a real libvirtd: whole and right, or not there at all.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::http::{Reply, Request, Server};
use crate::support::live::{Bed, files_in, program};
use serde_json::Value;

/// The digest of some bytes, as sha256sum(1) says it.
fn sha256(bed: &Bed, bytes: &[u8]) -> String {
    let file = bed.home().join("to-be-hashed");
    std::fs::write(&file, bytes).unwrap();
    program("sha256sum", &[file.to_str().unwrap()]).exits(0).stdout[..64].to_owned()
}

fn images(bed: &Bed) -> Vec<String> {
    files_in(bed.storage().join("images"), "")
}

fn info(bed: &Bed, name: &str) -> Value {
    serde_json::from_str(&bed.foundry(&["image", "info", name, "-o", "json"]).run().exits(0).stdout).unwrap()
}

/// The tiny guest, packed.
fn packed(bed: &Bed) -> Vec<u8> {
    let file = bed.home().join("tiny.qcow2");
    std::fs::copy(bed.tiny(), &file).unwrap();
    program("zstd", &["-q", "--rm", file.to_str().unwrap()]).exits(0);
    std::fs::read(bed.home().join("tiny.qcow2.zst")).unwrap()
}

#[test]
fn an_image_is_pulled_through_breaks_verified_unpacked_and_booted() {
    let Some(bed) = Bed::new("plboot") else { return };
    let bytes = packed(&bed);
    let digest = sha256(&bed, &bytes);
    let list = format!("{}  other.img\n{digest} *tiny.qcow2.zst\n", "0".repeat(64));
    let server = Server::start(move |request: &Request| match request.path.as_str() {
        "/SHA256SUMS" => Reply::new(200, list.clone()),
        // The connection breaks twice.
        "/tiny.qcow2.zst" => {
            let reply = Reply::file(request, &bytes, "v1");
            if request.nth < 3 { reply.cut_after(3_000_000) } else { reply }
        }
        _ => Reply::new(404, "no"),
    });
    let (url, sums) = (server.url("/tiny.qcow2.zst"), server.url("/SHA256SUMS"));
    bed.foundry(&["image", "pull", &url, "--checksum", &sums]).run().exits(0);
    let ranges = server.requests().iter().filter(|r| r.first_byte().is_some()).count();
    assert!(ranges >= 2, "it goes on where it broke: {:?}", server.requests());
    program("cmp", &[bed.tiny(), bed.image("tiny.qcow2").to_str().unwrap()]).exits(0);

    let manifest = bed.manifest("web", 41);
    bed.boots(&manifest).says("true");
    let origin = &bed.record(&manifest.name)["imageOrigin"];
    assert_eq!(origin["source"], url.as_str());
    assert_eq!(origin["digest"], format!("sha256:{digest}"));
    assert_eq!(origin["verifiedBy"], sums.as_str());
    let shown = info(&bed, "tiny.qcow2");
    assert_eq!((&shown["origin"], &shown["usedBy"]), (origin, &serde_json::json!([manifest.name])));
    let details = bed.foundry(&["get", &manifest.name]).run().exits(0).stdout;
    assert!(details.contains(&url) && details.contains(&digest), "{details}");
    bed.foundry(&["image", "prune", "--yes"]).run().exits(0).prints("");
    bed.foundry(&["destroy", &manifest.name, "--force", "--yes"]).run().exits(0);
    bed.foundry(&["image", "prune", "--yes"]).run().exits(0);
    assert_eq!(images(&bed), [""; 0]);
}

#[test]
fn what_is_wrong_or_cut_off_never_becomes_an_image() {
    let Some(bed) = Bed::new("plbad") else { return };
    let tiny = std::fs::read(bed.tiny()).unwrap();
    let packed = packed(&bed);
    let server = Server::start(move |request: &Request| match request.path.as_str() {
        "/short" => Reply::new(200, &tiny[..2_000_000]).declaring(tiny.len() as u64),
        // HTTP cuts off what is beyond the declared length; the image's own tables say that it is longer.
        "/long" => Reply::new(200, tiny.clone()).declaring(100_000),
        "/cut.zst" => Reply::new(200, &packed[..packed.len() / 2]),
        "/page" => Reply::new(200, "<!DOCTYPE html><html><body>Please log in</body></html>"),
        "/empty" => Reply::new(200, ""),
        "/wrong" => Reply::file(request, &tiny, "v1"),
        "/loop" => Reply::redirect("/loop"),
        "/gone" => Reply::new(404, "no"),
        _ => Reply::new(500, "out of order"),
    });
    let zeros = format!("sha256:{}", "0".repeat(64));
    let cases: [(&str, &[&str], &str); 8] = [
        ("/cut.zst", &[], "/cut.zst"),
        ("/page", &[], "web page"),
        ("/empty", &[], "empty"),
        ("/wrong", &["--checksum", &zeros], "0000"),
        ("/loop", &[], "redirect"),
        ("/gone", &[], "404"),
        ("/short", &[], "/short"),
        ("/long", &[], "truncated"),
    ];
    for (path, more, said) in cases {
        let url = server.url(path);
        let arguments = [&["image", "pull", &url, "--name", "x"], more].concat();
        bed.foundry(&arguments).run().exits(5).mentions(said);
        assert_eq!(images(&bed), [""; 0], "{path}");
    }
}

#[test]
fn a_refresh_transfers_nothing_or_a_newer_image() {
    let Some(bed) = Bed::new("plnew") else { return };
    let version = Arc::new(Mutex::new(("v1".to_owned(), std::fs::read(bed.tiny()).unwrap())));
    let served = Arc::clone(&version);
    let server = Server::start(move |request: &Request| {
        let (tag, bytes) = served.lock().unwrap().clone();
        Reply::file(request, &bytes, &tag)
    });
    let url = server.url("/tiny.qcow2");
    let pull = |more: &[&str]| bed.foundry(&[&["image", "pull", &url], more].concat()).run();
    let bodies = || server.requests().iter().filter(|r| r.method == "GET").count();
    let outdated = || {
        let said = bed.foundry(&["image", "outdated", "-o", "json"]).run().exits(0).stdout;
        serde_json::from_str::<Value>(&said).unwrap()[0]["state"].as_str().unwrap().to_owned()
    };
    pull(&[]).exits(0);
    let (first, made) = (bodies(), bed.image("tiny.qcow2").metadata().unwrap().modified().unwrap());
    pull(&[]).exits(0);
    pull(&["--refresh"]).exits(0);
    assert_eq!((outdated().as_str(), bodies()), ("current", first));
    assert_eq!(bed.image("tiny.qcow2").metadata().unwrap().modified().unwrap(), made);

    // A newer one, while a VM has the old one, and when it has not any more.
    let mut newer = std::fs::read(bed.tiny()).unwrap();
    newer.extend([0; 512]);
    *version.lock().unwrap() = ("v2".into(), newer.clone());
    assert_eq!((outdated().as_str(), bodies()), ("outdated", first));
    let manifest = bed.manifest("web", 42);
    bed.creates(&manifest);
    pull(&["--refresh"]).exits(5).mentions(&manifest.name).mentions("--name");
    assert_eq!(bodies(), first, "nothing is downloaded for nothing");
    bed.foundry(&["destroy", &manifest.name, "--force", "--yes"]).run().exits(0);
    pull(&["--refresh"]).exits(0);
    assert!(std::fs::read(bed.image("tiny.qcow2")).unwrap() == newer);
    assert_eq!(outdated(), "current");

    // What comes instead of a newer one leaves the old one where it is.
    *version.lock().unwrap() = ("v3".into(), b"<html>".to_vec());
    pull(&["--refresh"]).exits(5);
    assert!(std::fs::read(bed.image("tiny.qcow2")).unwrap() == newer);
}

#[test]
fn an_image_that_is_from_elsewhere_is_not_taken_for_the_one_asked_for() {
    let Some(bed) = Bed::with_tiny("plelse") else { return };
    let server = Server::of_file(std::fs::read(bed.tiny()).unwrap());
    let url = server.url("/tiny.qcow2");
    for more in [&[][..], &["--refresh"]] {
        let ran = bed.foundry(&[&["image", "pull", &url], more].concat()).run().exits(5);
        ran.mentions("is not from").mentions("--name");
    }
    assert_eq!(server.requests().len(), 0);
    bed.foundry(&["image", "pull", &url, "--name", "other"]).run().exits(0);
    assert_eq!(images(&bed).len(), 3, "{:?}", images(&bed));
}

/// After the old image is gone nobody is asked for anything, and what was verified is what comes.
#[test]
fn a_refresh_needs_its_server_once() {
    let Some(bed) = Bed::new("plonce") else { return };
    let tiny = std::fs::read(bed.tiny()).unwrap();
    let mut newer = tiny.clone();
    newer.extend([0; 512]);
    let (old, new) = (tiny.clone(), newer.clone());
    // It says nothing by which a file is recognized, and after the second body it is out of order.
    let server = Server::start(move |request: &Request| match request.nth {
        0 => Reply::new(200, old.clone()),
        1 => Reply::new(200, new.clone()),
        _ => Reply::new(503, "out of order"),
    });
    let url = server.url("/tiny.qcow2");
    bed.foundry(&["image", "pull", &url]).run().exits(0);
    bed.foundry(&["image", "pull", &url, "--refresh"]).run().exits(0);
    assert!(std::fs::read(bed.image("tiny.qcow2")).unwrap() == newer);
}

#[test]
fn what_is_there_is_not_taken_for_what_is_asked_for() {
    let Some(bed) = Bed::new("plask") else { return };
    let tiny = std::fs::read(bed.tiny()).unwrap();
    let digest = format!("sha256:{}", sha256(&bed, &tiny));
    let version = Arc::new(Mutex::new(("v1".to_owned(), tiny.clone())));
    let served = Arc::clone(&version);
    let server = Server::start(move |request: &Request| {
        let (tag, bytes) = served.lock().unwrap().clone();
        Reply::file(request, &bytes, &tag)
    });
    let url = server.url("/tiny.qcow2?id=1");
    let pull = |url: &str, more: &[&str]| {
        bed.foundry(&[&["image", "pull", url, "--name", "a"], more].concat()).run()
    };
    pull(&url, &["--checksum", &digest]).exits(0);
    pull(&url, &["--checksum", &digest]).exits(0);
    let zeros = format!("sha256:{}", "0".repeat(64));
    pull(&url, &["--checksum", &zeros]).exits(5).mentions(&digest);
    // Another query is another address, though neither is shown.
    let other = pull(&server.url("/tiny.qcow2?id=2"), &[]).exits(5);
    assert!(!other.stderr.contains("id="), "{other:#?}");
    // What was pinned by hand is replaced by what is pinned by hand.
    let mut newer = tiny;
    newer.extend([0; 512]);
    *version.lock().unwrap() = ("v2".into(), newer.clone());
    pull(&url, &["--refresh"]).exits(5).mentions("was pinned to");
    let digest = format!("sha256:{}", sha256(&bed, &newer));
    pull(&url, &["--refresh", "--checksum", &digest]).exits(0);
    assert!(std::fs::read(bed.image("a.qcow2")).unwrap() == newer);
    // A file that did not change is not copied again.
    let file = bed.home().join("own.qcow2");
    std::fs::write(&file, &newer).unwrap();
    let pull = |more: &[&str]| {
        let url = format!("file://{}", file.display());
        bed.foundry(&[&["image", "pull", &url, "--checksum", &digest], more].concat()).run().exits(0).stdout
    };
    pull(&[]);
    assert!(pull(&["--refresh"]).contains("Already up to date"));
}

/// What a killed run has downloaded is not downloaded again, if it was to be kept.
#[test]
fn a_download_that_is_kept_is_gone_on_with_and_used_again() {
    let Some(bed) = Bed::new("plkeep") else { return };
    let bytes = packed(&bed);
    let served = bytes.clone();
    let server = Server::start(move |request: &Request| {
        let reply = Reply::file(request, &served, "v1");
        if request.nth == 0 { reply.pausing(4_000_000, std::time::Duration::from_secs(20)) } else { reply }
    });
    let url = server.url("/tiny.qcow2.zst");
    let cache = bed.home().join("cache");
    let pull = || {
        let command = bed.foundry(&["image", "pull", &url, "--keep-compressed-cache"]);
        command.env("XDG_CACHE_HOME", cache.to_str().unwrap())
    };
    let downloads = cache.join("foundry/downloads");
    let killed = pull().start();
    let begun = std::time::Instant::now();
    while part_length(&downloads) < 4_000_000 {
        assert!(begun.elapsed().as_secs() < 15, "{:?}", files_in(&downloads, ""));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut killed = killed;
    killed.signal("KILL");
    killed.end().exits(137);
    let list = bed.foundry(&["image", "list", "--no-headers"]).run().exits(0).stdout;
    assert!(list.contains("incomplete"), "{list}");
    bed.foundry(&["image", "delete", "--force", "tiny.qcow2"]).run().exits(0);

    pull().run().exits(0);
    let resumed = server.requests().last().unwrap().first_byte();
    assert!(resumed.is_some_and(|first| first >= 3_000_000), "{resumed:?}");
    bed.foundry(&["image", "delete", "tiny.qcow2"]).run().exits(0);
    let before = server.requests().iter().filter(|r| r.method == "GET").count();
    pull().run().exits(0);
    assert_eq!(server.requests().iter().filter(|r| r.method == "GET").count(), before);
    program("cmp", &[bed.tiny(), bed.image("tiny.qcow2").to_str().unwrap()]).exits(0);
}

fn part_length(downloads: &Path) -> u64 {
    let parts = files_in(downloads, "").into_iter().filter(|f| f.ends_with(".part"));
    parts.map(|part| downloads.join(part).metadata().map_or(0, |m| m.len())).max().unwrap_or(0)
}

#[test]
fn an_interrupted_pull_leaves_nothing() {
    let Some(bed) = Bed::new("plint") else { return };
    let tiny = std::fs::read(bed.tiny()).unwrap();
    let server = Server::start(move |request: &Request| {
        Reply::file(request, &tiny, "v1").pausing(4_000_000, std::time::Duration::from_secs(60))
    });
    let url = server.url("/tiny.qcow2");
    let mut pull = bed.foundry(&["image", "pull", &url, "-vv"]).start();
    assert!(pull.until(|line| line.contains("virStorageVolCreateXML")));
    std::thread::sleep(std::time::Duration::from_millis(300));
    pull.signal("INT");
    let ended = pull.end().exits(130);
    assert!(ended.stderr.contains("the volume is removed again"), "{ended:#?}");
    assert_eq!(images(&bed), [""; 0]);
}
