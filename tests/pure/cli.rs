//! The `foundry` command itself, in an empty environment: exit codes, and what goes where.
//! What the terminal makes of it is in `cli_terminal.rs`.

use crate::support::command::{Ran, TEST_DRIVER, foundry, on_test, run, run_with};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::manifests::{HASH, KEY, SMALL, WEB};
use serde_json::Value;

/// One error, once, on stderr; nothing on stdout.
fn assert_fails(ran: &Ran, code: i32, sentence: &str) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    assert_eq!(ran.stdout, "", "an error is no result");
    assert!(ran.stderr.contains(sentence), "{sentence}\nis not in\n{}", ran.stderr);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "it is told once:\n{}", ran.stderr);
}

fn assert_says(ran: &Ran, result: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (0, result), "{}", ran.stderr);
}

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

fn piped(command: &mut std::process::Command, stdin: &str) -> Ran {
    use std::io::Write;
    use std::process::Stdio;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    Ran::from(child.wait_with_output_in_time().unwrap())
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
fn several_documents_come_from_stdin_and_are_judged_together() {
    let both = format!("{SMALL}---{}", SMALL.replace("name: small", "name: other"));
    let ran = run_with(&["render", "-"], &both);
    assert_eq!((ran.code, ran.stdout.matches("<domain ").count()), (0, 2), "{}", ran.stderr);

    let wrong = both.replace("vcpus: 1", "vcpus: 0");
    let ran = run_with(&["render", "-"], &wrong);
    assert_eq!((ran.code, ran.stderr.matches("spec.vcpus").count()), (2, 2), "{}", ran.stderr);

    let same = format!("{SMALL}---{SMALL}");
    assert_fails(&run_with(&["create", "-"], &same), 2, "small");

    // The last document is wrong: nothing is connected to, let alone made.
    let ran = run_with(&["-c", "nosuch:///x", "create", "-"], &format!("{SMALL}---\nkind: Pod\n"));
    assert_fails(&ran, 1, "standard input");
    assert_fails(&run_with(&["create", "-"], ""), 1, "standard input");
}

/// One that fails is undone by itself, the others are gone on with, and the worst code is the exit code.
#[test]
fn each_document_fails_by_itself_and_the_worst_is_the_code() {
    let small = SMALL.replace("autostart: false", "storagePool: default-pool");
    let worse =
        SMALL.replace("name: small", "name: worse").replace("autostart: false", "storagePool: nosuch");
    for both in [format!("{small}---{worse}"), format!("{worse}---{small}")] {
        let ran = run_with(&["-c", TEST_DRIVER, "create", "-"], &both);
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{}", ran.stderr);
        assert_eq!(
            ran.stderr.matches("error: cannot create VM 'small' on this host").count(),
            1,
            "{}",
            ran.stderr
        );
        assert_eq!(
            ran.stderr.matches("error: cannot create VM 'worse' on this host").count(),
            1,
            "{}",
            ran.stderr
        );
    }
}

/// Also a check goes through all of them.
#[test]
fn a_dry_run_judges_every_document() {
    let small = SMALL.replace("autostart: false", "storagePool: nosuch");
    let both = format!("{small}---{}", small.replace("name: small", "name: other"));
    let ran = run_with(&["-c", TEST_DRIVER, "create", "-", "--dry-run"], &both);
    assert_eq!((ran.code, ran.stderr.matches("error:").count()), (5, 2), "{}", ran.stderr);
    assert!(ran.stderr.contains("VM 'small'") && ran.stderr.contains("VM 'other'"), "{}", ran.stderr);
    // A connection that fails, fails for all of them and is told once.
    assert_fails(&run_with(&["-c", "nosuch:///x", "create", "-", "--dry-run"], &both), 3, "nosuch:///x");
}

#[test]
fn several_files_are_one_batch() {
    let examples = ["examples/simple-vm.yaml", "examples/two-nics-vm.yaml"];
    let ran = run(&["render", examples[0], examples[1]]);
    assert_eq!((ran.code, ran.stdout.matches("<domain ").count()), (0, 2), "{}", ran.stderr);
    let both = examples.map(|file| std::fs::read_to_string(file).unwrap()).concat();
    assert_eq!(run_with(&["render", "-"], &both).stdout, ran.stdout, "cat of them is the same");
    assert_fails(&run(&["create", examples[0], examples[0]]), 2, "metadata.name");
    let ran = run(&["create", "nosuch.yaml", examples[0], "neither.yaml"]);
    assert_fails(&ran, 1, "cannot read nosuch.yaml");
    assert!(ran.stderr.contains("cannot read neither.yaml"), "{}", ran.stderr);
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
fn an_image_that_is_a_url_leads_to_the_command_that_pulls_it() {
    let url = "https://example.com/debian.qcow2";
    let manifest = WEB.replace("image: debian-12", &format!("image: {url}"));
    assert!(manifest.contains(url));
    assert_fails(&run_with(&["create", "-"], &manifest), 2, &format!("hint: foundry image pull {url}"));
}

#[test]
fn an_unknown_field_is_told_with_place_and_nearest() {
    let wrong = SMALL.replace("autostart: false", "autoStart: false");
    let ran = run_with(&["render", "-"], &wrong);
    assert_fails(&ran, 1, "autoStart");
    assert!(ran.stderr.contains("autostart"), "{}", ran.stderr);
    assert!(ran.stderr.contains("standard input:10:3"), "line and column: {}", ran.stderr);
}

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
fn an_empty_listing_is_no_result_and_no_failure() {
    let ran = on_test(&["list", "-l", "role=web"]);
    assert_says(&ran, "");
    assert_eq!(ran.stderr, "No running VMs; --all includes stopped ones\n");
    assert_eq!(on_test(&["list", "--all", "-l", "role=web"]).stderr, "No VMs\n");
    assert_eq!(on_test(&["image", "list"]).stderr, "No images; foundry image import FILE adds one\n");
    assert_says(&on_test(&["list", "-l", "role", "-o", "name"]), "");
    assert_says(&on_test(&["list", "-l", "!role", "-o", "name"]), "test\n");
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

/// A command that is shown can be copied as it stands.
#[test]
fn a_command_in_a_hint_is_quoted() {
    let manifest = SMALL.replace("autostart: false", "storagePool: \"my pool; reboot\"");
    let ran = run_with(&["-c", TEST_DRIVER, "create", "-"], &manifest);
    assert_fails(&ran, 5, "there is no pool 'my pool; reboot'");
    assert!(ran.stderr.contains("foundry pool add 'my pool; reboot' dir PATH"), "{}", ran.stderr);
    let ran = run(&["-c", "qemu+tcp://127.0.0.1:1/system?a&b", "list"]);
    assert!(ran.stderr.contains("`virsh -c 'qemu+tcp://127.0.0.1:1/system?a&b' uri`"), "{}", ran.stderr);
}

/// Whether a size can be meant is told before anybody is asked.
#[test]
fn a_disk_has_a_size_in_gib() {
    for (size, told) in [
        ("20GB", "'20GB' is ambiguous (powers of 1000 or 1024); write 20GiB"),
        ("1.5G", "'1.5G' is not a size; write whole GiB"),
        ("0", "a disk has at least 1 GiB"),
        ("-1", "'-1' is not a size"),
        ("9999999T", "'9999999T' is larger than a disk can be"),
    ] {
        let ran = on_test(&["disk", "resize", "web", "vda", size]);
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{size}");
        assert!(ran.stderr.contains(told), "{size}: {}", ran.stderr);
    }
    let more = on_test(&["disk", "attach", "web", "+1"]);
    assert_eq!(more.code, 64);
    assert!(more.stderr.contains("a new disk needs a size, not an increase"), "{}", more.stderr);
    for device in ["vda", "sda", "../x"] {
        assert_eq!(on_test(&["disk", "attach", "web", "1", "--device", device]).code, 64, "{device}");
    }
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

/// A verb that foundry does not have is answered with the line to type, and never with a neighbour that deletes.
#[test]
fn a_verb_of_another_tool_is_answered_with_what_does_it() {
    for (args, tip) in [
        (&["stop", "web"][..], "virsh shutdown web"),
        (&["start", "my vm"], "virsh start 'my vm'"),
        (&["restart", "vm", "web"], "virsh reboot web"),
        (&["delete-vm", "web"], ""),
        (&["restore", "web"], "virsh snapshot-revert web SNAPSHOT"),
        (&["undefine", "web"], "virsh undefine web --nvram"),
        (&["apply", "web.yaml"], "foundry create FILE --wait"),
        (&["clone", "web", "web2"], "foundry get web -o yaml > NEW.yaml"),
        (&["crate", "web.yaml"], "did you mean 'create'?"),
        (&["destory", "web"], "did you mean 'destroy'?"),
        (&["image", "download", "x"], "foundry image pull NAME"),
        (&["get", "vm", "web"], "foundry get web"),
        (&["destroy", "--all"], "foundry destroy $(foundry list"),
        (&["destroy", "-l", "a=b"], "foundry destroy $(foundry list"),
    ] {
        let ran = run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(tip), "{args:?}: {}", ran.stderr);
        let is_asked_for = tip.contains("destroy") || args[0] == "undefine";
        assert!(is_asked_for || !ran.stderr.contains("destroy"), "{args:?}: {}", ran.stderr);
    }
    // Of no neighbour of any word that is not nearly its name.
    for word in ["distro", "deploy-it", "restoration", "detect", "gq", "rn", "ejected", "purge-all", "delta"]
    {
        let ran = run(&[word]);
        for deletes in ["destroy", "delete", "gc", "prune"] {
            let told = format!("'{deletes}'");
            assert!(!ran.stderr.contains(&told), "{word}: {}", ran.stderr);
        }
    }
}

/// kubectl's users write the goal of a wait behind a blank, a manifest behind -f, and a kind before a name.
#[test]
fn habits_of_kubectl_are_understood_or_explained() {
    let waits = run(&["create", "nosuch.yaml", "--wait", "ssh"]);
    assert_fails(&waits, 1, "cannot read nosuch.yaml: no such file");
    assert!(!waits.stderr.contains("cannot read ssh"), "{}", waits.stderr);
    assert_fails(&run(&["create", "-f", "nosuch.yaml"]), 1, "cannot read nosuch.yaml: no such file");
    let ran = run(&["create", "x.yaml", "--timeout", "3m"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("--wait"), "{}", ran.stderr);

    let ran = on_test(&["destroy", "-f", "examples/simple-vm.yaml", "test"]);
    assert_fails(&ran, 4, "is a file; destroy takes names of VMs; -f is --force");
    assert!(ran.stderr.contains("hint: foundry destroy web\n"), "{}", ran.stderr);
    assert_fails(&on_test(&["get", "vms"]), 4, "foundry list --all lists the VMs");
    assert_fails(&run(&["list", "-l", "role:node"]), 64, "write role=node");
}

/// What cannot be read hides nothing else that is wrong, and what was meant by it is not called missing.
#[test]
fn all_problems_of_a_manifest_are_told_at_once() {
    let manifest = "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata: {name: -web}\n\
        spec: {vcpu: 1, memoryGiB: 1Gi, bootDisk: {size: 20, image: x}, cpuMode: fast}\n";
    let ran = run_with(&["render", "-"], manifest);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{}", ran.stderr);
    for told in [
        "spec.vcpu: unknown field; did you mean 'vcpus'?",
        "spec.memoryGiB: expected a number, got the text \"1Gi\" (the unit is GiB: write 1)",
        "spec.bootDisk.size: unknown field; did you mean 'sizeGiB'?",
        "metadata.name: ",
        "spec.networkInterfaces: is required",
        "spec.cpuMode: ",
    ] {
        assert!(ran.stderr.contains(told), "{told}\nis not in\n{}", ran.stderr);
    }
    for hidden in ["vcpus: is required", "memoryGiB: is required", "sizeGB: is required"] {
        assert!(!ran.stderr.contains(hidden), "{hidden}\nis in\n{}", ran.stderr);
    }
    // Alone, it is a matter of reading as before.
    let known = SMALL.replace("vcpus: 1", "vcpus: 1\n  extra: 1");
    assert_fails(&run_with(&["render", "-"], &known), 1, "spec.extra: unknown field");
}
