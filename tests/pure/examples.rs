//! Every manifest in `examples/` can be read and planned.

use std::collections::HashSet;
use std::path::Path;

use crate::support::manifests;
use foundry::manifest;
use foundry::plan::{UserData, VmPlan};

#[test]
fn every_example_can_be_planned() {
    let mut seen = Vec::new();
    for file in manifests::yaml_files("examples") {
        let manifests = manifest::load_file(&file).unwrap_or_else(|e| panic!("{e}"));
        for manifest in &manifests {
            VmPlan::from_manifest(manifest, &manifests::defaults()).unwrap_or_else(|e| panic!("{e}"));
        }
        seen.push(file.file_stem().unwrap().to_string_lossy().into_owned());
    }
    for name in
        ["simple-vm", "multi-disk-vm", "two-nics-vm", "custom-pool-vm", "raw-user-data-vm", "reference-vm"]
    {
        assert!(seen.iter().any(|s| s == name), "{name} is not in examples/");
    }
}

/// The message about an unknown field lists the known ones, so that no list has to be kept here.
#[test]
fn the_reference_names_every_field() {
    let reference = std::fs::read_to_string("examples/reference-vm.yaml").unwrap();
    let words: HashSet<&str> = reference.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let sections = [
        "qqq: 1",
        "metadata: {qqq: 1}",
        "spec: {qqq: 1}",
        "spec: {bootDisk: {qqq: 1}}",
        "spec: {dataDisks: [{qqq: 1}]}",
        "spec: {networkInterfaces: [{qqq: 1}]}",
        "spec: {cloudInit: {qqq: 1}}",
        "spec: {firmware: {qqq: 1}}",
    ];
    for section in sections {
        let text = format!("apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\n{section}\n");
        let message = manifest::load_text(&text, "vm.yaml").unwrap_err().to_string();
        let known = message.split_once("known fields are ").unwrap_or_else(|| panic!("{message}")).1;
        for field in known.split(", ") {
            assert!(words.contains(field), "{field} of '{section}' is not in the reference");
        }
    }
}

#[test]
fn a_mapping_as_user_data_keeps_each_scalar_as_it_was_written() {
    let manifests = manifest::load_file(Path::new("examples/merged-user-data-vm.yaml")).unwrap();
    let plan = VmPlan::from_manifest(&manifests[0], &manifests::defaults()).unwrap();
    let UserData::Merged(text) = plan.seed.unwrap().user_data else { panic!("not merged") };
    assert!(text.contains(r#"permissions: "0644""#), "{text}");
    assert!(text.contains("timezone: Europe/Berlin\n"), "{text}");
}
