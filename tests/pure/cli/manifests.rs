//! Manifests on the command line: several files and documents, and all problems at once.

use super::assert_fails;
use crate::support::command::{TEST_DRIVER, on_test, run, run_with};
use crate::support::manifests::SMALL;

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
