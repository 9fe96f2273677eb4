//! Commands on libvirt's test driver: VMs, pools and disks.

use super::{assert_fails, assert_says, piped};
use crate::support::command::{TEST_DRIVER, foundry, on_test, run};
use crate::support::manifests::{HASH, KEY, WEB};
use serde_json::Value;

/// FACTS 7, and the design document's rule for domains without a record.
#[test]
fn a_domain_that_is_not_foundrys_is_listed_and_not_destroyed() {
    let ran = on_test(&["list"]);
    insta::assert_snapshot!(ran.stdout, @r"
    NAME   STATE     VCPUS   MEMORY   IP ADDRESS      AGE   MANAGED
    test   running   2       8 GiB    192.168.122.3   -     no
    ");
    let ran = on_test(&["destroy", "test"]);
    assert_fails(&ran, 4, "domain 'test' was not made by foundry");
    assert!(ran.stderr.contains("hint: foundry destroy test --force"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    let ran = on_test(&["destroy", "test", "--force"]);
    assert_says(&ran, "Successfully destroyed VM 'test'\n");
    assert_eq!(
        ran.stderr,
        "Destroying VM 'test'...\n✓ VM stopped\n✓ Domain undefined\nwarning: left: /guest/diskimage1: it is in no started pool\n"
    );
}

/// What can be destroyed is, and the worst failure is the code.
#[test]
fn several_names_are_destroyed_one_by_one() {
    let ran = on_test(&["destroy", "nosuch", "test", "--force"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, "Successfully destroyed VM 'test'\n"));
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{}", ran.stderr);
    let ran = on_test(&["destroy", "nosuch", "neither"]);
    assert_eq!((ran.code, ran.stderr.matches("error:").count()), (4, 2), "{}", ran.stderr);
}

#[test]
fn a_vm_that_is_named_twice_is_destroyed_once() {
    let ran = on_test(&["destroy", "test", "test", "--force"]);
    assert_says(&ran, "Successfully destroyed VM 'test'\n");
}

#[test]
fn listings_have_the_forms_of_kubectl() {
    let json = |args: &[&str]| -> Value { serde_json::from_str(&on_test(args).stdout).unwrap() };
    let listed = json(&["list", "-o", "json"]);
    assert_eq!(
        (listed[0]["kind"].as_str(), listed[0]["metadata"]["name"].as_str()),
        (Some("VirtualMachine"), Some("test"))
    );
    assert_eq!(listed[0]["spec"]["vcpus"], 2);
    assert_eq!(json(&["get", "test", "-o", "json"])["status"]["phase"], "Running");
    assert_eq!(json(&["list", "-l", "role=web", "-o", "json"]), Value::Array(Vec::new()));
    assert_eq!(json(&["pool", "list", "-o", "json"])[0]["type"], "dir");
    assert_eq!(json(&["pool", "info", "default-pool", "-o", "json"])["active"], true);
    assert_eq!(json(&["image", "list", "--pool", "default-pool", "-o", "json"]), Value::Array(Vec::new()));
    assert_eq!(json(&["storage", "status", "-o", "json"])["pools"][0]["name"], "default-pool");

    assert_says(&on_test(&["list", "-o", "name"]), "test\n");
    assert_says(&on_test(&["pool", "list", "-o", "name"]), "default-pool\n");
    assert_says(&on_test(&["get", "test", "-o", "name"]), "test\n");
    assert_says(&on_test(&["storage", "status", "-o", "name"]), "default-pool\n");
    assert_eq!(on_test(&["list", "--no-headers"]).stdout.split_whitespace().next(), Some("test"));
    assert_eq!(on_test(&["list", "--no-headers"]).stdout.lines().count(), 1);
    let wide = on_test(&["list", "-o", "wide"]).stdout;
    assert!(wide.contains("6695eb01-f6a4-8304-79aa-97f2502e193f") && wide.contains(" AUTOSTART "), "{wide}");
    assert_eq!(json(&["list", "-o", "json"])[0]["status"]["autostart"], false);
    assert!(on_test(&["pool", "info", "default-pool"]).stdout.contains("Target:     /default-pool\n"));
    let yaml = on_test(&["vm", "info", "test", "-o", "yaml"]).stdout;
    assert_eq!(yaml, on_test(&["get", "test", "-o", "yaml"]).stdout, "same as get");
    foundry::manifest::load_text(&yaml, "get.yaml").unwrap();
    assert!(on_test(&["get", "test"]).stdout.contains("Managed:     no\n"));
    assert!(
        on_test(&["storage", "status"]).stdout.contains("All file systems: 100 GiB of 100 GiB available")
    );
}

#[test]
fn pools_are_managed() {
    assert_says(&on_test(&["pool", "add", "ssd", "dir", "/mnt/ssd"]), "Successfully added pool 'ssd'\n");
    assert_says(
        &on_test(&["pool", "refresh", "default-pool"]),
        "Successfully refreshed pool 'default-pool'\n",
    );
    let deleted = "Successfully deleted pool 'default-pool'; its volumes are kept\n";
    assert_says(&on_test(&["pool", "delete", "default-pool"]), deleted);
    for path in ["rel", "/a/../b", "/a\nb"] {
        assert_fails(&on_test(&["pool", "add", "x", "dir", path]), 2, "is not an absolute path without '..'");
    }
}

#[test]
fn paths_and_names_of_the_host_are_checked_before_it_is_asked() {
    let ran = run(&["-c", "nosuch:///x", "--storage-path", "rel", "list"]);
    assert_fails(&ran, 1, "--storage-path \"rel\" is not an absolute path");
    assert_fails(&run(&["-c", "nosuch:///x", "image", "import", "Cargo.toml", "a/b"]), 2, "the image's name");
    assert_fails(&run(&["-c", "nosuch:///x", "image", "import", "nosuch.qcow2"]), 1, "nosuch.qcow2");
    assert_fails(&run(&["-c", "nosuch:///x", "image", "import", "src"]), 1, "it is a directory");
}

#[test]
fn a_dry_run_makes_nothing_and_tells_everything() {
    let manifest = WEB.replace("KEY", KEY).replace("HASH", HASH);
    let ran = piped(&mut foundry(&["-c", TEST_DRIVER, "create", "-", "--dry-run"]), &manifest);
    assert_fails(&ran, 5, "image 'debian-12' not found");
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
}

#[test]
fn disks_are_listed_in_every_form() {
    let table = on_test(&["disk", "list"]);
    assert_eq!((table.code, table.stderr.as_str()), (0, ""));
    let (headers, row) = table.stdout.trim_end().split_once('\n').unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(row), ["test", "vda", "-", "-", "-", "-", "-", "attached"]);
    assert_eq!(words(headers).len(), 8);
    assert_eq!(words(&on_test(&["disk", "ls", "test", "--no-headers"]).stdout), words(row));
    assert!(on_test(&["disk", "list", "-o", "wide"]).stdout.contains("BACKING"));
    assert_eq!(on_test(&["disk", "list", "-o", "name"]).stdout, "test/vda\n");
    let json: serde_json::Value =
        serde_json::from_str(&on_test(&["disk", "list", "-o", "json"]).stdout).unwrap();
    assert_eq!((&json[0]["vm"], &json[0]["presence"]), (&"test".into(), &"attached".into()));
    assert!(on_test(&["disk", "list", "-o", "yaml"]).stdout.starts_with("vm: test\n"));
    let absent = on_test(&["disk", "list", "tset"]);
    assert_eq!(absent.code, 4);
    assert!(absent.stderr.contains("did you mean 'test'?"), "{}", absent.stderr);
    let foreign = on_test(&["disk", "attach", "test", "1"]);
    assert_eq!(foreign.code, 4);
    assert!(foreign.stderr.contains("domain 'test' was not made by foundry"), "{}", foreign.stderr);
}

/// A pool of each type, as libvirt would be told of it.
#[test]
fn a_pool_is_shown_before_it_is_added() {
    for (line, inside) in [
        ("dir /srv/vms", "<path>/srv/vms</path>"),
        ("fs /dev/disk/by-label/vms --target /srv/vms --format xfs", "<format type=\"xfs\"/>"),
        ("netfs nas:/export --target /srv/vms --protocol-ver 4.2", "<protocol ver=\"4.2\"/>"),
        ("logical vg0", "<path>/dev/vg0</path>"),
        ("zfs tank/vms", "<name>tank/vms</name>"),
        ("rbd vms --monitor mon1:6790", "<host name=\"mon1\" port=\"6790\"/>"),
        ("iscsi san iqn.2026-01.com.example:disks", "<device path=\"iqn.2026-01.com.example:disks\"/>"),
    ] {
        let words: Vec<&str> = ["pool", "add", "new"].into_iter().chain(line.split(' ')).collect();
        let ran = on_test(&[&words[..], &["--dry-run"]].concat());
        assert_eq!(ran.code, 0, "{line}: {}", ran.stderr);
        assert!(ran.stdout.contains("<name>new</name>") && ran.stdout.contains(inside), "{}", ran.stdout);
        assert!(
            ran.stderr.ends_with("be started and start with the host; nothing was changed\n"),
            "{}",
            ran.stderr
        );
        assert_eq!(on_test(&["pool", "list", "-o", "name"]).stdout, "default-pool\n");
    }
}

/// Before any host is connected to.
#[test]
fn what_a_pool_cannot_be_made_of_is_2() {
    for (line, sentence) in [
        ("dir ../vms", "\"../vms\" is not an absolute path without '..'"),
        ("dir /srv/vms --monitor mon1", "--monitor has no meaning for a pool of type dir"),
        ("fs /dev/sdb1", "a pool of type fs needs --target"),
        ("logical /dev/vg0", "\"/dev/vg0\" is not the name of a volume group"),
        ("rbd vms", "a pool of type rbd needs --monitor"),
    ] {
        let words: Vec<&str> =
            ["-c", "qemu:///nowhere", "pool", "add", "new"].into_iter().chain(line.split(' ')).collect();
        assert_fails(&run(&words), 2, sentence);
    }
}
