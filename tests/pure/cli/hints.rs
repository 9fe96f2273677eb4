//! Hints: the command that helps, and what does the work of another tool's verb.

use super::{assert_fails, assert_says};
use crate::support::command::{TEST_DRIVER, on_test, run, run_with};
use crate::support::manifests::{SMALL, WEB};

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

/// A verb that foundry does not have is answered with the line to type, and never with a neighbour that deletes.
#[test]
fn a_verb_of_another_tool_is_answered_with_what_does_it() {
    for (args, tip) in [
        (&["shutdown", "web"][..], "foundry stop web"),
        (&["boot", "my vm"], "foundry start 'my vm'"),
        (&["reboot", "vm", "web"], "foundry restart web --reboot"),
        (&["delete-vm", "web"], ""),
        (&["restore", "web"], "foundry snapshot restore web SNAPSHOT"),
        (&["undefine", "web"], "virsh undefine web --nvram"),
        (&["deploy", "web.yaml"], "foundry apply FILE"),
        (&["scale", "web"], "foundry set web vcpus=4"),
        (&["duplicate", "web", "web2"], "foundry clone web NEW"),
        (&["crate", "web.yaml"], "did you mean 'create'?"),
        (&["destory", "web"], "did you mean 'destroy'?"),
        (&["image", "download", "x"], "foundry image pull NAME"),
        (&["net-list"], "foundry network list"),
        (&["stats", "web"], "foundry top"),
        (&["monitor"], "foundry events"),
        (&["get", "vm", "web"], "foundry get web"),
        (&["destroy", "--all"], "foundry destroy '*'"),
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

    let ran = on_test(&["destroy", "examples/simple-vm.yaml", "test"]);
    assert_fails(&ran, 4, "is a file; destroy takes names of VMs");
    assert!(ran.stderr.contains("hint: foundry destroy -f examples/simple-vm.yaml\n"), "{}", ran.stderr);
    let ran = on_test(&["destroy", "-f", "examples/simple-vm.yaml"]);
    assert_fails(&ran, 4, "there is no VM 'web'");
    assert_says(&on_test(&["destroy", "-f", "examples/simple-vm.yaml", "--ignore-not-found"]), "");
    // It was the short form of --force once.
    let ran = on_test(&["destroy", "-f", "test"]);
    assert_fails(&ran, 1, "cannot read test: no such file");
    assert!(ran.stderr.contains("--force has no short form"), "{}", ran.stderr);
    assert_fails(&on_test(&["get", "vms"]), 4, "foundry list --all lists the VMs");
    assert_fails(&run(&["list", "-l", "role:node"]), 64, "write role=node");
}
