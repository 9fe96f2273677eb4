//! Images by short names: what foundry comes with, and a user's own over it.

use crate::support::shown::Shown;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use foundry::catalog::{Alias, Catalog, CatalogEntry, CatalogUpdate, add_entry, remove_entry};
use foundry::plan::Arch;
use foundry::transfer::{Expected, Location};
use foundry::{Error, Kind};
use tempfile::TempDir;

fn entry(url: &str) -> CatalogEntry {
    CatalogEntry { url: url.into(), ..CatalogEntry::default() }
}

fn alias(name: &str) -> Alias {
    name.parse().unwrap()
}

fn own(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("catalog.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

fn refused(text: &str) -> Error {
    let dir = tempfile::tempdir().unwrap();
    Catalog::load(Some(&own(&dir, text))).unwrap_err()
}

#[test]
fn every_built_in_image_comes_encrypted_and_is_verified() {
    let catalog = Catalog::load(None).unwrap();
    for arch in Arch::ALL {
        let images = catalog.list_images(arch).unwrap();
        assert!(images.len() >= 15);
        for image in images {
            let Location::Url(url) = &image.location else { panic!("{image:?}") };
            let Some(Expected::ListedIn(Location::Url(sums))) = &image.checksum else { panic!("{image:?}") };
            for url in [url, sums] {
                let text = url.without_password();
                assert!(url.is_https() && !text.contains(['{', '}', '%']), "{text}");
            }
            let name = url.file_name().unwrap();
            assert!(name.ends_with(".qcow2") || name.ends_with(".img"), "{name}");
            assert!(!image.description.is_empty() && !image.own);
        }
    }
}

#[test]
fn the_architecture_is_put_in_as_each_distribution_spells_it() {
    let catalog = Catalog::load(None).unwrap();
    let name = |name: &str, arch| catalog.find_image(name, arch).unwrap().location.file_name().unwrap();
    assert_eq!(name("debian-13", Arch::X86_64), "debian-13-generic-amd64.qcow2");
    assert_eq!(name("debian-13", Arch::Aarch64), "debian-13-generic-arm64.qcow2");
    assert_eq!(name("fedora-43", Arch::Aarch64), "Fedora-Cloud-Base-Generic-43-1.6.aarch64.qcow2");
    let error = catalog.find_image("archlinux", Arch::Aarch64).unwrap_err();
    assert_eq!(error.message(), "the catalogue does not have archlinux for aarch64");
    assert!(
        catalog.list_images(Arch::Aarch64).unwrap().iter().all(|image| image.alias.as_str() != "archlinux")
    );
}

#[test]
fn who_mistypes_is_told_what_was_probably_meant() {
    let catalog = Catalog::load(None).unwrap();
    let error = catalog.find_image("debain-13", Arch::X86_64).unwrap_err();
    assert_eq!(
        (error.kind(), error.hint_text().as_deref()),
        (Kind::Validation, Some("did you mean debian-13?"))
    );
    for hostile in ["", "../x", "a b", "\u{1b}[2J", "DEBIAN-13", "zzz"] {
        assert!(!catalog.find_image(hostile, Arch::X86_64).unwrap_err().message().contains('\u{1b}'));
    }
}

#[test]
fn ones_own_go_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = own(
        &dir,
        "images:\n  debian-13: {url: 'https://mirror.lan/{deb-arch}/d.qcow2', checksum: 'https://mirror.lan/SUMS'}\n  golden:\n    url: /srv/golden.raw\n    arch: [aarch64]\n",
    );
    let catalog = Catalog::load(Some(&path)).unwrap();
    let debian = catalog.find_image("debian-13", Arch::Aarch64).unwrap();
    assert!(debian.own && debian.location.to_string() == "https://mirror.lan/arm64/d.qcow2");
    let golden = catalog.find_image("golden", Arch::Aarch64).unwrap();
    assert_eq!((golden.location, golden.checksum), (Location::File("/srv/golden.raw".into()), None));
    assert!(!catalog.find_image("debian-12", Arch::X86_64).unwrap().own);
    assert!(Catalog::load(Some(&dir.path().join("none.yaml"))).is_ok());
}

#[test]
fn what_no_catalogue_says_is_an_error_with_its_place() {
    for (text, told) in [
        (
            "images:\n  x:\n    url: /x\n    chekcsum: y\n",
            ":4:5: images.x.chekcsum: unknown field; did you mean 'checksum'?",
        ),
        ("images:\n  x: {description: y}\n", ":2:6: images.x: missing field `url`"),
        ("image: {}\n", ":1:1: image: unknown field; did you mean 'images'?"),
        ("images:\n  X: {url: /x}\n", ":2:6: images.X: may contain only"),
        ("images:\n  x: {url: 'ftp://x/y'}\n", ":2:6: images.x.url: \"ftp://x/y\" is not an address"),
        ("images:\n  x: {url: '-'}\n", ":2:6: images.x.url: standard input"),
        (
            "images:\n  x: {url: /x, checksum: 'md5:00'}\n",
            ":2:6: images.x.checksum: \"md5\" is not a hash function",
        ),
        ("images:\n  x: {url: /x, arch: [riscv64]}\n", ":2:6: images.x.arch: \"riscv64\" is neither"),
        ("images:\n  x: {url: /x}\n  x: {url: /y}\n", ":3:3: duplicate key `x`"),
        ("images: {}\n---\nimages: {}\n", ":3:1: a catalogue has only one document"),
        ("- x\n", ":1:1: expected a mapping, got a list"),
    ] {
        let error = refused(text);
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.message().contains(&format!("catalog.yaml{told}")), "{text}\n{error}\n{told}");
    }
}

#[test]
fn what_is_added_and_removed_leaves_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/folder/catalog.yaml");
    let put = |name: &str, url: &str| add_entry(&path, &alias(name), entry(url)).unwrap();
    assert_eq!(put("one", "https://x/1"), CatalogUpdate { replaced: false, comments_lost: false });
    let full = CatalogEntry {
        description: Some("on: a #mirror".into()),
        checksum: Some("https://x/SUMS".into()),
        arch: Some(vec!["x86_64".into()]),
        ..entry("https://x/{arch}/2")
    };
    add_entry(&path, &alias("two"), full).unwrap();
    assert!(put("one", "https://x/one").replaced);
    let two = Catalog::load(Some(&path)).unwrap().find_image("two", Arch::X86_64).unwrap();
    assert_eq!(
        (two.description.as_str(), two.location.to_string().as_str()),
        ("on: a #mirror", "https://x/x86_64/2")
    );
    remove_entry(&path, &alias("two")).unwrap();
    let catalog = Catalog::load(Some(&path)).unwrap();
    assert_eq!(catalog.find_image("one", Arch::X86_64).unwrap().location.to_string(), "https://x/one");
    catalog.find_image("two", Arch::X86_64).unwrap_err();
    let error = remove_entry(&path, &alias("debian-13")).unwrap_err();
    assert!(error.message().ends_with("has no image debian-13"), "{error}");
}

#[test]
fn a_file_that_is_wrong_or_an_entry_that_is_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = own(&dir, "images: [\n");
    assert_eq!(add_entry(&path, &alias("x"), entry("/x")).unwrap_err().kind(), Kind::Configuration);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "images: [\n");
    let path = own(&dir, "images: {}\n");
    assert_eq!(add_entry(&path, &alias("x"), entry("ftp://x")).unwrap_err().kind(), Kind::Validation);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "images: {}\n");
}

#[test]
fn a_file_of_ones_own_keeps_its_place_and_its_mode_but_not_its_comments() {
    let dir = tempfile::tempdir().unwrap();
    let path = own(&dir, "# mine\nimages:\n  x: {url: /x} # here\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.yaml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let written = add_entry(&link, &alias("zed"), entry("/y")).unwrap();
    assert!(written.comments_lost && link.is_symlink());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "images:\n  x:\n    url: /x\n  zed:\n    url: /y\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
}

#[test]
fn a_new_file_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.yaml");
    add_entry(&path, &alias("x"), entry("https://x/y?token=t")).unwrap();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
    remove_entry(&path, &alias("x")).unwrap();
    assert_eq!(mode(), 0o664, "whatever the umask is");
}

#[test]
fn a_catalogue_keeps_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.yaml");
    let sums = CatalogEntry { checksum: Some("https://u:SECRETPW@x/SUMS".into()), ..entry("/x") };
    for (entry, field) in [(entry("https://u:SECRETPW@x/{arch}"), "x.url: "), (sums, "x.checksum: ")] {
        let error = add_entry(&path, &alias("x"), entry).unwrap_err();
        let told = error.to_string();
        assert_eq!(error.kind(), Kind::Validation);
        assert!(told.contains(field) && told.contains("user name or password"), "{told}");
        assert!(!told.contains("SECRETPW") && !path.exists(), "{told}");
    }
    let told = refused("images:\n  x: {url: 'http://u:SECRETPW@x/y'}\n").to_string();
    assert!(told.contains(":2:6: images.x.url: ") && !told.contains("SECRETPW"), "{told}");
}
