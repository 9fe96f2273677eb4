//! The schemas, by somebody else's validator: a manifest is one to the schema if and only if it is one to foundry, as far
//! as a schema can tell; and what listings write is what their schemas say.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::command::{on_test, run, skip_without};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use crate::support::manifests;
use foundry::plan::VmPlan;
use foundry::{manifest, schema};
use proptest::strategy::{Strategy as _, ValueTree as _};
use serde_json::{Value, json};

/// What is wrong with each of some YAML texts; `None` where there is no validator to ask.
fn judged(schema: &Value, texts: &[String]) -> Option<Vec<Option<String>>> {
    let python = PathBuf::from(std::env::var_os("FOUNDRY_TEST_PYTHON").unwrap_or("/usr/bin/python3".into()));
    let has =
        Command::new(&python).args(["-c", "import yaml, jsonschema"]).stderr(Stdio::null()).status_in_time();
    if !has.is_ok_and(|status| status.success()) {
        skip_without("python with PyYAML and jsonschema", "python3-jsonschema, python3-yaml");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/python/validate.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let work = json!({ "schema": schema, "texts": texts });
    child.stdin.take().unwrap().write_all(work.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output_in_time().unwrap();
    assert!(done.status.success());
    Some(serde_json::from_slice(&done.stdout).unwrap())
}

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

/// A manifest in which one field is another one. Fields that are not there are put in.
fn with(path: &str, value: &str) -> String {
    let mut manifest = usual();
    *place_of(&mut manifest, path) = json!("VALUE");
    manifest.to_string().replace("\"VALUE\"", value)
}

/// One in which two are.
fn with_both(one: (&str, &str), other: (&str, &str)) -> String {
    let mut manifest = usual();
    *place_of(&mut manifest, one.0) = json!("VALUE");
    *place_of(&mut manifest, other.0) = json!("OTHER");
    manifest.to_string().replace("\"VALUE\"", one.1).replace("\"OTHER\"", other.1)
}

fn usual() -> Value {
    json!({
        "apiVersion": manifest::API_VERSION, "kind": manifest::KIND, "metadata": { "name": "web" },
        "spec": {
            "vcpus": 2, "memoryGiB": 2, "bootDisk": { "sizeGiB": 20, "image": "debian-12" },
            "dataDisks": [{ "device": "vdb", "sizeGiB": 1 }],
            "networkInterfaces": [{ "ip": "10.0.0.5/24", "gateway": "10.0.0.1", "bridge": "br0" }],
            "cloudInit": {}, "firmware": {},
        },
    })
}

fn place_of<'m>(manifest: &'m mut Value, path: &str) -> &'m mut Value {
    path.split('.').fold(manifest, |place, step| match step.parse::<usize>() {
        Ok(index) => &mut place[index],
        Err(_) => &mut place[step],
    })
}

/// Values at and beyond each limit, in YAML. What is right is not said here: schema and foundry are to agree.
const VALUES: &[(&str, &[&str])] = &[
    ("apiVersion", &["foundry.cofront.xyz/v1alpha2", "null", "1"]),
    (
        "metadata.name",
        &["w", "we", "We_b-1", "' web '", "-web", "web-", "wéb", "42", "true", "null", "[web]"],
    ),
    (
        "metadata.labels",
        &["{}", "null", "{a: 1}", "{a: null}", "{'a=b': x}", "{' a': x}", "{'': x}", "[]", "{a: [x]}"],
    ),
    ("metadata.annotations", &["{a: yes}", "{'': x}", "{a: 1.10}"]),
    ("metadata.uid", &["x", "null", "{}"]),
    ("metadata.generation", &["0", "-1", "null", "x"]),
    ("status", &["{}", "null", "5", "{phase: Nonsense}"]),
    ("spec.vcpus", &["0", "1", "4096", "4097", "1.0", "1.5", "'2'", "null", "true", "-1"]),
    ("spec.memoryGiB", &["0.0624", "0.0625", "4194304", "4194305", "1e2", "null", "'1'"]),
    (
        "spec.bootDisk",
        &[
            "null",
            "{}",
            "{sizeGB: 1, empty: true}",
            "{sizeGB: 1, empty: false}",
            "{sizeGiB: null, image: x}",
            "{sizeGB: 1, sizeGiB: 1, image: x}",
            "{sizeGB: 1, image: x, empty: true}",
            "{sizeGB: 1, image: x, empty: false}",
            "{sizeGB: 1, image: null, empty: true}",
            "{sizeGB: 1, empty: true, imagePool: x}",
            "{sizeGB: 1, empty: true, imagePool: null}",
            "{sizeGB: 1, image: x, size: 1}",
        ],
    ),
    ("spec.bootDisk.sizeGiB", &["0", "1", "8589934591", "8589934592", "1.5"]),
    (
        "spec.bootDisk.image",
        &["''", "x", "a:b", "'a:'", "':b'", "/", "/a", "/a/", "a/b", "-a", "https://a/b", "a:b/c", "1"],
    ),
    ("spec.bootDisk.imagePool", &["p", "''", "a/b", "-p", "null"]),
    ("spec.bootDisk.format", &["raw", "qcow2", "vmdk", "null", "RAW"]),
    (
        "spec.dataDisks",
        &["[]", "null", "[null]", "[{}]", "[{device: vdb}]", "[{device: vdz, sizeGB: 1}]", "{}"],
    ),
    ("spec.dataDisks.0.device", &["vda", "vdz", "vdaa", "sdb", "null"]),
    (
        "spec.dataDisks.0.serial",
        &["x", "''", "aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaa", "a/b", "0", "null"],
    ),
    (
        "spec.networkInterfaces",
        &[
            "[]",
            "null",
            "[{network: default}]",
            "[{network: default, ip: 10.0.0.5/24}]",
            "[{network: default, gateway: 10.0.0.1}]",
            "[{bridge: br0}]",
            "[{bridge: br0, ip: null}]",
            "[{bridge: br0, ip: 10.0.0.5/24, defaultRoute: false}]",
            "[{network: default, bridge: null}]",
            "[{network: default, vlan: 5}]",
            "[{network: default, vlan: null}]",
            "[{network: default, bridge: br0, ip: 10.0.0.5/24}]",
            "[{ip: 10.0.0.5/24, gateway: 10.0.0.1}]",
            "[{network: default, gateway: null}]",
        ],
    ),
    (
        "spec.networkInterfaces.0.ip",
        &[
            "10.0.0.5",
            "10.0.0.5/0",
            "10.0.0.5/33",
            "10.0.0.256/24",
            "010.0.0.5/24",
            "'10.0.0.5/24 '",
            "2001:db8::5/64",
            "5",
            "null",
        ],
    ),
    ("spec.networkInterfaces.0.gateway", &["10.0.0.254", "10.0.0.1/24", "10.0.0", "fe80::1"]),
    (
        "spec.networkInterfaces.0.addresses",
        &["[10.0.1.5/24]", "[2001:db8::5/64]", "[10.0.1.5]", "null", "[null]", "10.0.1.5/24"],
    ),
    (
        "spec.networkInterfaces.0.dnsServers",
        &["[10.0.0.1]", "['2001:db8::1']", "[dns.example.com]", "[10.0.0.1/32]"],
    ),
    (
        "spec.networkInterfaces.0.bridge",
        &["br0", "''", "a-bridge-too-far", "a-bridge-so-far", "br 0", "br/0", "br:0", "7"],
    ),
    ("spec.networkInterfaces.0.vlan", &["0", "1", "4094", "4095", "null", "1.5"]),
    (
        "spec.networkInterfaces.0.macAddress",
        &[
            "52:54:00:12:34:56",
            "52-54-00-12-34-56",
            "5254.0012.3456",
            "52:54:00:12:34",
            "52:54:00:12:34:5g",
            "7",
            "null",
        ],
    ),
    (
        "spec.networkInterfaces.0.mtu",
        &["67", "68", "1400", "65521", "65522", "'1400'", "1400.0", "1400.5", "auto", "null"],
    ),
    ("spec.networkInterfaces.0.onLink", &["true", "yes", "1", "null"]),
    ("spec.networkInterfaces.0.gateway6", &["x", "10.0.0.1/24", "5", "null", "[fe80::1]"]),
    (
        "spec.networkInterfaces.0.searchDomains",
        &[
            "[example.com]",
            "[Example.COM.]",
            "[lab]",
            "[10.0.0.1]",
            "[lab7]",
            "[7.lab]",
            "[lab.7]",
            "['7.']",
            "[a..b]",
            "['*.example.com']",
            "['']",
            "example.com",
            "[]",
            "null",
        ],
    ),
    ("spec.networkInterfaces.0.virtualport", &["openvswitch", "Openvswitch", "ovs", "true", "null"]),
    ("spec.networkInterfaces.0.defaultRoute", &["true", "yes", "'true'", "null"]),
    ("spec.networkInterfaces.0.pxeBoot", &["true", "1", "null"]),
    (
        "spec.cloudInit",
        &[
            "null",
            "{}",
            "[]",
            "{sshKeys: []}",
            "{userData: {a: 1}, rawUserData: '#!/bin/sh'}",
            "{userData: {a: 1}, rawUserData: null}",
        ],
    ),
    (
        "spec.cloudInit.fqdn",
        &["web.example.com", "Web.Example.com.", "web", "a..b", "-a.b", "a_b.c", "'x.y '", "null"],
    ),
    (
        "spec.cloudInit.sshAuthorizedKeys",
        &[
            "[]",
            "null",
            "[x]",
            "[~/.ssh/id_ed25519.pub]",
            "[ssh-dss AAAA]",
            "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD]",
            "['from=\"10.0.0.0/8\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD a b']",
            "['  ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD  ']",
        ],
    ),
    (
        "spec.cloudInit.passwordHash",
        &[
            "hunter2",
            "''",
            "$1$abc$0123456789012345678901",
            "$5$abcd$7C8S3Kakv2PyGuCPvepMX85cIRrGkqAAL1ANT8OQDg7",
            "$y$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$qdVSV23znpN3oRX4v17E59IodBxO1bzdFa3VKKRlE98",
        ],
    ),
    ("spec.cloudInit.sshPwauth", &["true", "yes", "null"]),
    ("spec.cloudInit.userData", &["{packages: [git]}", "'packages: [git]'", "[git]", "null", "{}"]),
    (
        "spec.cloudInit.networkConfig",
        &["{version: 2}", "'version: 2'", "[{version: 2}]", "null", "{network: {version: 1, config: []}}"],
    ),
    ("spec.cpuMode", &["host-model", "host-passthrough", "custom", "null"]),
    ("spec.autostart", &["false", "no", "0", "null"]),
    ("spec.storagePool", &["ssd", "''", "../x", "-x", "9"]),
    (
        "spec.firmware",
        &[
            "null",
            "{type: bios, secureBoot: true}",
            "{type: bios, secureBoot: false}",
            "{type: efi, secureBoot: true}",
            "{secureBoot: true}",
            "efi",
        ],
    ),
    ("spec.firmware.type", &["bios", "uefi", "null"]),
    ("spec.arch", &["aarch64", "arm64", "null"]),
    ("spec.unknown", &["1", "null"]),
];

#[test]
fn schema_and_foundry_agree_at_every_limit() {
    let cases: Vec<(&str, &str)> =
        VALUES.iter().flat_map(|(path, values)| values.iter().map(|value| (*path, *value))).collect();
    let texts: Vec<String> = cases.iter().map(|(path, value)| with(path, value)).collect();
    let Some(judgements) = judged(&schema::manifest_schema(), &texts) else { return };
    let (mut taken, mut differing) = (0, Vec::new());
    for (((path, value), text), by_schema) in cases.iter().zip(&texts).zip(judgements) {
        let by_foundry = by_foundry(text);
        taken += usize::from(by_foundry.is_none());
        if by_schema.is_none() != by_foundry.is_none() {
            differing.push(format!("{path}: {value}\n  schema: {by_schema:?}\n  foundry: {by_foundry:?}"));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(taken > 50 && cases.len() - taken > 50, "{taken} of {} were taken", cases.len());
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

/// What foundry has against a manifest.
fn by_foundry(text: &str) -> Option<String> {
    let plan = |manifest| VmPlan::from_manifest(&manifest, &manifests::defaults());
    match manifest::load_text(text, "vm.yaml") {
        Err(error) => Some(error.to_string()),
        Ok(manifests) => {
            manifests.into_iter().map(plan).find_map(Result::err).map(|problems| problems.to_string())
        }
    }
}

#[test]
fn what_listings_write_is_what_their_schemas_say() {
    for (what, command) in [
        ("list", &["list", "--all"][..]),
        ("get", &["get", "test"]),
        ("pool-list", &["pool", "list"]),
        ("pool-info", &["pool", "info", "default-pool"]),
        ("disk-list", &["disk", "list"]),
        ("image-list", &["image", "list", "--pool", "default-pool"]),
        ("image-catalog", &["image", "catalog", "list"]),
        ("storage-status", &["storage", "status"]),
        ("gc", &["gc", "--dry-run"]),
        ("doctor", &["doctor"]),
        ("config-origins", &["config", "view", "--origin"]),
        ("config-contexts", &["config", "get-contexts", "--config", "examples/config/config.yaml"]),
    ] {
        let schema: Value = serde_json::from_str(&run(&["schema", what]).stdout).unwrap();
        let ran = on_test(&[command, &["-o", "json"]].concat());
        // The test driver's host has problems, of which doctor's exit code tells.
        let code = if what == "doctor" { 4 } else { 0 };
        assert_eq!(ran.code, code, "{command:?}: {}", ran.stderr);
        // JSON is YAML. A listing without a field that is always there must be refused, or the schema says nothing.
        let Some(judgements) = judged(&schema, &[ran.stdout.clone(), "[{}]".into(), "{}".into()]) else {
            return;
        };
        assert_eq!(judgements[0], None, "{command:?}: {}", ran.stdout);
        assert!(judgements[1].is_some() && judgements[2].is_some(), "{what}: {judgements:?}");
    }
}

/// What foundry takes for a configuration, and what it refuses with its place.
#[test]
fn a_configuration_is_one_to_the_schema_too() {
    let example = std::fs::read_to_string("examples/config/config.yaml").unwrap();
    let view = on_test(&["config", "view", "--config", "examples/config/config.yaml", "-o", "json"]).stdout;
    let taken = [example, view, "{}".into(), "vmPool:\ncontexts: {lab: }\n".into()];
    let refused = [
        "vmpool: x",
        "output: xml",
        "dnsServers: 9.9.9.9",
        "connect: [x]",
        "contexts: {lab: {brige: x}}",
        "contexts: {lab: {contexts: {}}}",
        "contexts: [lab]",
        "- vmPool",
    ];
    let texts: Vec<String> = taken.iter().cloned().chain(refused.map(str::to_owned)).collect();
    for (index, text) in texts.iter().enumerate() {
        let read = foundry::config::parse_config(text, Path::new("c.yaml"));
        assert_eq!(read.is_ok(), index < taken.len(), "{text}");
    }
    let Some(judgements) = judged(&foundry::config::schema::configuration_schema(), &texts) else { return };
    for (index, (text, wrong)) in texts.iter().zip(judgements).enumerate() {
        assert_eq!(wrong.is_none(), index < taken.len(), "{text}: {wrong:?}");
    }
}

/// Whatever is written as JSON has a schema: a form that a command takes, and none for it, is a listing that may change.
#[test]
fn every_command_that_writes_json_has_a_schema() {
    let listed = run(&["schema", "--help"]).stdout;
    fn inner(path: String, command: &clap::Command, all: &mut Vec<String>) {
        let forms = command.get_arguments().find(|arg| arg.get_id() == "output");
        if forms.is_some_and(|arg| arg.get_value_names().is_some_and(|names| names[0] == "FORM")) {
            all.push(path.clone());
        }
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            inner(format!("{path} {}", sub.get_name()).trim().to_owned(), sub, all);
        }
    }
    let mut all = Vec::new();
    inner(String::new(), &foundry::command(), &mut all);
    assert!(all.len() >= 14, "{all:?}");
    for path in all {
        let what = match path.as_str() {
            "vm info" => "get".to_owned(),
            "config view" => "config-origins".to_owned(),
            "config get-contexts" => "config-contexts".to_owned(),
            "image catalog list" | "image catalog" => "image-catalog".to_owned(),
            other => other.replace(' ', "-"),
        };
        let named = listed.split(|c: char| c != '-' && !c.is_alphanumeric()).any(|word| word == what);
        assert!(named, "{path} -o json has no schema {what}");
    }
}

/// Programs rely on these. A change here is one that breaks them, unless it only adds.
#[test]
fn schemas_of_listings_are_stable() {
    let help = run(&["schema", "--help"]).stdout;
    let listed = help.split("[possible values: ").nth(1).unwrap().split(']').next().unwrap();
    for what in listed.split(',').map(str::trim) {
        let ran = run(&["schema", what]);
        assert_eq!(ran.code, 0, "{what}");
        insta::with_settings!({ snapshot_path => "../data/schema", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(what, ran.stdout);
        });
    }
}
