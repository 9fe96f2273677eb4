//! Exit codes, what goes to stdout and stderr, and where the URI comes from.

use super::{assert_fails, assert_says, piped};
use crate::support::command::{Ran, TEST_DRIVER, foundry, on_test, run, run_with};
use crate::support::deadline::CommandInTime as _;
use crate::support::manifests::SMALL;

/// FACTS 25: each kind of failure has its code, and is told once.
#[test]
fn each_kind_of_failure_has_its_exit_code() {
    assert_fails(&run(&["create", "nosuch.yaml"]), 1, "cannot read nosuch.yaml: no such file");
    assert_fails(&run_with(&["create", "-"], "a: [b\n"), 1, "standard input");
    assert_fails(&run_with(&["create", "-"], &SMALL.replace("vcpus: 1", "vcpus: 0")), 2, "spec.vcpus");
    assert_fails(&run(&["-c", "nosuch:///x", "list"]), 3, "cannot connect to nosuch:///x");
    assert_fails(&on_test(&["get", "nosuch"]), 4, "there is no VM 'nosuch'");
    assert_fails(&on_test(&["destroy", "nosuch"]), 4, "there is no VM 'nosuch'");
    assert_fails(&on_test(&["pool", "info", "nosuch"]), 5, "there is no pool 'nosuch'");
    assert_fails(
        &on_test(&["image", "info", "nosuch"]),
        5,
        "there is no image 'nosuch' in pool 'foundry-images'",
    );
    assert_fails(&on_test(&["image", "import", "Cargo.toml"]), 5, "Cargo.toml cannot be an image");
    assert_fails(&on_test(&["pool", "delete", "foundry-vms"]), 5, "is a default pool");
    assert_fails(&on_test(&["create", "examples/simple-vm.yaml"]), 5, "cannot create VM");
    let arch =
        SMALL.replace("sizeGB: 1, empty: true}", "sizeGB: 1, empty: true}\n  storagePool: default-pool");
    let mut create = foundry(&["-c", TEST_DRIVER, "create", "-"]);
    let ran = piped(&mut create, &arch);
    assert_fails(&ran, 4, "the host's architecture i686 is not supported");
}

#[test]
fn a_command_line_that_cannot_be_understood_is_64() {
    for (args, sentence) in [
        (&["bogus"][..], "unrecognized subcommand 'bogus'"),
        (&[], "Usage: foundry"),
        (&["create"], "<FILE>"),
        (&["destroy"], "<VM>..."),
        (&["list", "--bogus"], "unexpected argument '--bogus'"),
        (&["list", "-o", "xml"], "invalid value 'xml'"),
        (&["create", "x.yaml", "--wait=never"], "invalid value 'never'"),
        (&["create", "x.yaml", "--timeout", "soon"], "'soon' is not a duration; write 90s, 5m or 1h30m"),
        (&["create", "x.yaml", "-o", "xml"], "--dry-run"),
        (&["list", "-l", "=x"], "has no label name"),
        (&["pool", "add", "x", "lvm", "/x"], "invalid value 'lvm'"),
        (&["pool", "add", "a/b", "dir", "/x"], "invalid value 'a/b'"),
        (&["--virt-type", "xen", "list"], "invalid value 'xen'"),
    ] {
        let ran = run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{args:?}");
        assert!(ran.stderr.contains(sentence), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn help_and_version_are_results() {
    for args in [
        &["--help"][..],
        &["help"],
        &["create", "--help"],
        &["pool", "add", "-h"],
        &["--version"],
        &["list", "--version"],
    ] {
        let ran = run(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        assert!(!ran.stdout.is_empty() && !ran.stdout.contains('\u{1b}'), "{args:?}");
    }
    let help = run(&["--help"]).stdout;
    for command in ["create", "destroy", "list", "get", "render", "image", "pool", "storage", "test-conn"] {
        assert!(help.lines().any(|l| l.trim_start().starts_with(command)), "{command} is not in\n{help}");
    }
}

#[test]
fn the_uri_is_the_flags_then_foundrys_then_libvirts() {
    let connected = |flag: Option<&str>, ours: Option<&str>, libvirts: Option<&str>| {
        let mut command = foundry(&["test-conn"]);
        flag.map(|uri| command.args(["--connect", uri]));
        ours.map(|uri| command.env("FOUNDRY_CONNECT", uri));
        libvirts.map(|uri| command.env("LIBVIRT_DEFAULT_URI", uri));
        Ran::from(command.output_in_time().unwrap())
    };
    let good = Some(TEST_DRIVER);
    for (flag, ours, libvirts) in [
        (good, Some("bad:///1"), Some("bad:///2")),
        (None, good, Some("bad:///2")),
        (None, None, good),
        (None, Some(""), good),
    ] {
        let ran = connected(flag, ours, libvirts);
        assert_eq!(ran.code, 0, "{flag:?} {ours:?} {libvirts:?}: {}", ran.stderr);
        assert!(ran.stdout.starts_with("Connected to test:///default on "), "{}", ran.stdout);
    }
    let ran = connected(Some("bad:///0"), good, good);
    assert_fails(&ran, 3, "cannot connect to bad:///0");
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn a_variable_set_to_nothing_counts_as_not_set() {
    let plain = run(&["render", "examples/simple-vm.yaml"]).stdout;
    for name in [
        "FOUNDRY_VM_POOL",
        "FOUNDRY_IMAGE_POOL",
        "FOUNDRY_STORAGE_PATH",
        "FOUNDRY_VIRT_TYPE",
        "FOUNDRY_CONNECT",
    ] {
        let ran = Ran::from(
            foundry(&["render", "examples/simple-vm.yaml"]).env(name, "").output_in_time().unwrap(),
        );
        assert_eq!((ran.code, &ran.stdout), (0, &plain), "{name}: {}", ran.stderr);
        assert!(run(&["options"]).stdout.contains(&format!("[env: {name}]")), "{name}");
    }
    let ran = Ran::from(foundry(&["list"]).env("FOUNDRY_VM_POOL", "a/b").output_in_time().unwrap());
    assert_eq!(ran.code, 64, "{}", ran.stderr);
    assert_eq!(run(&["--vm-pool", "", "list"]).code, 64, "a flag is not a variable");
}

#[test]
fn an_empty_listing_is_no_result_and_no_failure() {
    let ran = on_test(&["list", "-l", "role=web"]);
    assert_says(&ran, "");
    assert_eq!(ran.stderr, "No running VMs; --all includes stopped ones\n");
    assert_eq!(on_test(&["list", "--all", "-l", "role=web"]).stderr, "No VMs\n");
    assert_eq!(on_test(&["image", "list"]).stderr, "No images; foundry image import FILE adds one\n");
    assert_says(&on_test(&["list", "-l", "role", "-o", "name"]), "");
    assert_says(&on_test(&["list", "-l", "!role", "-o", "name"]), "test\n");
}
