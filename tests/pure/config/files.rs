//! Configuration files: where they are, what they may contain, and what is refused.

use super::{SYSTEM, Setup, USER};
use foundry::config::{
    ConfigFile, ConfigPlace, SettingKey, SettingOrigin, config_places, load_file, parse_config, user_file,
};
use foundry::error::Kind;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_wrong_variable_is_told_by_its_name() {
    let (config, wrong) = Setup { variables: vec![("FOUNDRY_OUTPUT", "xml")], ..Setup::default() }.resolved();
    assert_eq!(wrong[0].to_string(), "FOUNDRY_OUTPUT \"xml\" is not one of table, wide, yaml, json, name");
    assert_eq!(wrong[0].kind(), Kind::Configuration);
    assert_eq!(config.setting_text(SettingKey::Color), Some("auto"), "the others can be shown");
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_place() {
    for (text, told) in [
        ("vmpool: x\n", "c.yaml:1:1: vmpool: unknown field; did you mean 'vmPool'? (only the case differs)"),
        ("# a\nconect: x\n", "c.yaml:2:1: conect: unknown field; did you mean 'connect'?"),
        (
            "contexts:\n  lab:\n    brige: x\n",
            "c.yaml:3:5: contexts.lab.brige: unknown field; did you mean 'bridge'?",
        ),
        ("contexts: {lab: {contexts: {}}}\n", "contexts.lab.contexts: unknown field"),
        ("contexts: {a/b: {}}\n", "c.yaml:1:12: contexts.a/b: may hold only letters"),
        ("contexts: [a]\n", "c.yaml:1:11: contexts: expected a mapping, got a list"),
        ("contexts: {a: x}\n", "contexts.a: expected a mapping, got a single value"),
        ("vmPool: a/b\n", "c.yaml:1:9: vmPool: \"a/b\""),
        ("storagePath: rel\n", "storagePath: \"rel\" is not an absolute path"),
        ("catalog: ~/x.yaml\n", "catalog: \"~/x.yaml\" begins with '~'"),
        ("output: xml\n", "output: \"xml\" is not one of table, wide, yaml, json, name"),
        ("waitTimeout: soon\n", "waitTimeout: \"soon\" is not a duration"),
        ("dnsServers: 9.9.9.9\n", "dnsServers: expected a list"),
        ("dnsServers: [9.9.9.9, x]\n", "has \"x\", which is not an IP address"),
        ("connect: ''\n", "connect: \"\" is empty"),
        ("connect: \"a\\x1bb\"\n", "has control characters"),
        ("connect: [x]\n", "connect: expected text, got a list"),
        ("currentContext: a b\n", "currentContext: \"a b\" may hold only letters"),
        ("vmPool: a\nvmPool: b\n", "duplicate key `vmPool`"),
        ("vmPool: [\n", "c.yaml:"),
        ("- a\n", "expected a mapping, got a list"),
        ("vmPool: a\n---\nvmPool: b\n", "a configuration is one document"),
    ] {
        let error = parse_config(text, Path::new("c.yaml")).unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.to_string().contains(told), "{text:?}: {error}");
    }
}

#[test]
fn a_file_may_say_nothing() {
    for text in ["", "# nothing\n", "---\n", "{}\n", "vmPool:\ncontexts:\ncurrentContext: ~\n"] {
        assert_eq!(parse_config(text, Path::new("c")).unwrap(), ConfigFile::default(), "{text:?}");
    }
}

#[test]
fn a_relative_catalogue_is_beside_the_file_that_names_it() {
    let file = parse_config("catalog: own/list.yaml\n", Path::new("/etc/foundry/config.yaml")).unwrap();
    assert_eq!(file.settings[&SettingKey::Catalog].text, "/etc/foundry/own/list.yaml");
}

#[test]
fn files_are_where_the_xdg_specification_has_them() {
    let home = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
    let both = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "/cfg".to_owned()).or_else(|| home(name));
    let relative = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "cfg".to_owned()).or_else(|| home(name));
    assert_eq!(user_file(home), Some(PathBuf::from(USER)));
    assert_eq!(user_file(both), Some(PathBuf::from("/cfg/foundry/config.yaml")));
    assert_eq!(user_file(relative), Some(PathBuf::from(USER)), "a relative path is none");
    assert_eq!(user_file(|_| None), None);

    let paths =
        |named| config_places(named, home).into_iter().map(|p| (p.path, p.required)).collect::<Vec<_>>();
    assert_eq!(paths(None), [(USER.into(), false), (SYSTEM.into(), false)]);
    assert_eq!(paths(Some(Path::new("my.yaml"))), [("my.yaml".into(), true)], "it takes the place of both");
}

#[test]
fn only_a_file_that_was_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.yaml");
    assert_eq!(
        load_file(&ConfigPlace { path: path.clone(), required: false }).unwrap(),
        ConfigFile::default()
    );
    let error = load_file(&ConfigPlace { path, required: true }).unwrap_err();
    assert!(error.to_string().ends_with("none.yaml: no such file"), "{error}");
    let error = load_file(&ConfigPlace { path: folder.path().into(), required: false }).unwrap_err();
    assert_eq!(error.cause(), Some("it is a directory"));
}

/// The example says every setting, and nothing that is not one.
#[test]
fn the_example_says_every_setting() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config/config.yaml"));
    let file = load_file(&ConfigPlace { path: path.into(), required: true }).unwrap();
    let said: Vec<SettingKey> = file.settings.keys().copied().collect();
    assert_eq!(said, SettingKey::ALL);
    for key in SettingKey::ALL.into_iter().filter(|key| key.default().is_some()) {
        assert_eq!(file.settings[&key].text, key.default().unwrap(), "{key:?}: the example shows defaults");
    }
    let SettingOrigin::File { line, .. } = file.settings[&SettingKey::Connect].origin else {
        panic!("it is a file's")
    };
    let text = fs::read_to_string(path).unwrap();
    assert!(text.lines().nth(line - 1).unwrap().starts_with("connect: "));
    assert!(file.contexts.contains_key(&file.current.unwrap().text.parse().unwrap()));
}
