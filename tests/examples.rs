//! Every manifest in `examples/` can be read and planned.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod manifest_support;

use std::path::Path;

use foundry::manifest;
use foundry::plan::{UserData, VmPlan};

#[test]
fn every_example_can_be_planned() {
    let mut seen = Vec::new();
    for file in manifest_support::yaml_files("examples") {
        let manifests = manifest::load_file(&file).unwrap_or_else(|e| panic!("{e}"));
        for manifest in &manifests {
            VmPlan::from_manifest(manifest, &manifest_support::defaults()).unwrap_or_else(|e| panic!("{e}"));
        }
        seen.push(file.file_stem().unwrap().to_string_lossy().into_owned());
    }
    for name in
        ["simple-vm", "multi-disk-vm", "two-nics-vm", "custom-pool-vm", "raw-user-data-vm", "reference-vm"]
    {
        assert!(seen.iter().any(|s| s == name), "{name} is not in examples/");
    }
}

#[test]
fn the_reference_names_every_field() {
    let text = std::fs::read_to_string("examples/reference-vm.yaml").unwrap();
    // An unknown field's message lists the known ones, so each struct is asked with a stray field.
    for (section, fields) in FIELDS {
        for field in *fields {
            assert!(text.contains(field), "{section}: {field} is not in the reference");
        }
    }
}

/// Kept in step with the types by `unknown_*` in tests/invalid, whose messages list what is known.
const FIELDS: &[(&str, &[&str])] = &[
    ("metadata", &["name:", "labels:", "annotations:", "uid", "generation", "creationTimestamp"]),
    ("bootDisk", &["sizeGB", "sizeGiB:", "image:", "imagePool:", "empty:", "format:"]),
    ("dataDisks", &["device:", "sizeGB:", "sizeGiB"]),
    (
        "networkInterfaces",
        &[
            "ip:",
            "addresses:",
            "gateway:",
            "dnsServers:",
            "bridge:",
            "network:",
            "defaultRoute:",
            "vlan:",
            "pxeBoot:",
        ],
    ),
    (
        "cloudInit",
        &[
            "fqdn:",
            "sshAuthorizedKeys:",
            "passwordHash:",
            "sshPwauth:",
            "sshPasswordAuth",
            "rawUserData",
            "userData:",
        ],
    ),
    ("spec", &["cpuMode:", "autostart:", "storagePool:", "firmware:", "type:", "secureBoot:", "arch:"]),
];

#[test]
fn a_mapping_as_user_data_keeps_each_scalar_as_it_was_written() {
    let manifests = manifest::load_file(Path::new("examples/merged-user-data-vm.yaml")).unwrap();
    let plan = VmPlan::from_manifest(&manifests[0], &manifest_support::defaults()).unwrap();
    let UserData::Merged(text) = plan.seed.unwrap().user_data else { panic!("not merged") };
    assert!(text.contains(r#"permissions: "0644""#), "{text}");
    assert!(text.contains("timezone: Europe/Berlin\n"), "{text}");
}
