//! The structure of a manifest: its fields and the types of their values.

use super::{by_foundry, judged, with, with_both};
use crate::support::manifests;
use foundry::{manifest, schema};
use proptest::strategy::{Strategy as _, ValueTree as _};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn texts(files: &[PathBuf]) -> Vec<String> {
    files.iter().map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()).collect()
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_example_is_valid() {
    let files = manifests::yaml_files("examples");
    let Some(judgements) = judged(&schema::manifest_schema(), &texts(&files)) else { return };
    for (file, wrong) in files.iter().zip(judgements) {
        assert_eq!(wrong, None, "{}", file.display());
    }
}

/// What is wrong by more than its structure: what a text holds, how documents and fields stand to each other, and
/// notation that is gone when a reader hands over the document.
const BEYOND: &[&str] = &[
    "batch-same-addresses",
    "batch-same-name",
    "boot-disk-sizes-differ",
    "firmware-bios-on-arm",
    "image-dotdot",
    "image-dots",
    "image-path-with-pool",
    "image-pools-differ",
    "memory-nan",
    "net-default-route-without-gateway",
    "net-duplicate-addresses",
    "net-gateway-off-link",
    "net-ipv4-addresses-without-ip",
    "net-mac-twice",
    "net-no-way-out",
    "net-two-default-routes",
    "network-config-beside-network",
    "network-config-control",
    "network-config-device-list",
    "network-config-no-mapping",
    "network-config-version-1-without-config",
    "network-config-version-missing",
    "network-config-version-quoted",
    "network-config-version-unknown",
    "password-hash-bcrypt",
    "password-hash-placeholder",
    "password-hash-rounds",
    "password-hash-salt-long",
    "password-hash-scrypt",
    "password-hash-short",
    "password-hash-yescrypt",
    "raw-user-data-control",
    "raw-user-data-header",
    "read-duplicate-key",
    "read-duplicate-label",
    "read-tag",
    "ssh-key-two-lines",
    "ssh-password-auth-differs",
    "user-data-control",
    "user-data-no-mapping",
];

#[test]
fn what_is_wrong_by_structure_is_refused() {
    let mut files = manifests::yaml_files("tests/data/invalid");
    // Files that are wrong by what PyYAML makes of them, or by their size.
    files.retain(|file| {
        !matches!(name(file).as_str(), "read-alias-bomb" | "read-nesting" | "read-alias-in-itself")
    });
    let Some(judgements) = judged(&schema::manifest_schema(), &texts(&files)) else { return };
    let taken: Vec<String> = files
        .iter()
        .zip(judgements)
        .filter(|(_, wrong)| wrong.is_none())
        .map(|(file, _)| name(file))
        .collect();
    let beyond: Vec<&String> = taken.iter().filter(|name| !BEYOND.contains(&name.as_str())).collect();
    assert!(beyond.is_empty(), "the schema takes what foundry refuses: {beyond:?}");
    let refused: Vec<&&str> = BEYOND.iter().filter(|name| !taken.iter().any(|t| t == **name)).collect();
    assert!(refused.is_empty(), "the schema can tell, after all: {refused:?}");
}

/// The places of a manifest, by its schema, with those inside of its lists as their first entries.
fn places(schema: &Value, at: &str, all: &mut Vec<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let place = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        all.push(place.clone());
        places(inner, &place, all);
        // `with` has an entry in each list of mappings.
        if inner["items"]["properties"].is_object() {
            all.push(format!("{place}.0"));
            places(&inner["items"], &format!("{place}.0"), all);
        }
    }
    if schema["properties"].is_object() && !at.is_empty() {
        all.push(format!("{at}.nonsense"));
    }
}

/// One value of each form, and some within another.
const FORMS: [&str; 20] = [
    "null",
    "true",
    "0",
    "7",
    "-1",
    "1.5",
    "1e400",
    "x",
    "''",
    "'7'",
    "[]",
    "{}",
    "[null]",
    "[7]",
    "[x]",
    "[[]]",
    "[{}]",
    "{nonsense: 1}",
    "{a: {}}",
    "[{nonsense: x}]",
];

/// Each form at each place, and many at two places at once: what the schema refuses foundry refuses, and what it takes
/// foundry reads, whatever is to be said of the values then.
#[test]
fn what_the_schema_takes_can_be_read_and_what_it_refuses_is_refused() {
    let schema = schema::manifest_schema();
    let mut all = Vec::new();
    places(&schema, "", &mut all);
    assert!(all.len() > 50, "{all:?}");
    let forms = || FORMS.iter().map(|form| (*form).to_owned());
    let single = all.iter().flat_map(|at| forms().map(move |form| with(at, &form)));
    let mut texts: Vec<String> = single.collect();
    let (place, form) = (proptest::sample::select(all.clone()), proptest::sample::select(FORMS.to_vec()));
    let two =
        (place.clone(), form.clone(), place, form).prop_filter_map("one within the other", |(a, x, b, y)| {
            let apart = !a.starts_with(&b) && !b.starts_with(&a);
            apart.then(|| with_both((&a, x), (&b, y)))
        });
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    texts.extend((0..400).map(|_| two.new_tree(&mut runner).unwrap().current()));

    let Some(judgements) = judged(&schema, &texts) else { return };
    let mut differing = Vec::new();
    for (text, by_schema) in texts.iter().zip(judgements) {
        let (read, by_foundry) = (manifest::load_text(text, "vm.yaml"), by_foundry(text));
        match by_schema {
            Some(wrong) if by_foundry.is_none() => differing.push(format!("schema: {wrong}\n  {text}")),
            None if read.is_err() => differing.push(format!("foundry: {by_foundry:?}\n  {text}")),
            _ => {}
        }
    }
    assert!(differing.is_empty(), "{} of {}:\n{}", differing.len(), texts.len(), differing.join("\n"));
}
