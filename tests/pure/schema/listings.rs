//! The schemas of listings and of the configuration.

use super::judged;
use crate::support::command::{on_test, run};
use serde_json::Value;
use std::path::Path;

#[test]
fn what_listings_write_is_what_their_schemas_say() {
    for (what, command) in [
        ("list", &["list", "--all"][..]),
        ("get", &["get", "test"]),
        ("inventory", &["inventory", "--list"]),
        ("pool-list", &["pool", "list"]),
        ("pool-info", &["pool", "info", "default-pool"]),
        ("network-list", &["network", "list"]),
        ("network-info", &["network", "info", "default"]),
        ("top", &["top"]),
        ("disk-list", &["disk", "list"]),
        ("snapshot-list", &["snapshot", "list"]),
        ("image-list", &["image", "list", "--pool", "default-pool"]),
        ("image-catalog", &["image", "catalog", "list"]),
        ("storage-status", &["storage", "status"]),
        ("gc", &["gc", "--dry-run"]),
        ("doctor", &["doctor"]),
        ("config-origins", &["config", "view", "--origin"]),
        ("config-contexts", &["config", "get-contexts", "--config", "examples/config/config.yaml"]),
    ] {
        let schema: Value = serde_json::from_str(&run(&["schema", what]).stdout).unwrap();
        // Ansible's contract has one form.
        let form: &[&str] = if what == "inventory" { &[] } else { &["-o", "json"] };
        let ran = on_test(&[command, form].concat());
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
        insta::with_settings!({ snapshot_path => "../../data/schema", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(what, ran.stdout);
        });
    }
}
