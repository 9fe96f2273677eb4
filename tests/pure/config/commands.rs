//! `config view`, `use-context` and `current-context`.

use super::Home;
use crate::support::command::TEST_DRIVER;
use crate::support::shown::Shown;
use foundry::config::save_current_context;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

const LAB: &str = "contexts:\n  lab: {connect: 'test:///default'}\n  away: {connect: 'nosuch:///x'}\n";

#[test]
fn the_current_context_is_what_is_connected_to() {
    let home = Home::new(&format!("currentContext: lab\n{LAB}"));
    assert_eq!(home.says(&["list", "-o", "name"]), "test\n");
    let away = home.run(&["list", "--context", "away"], &[]);
    assert_eq!(
        (away.code, away.stderr.contains("cannot connect to nosuch:///x")),
        (3, true),
        "{}",
        away.stderr
    );
    let over = home.run(&["list", "--context=away", "-o", "name"], &[("LIBVIRT_DEFAULT_URI", TEST_DRIVER)]);
    assert_eq!(over.stdout, "test\n");
    assert!(over.stderr.contains("LIBVIRT_DEFAULT_URI overrides it"), "{}", over.stderr);
    let unknown = home.run(&["list", "--context", "labb"], &[]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("did you mean lab?"), "{}", unknown.stderr);
}

#[test]
fn use_context_changes_one_line_and_nothing_else() {
    let text = format!("# mine\noutput: name   # short\ncurrentContext: lab # the one\n\n{LAB}");
    let home = Home::new(&text);
    fs::set_permissions(home.file(), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(home.says(&["config", "current-context"]), "lab\n");
    home.says(&["config", "use-context", "away"]);
    let changed = fs::read_to_string(home.file()).unwrap();
    assert_eq!(changed, text.replace("currentContext: lab #", "currentContext: away #"));
    assert_eq!(fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(home.file().parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(home.says(&["config", "get-contexts"]), "away\nlab\n", "output: name counts");
    assert_eq!(
        home.says(&["config", "get-contexts", "-o", "table"]),
        "CURRENT   NAME   CONNECT\n*         away   nosuch:///x\n          lab    test:///default\n"
    );

    let unknown = home.run(&["config", "use-context", "aawy"], &[]);
    assert_eq!(
        (unknown.code, unknown.stderr.contains("did you mean away?")),
        (1, true),
        "{}",
        unknown.stderr
    );
    assert_eq!(fs::read_to_string(home.file()).unwrap(), changed);
}

/// A dangling context is what use-context is there to mend; the file may be a link.
#[test]
fn use_context_mends_what_names_no_context() {
    let home = Home::new("");
    let real = home.0.path().join("real.yaml");
    fs::write(&real, format!("currentContext: gone\n{LAB}")).unwrap();
    fs::remove_file(home.file()).unwrap();
    symlink(&real, home.file()).unwrap();
    let broken = home.run(&["list"], &[]);
    assert_eq!(broken.code, 1, "{}", broken.stderr);
    assert!(broken.stderr.contains("config.yaml:1: there is no context \"gone\""), "{}", broken.stderr);
    home.says(&["config", "use-context", "lab"]);
    assert_eq!(fs::read_to_string(&real).unwrap(), format!("currentContext: lab\n{LAB}"));
    assert!(fs::symlink_metadata(home.file()).unwrap().is_symlink());
    assert_eq!(home.says(&["list", "-o", "name"]), "test\n");
}

#[test]
fn a_file_for_the_current_context_is_made_where_it_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/config.yaml");
    save_current_context(&path, &"lab".parse().unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "currentContext: lab\n");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let error = save_current_context(&path.join("x"), &"lab".parse().unwrap()).unwrap_err();
    assert_eq!(error.outcome_texts(), ["nothing was changed"]);
}

#[test]
fn a_named_file_takes_the_place_of_all_others() {
    let home = Home::new(LAB);
    let named = home.0.path().join("other.yaml");
    fs::write(&named, "contexts: {far: {connect: 'test:///default'}}\n").unwrap();
    let named = named.to_str().unwrap();
    for (args, variables) in [(&["--config", named][..], &[][..]), (&[], &[("FOUNDRY_CONFIG", named)])] {
        let with = |more: &[&str]| home.run(&[args, more].concat(), variables);
        assert_eq!(with(&["config", "get-contexts", "-o", "name"]).stdout, "far\n");
        assert_eq!(with(&["config", "use-context", "lab"]).code, 1);
        assert_eq!(with(&["config", "use-context", "far"]).code, 0);
        assert!(fs::read_to_string(named).unwrap().ends_with("\ncurrentContext: far\n"));
    }
    assert_eq!(fs::read_to_string(home.file()).unwrap(), LAB);
}

/// What it prints is a configuration that says the same.
#[test]
fn what_view_prints_is_a_configuration() {
    let home =
        Home::new(&format!("dnsServers: [9.9.9.9, 1.1.1.1]\ncurrentContext: lab\nbridge: '007'\n{LAB}"));
    let view = home.says(&["config", "view"]);
    let other = Home::new(&view);
    assert_eq!(other.says(&["config", "view"]), view);
    let json: Value = serde_json::from_str(&home.says(&["config", "view", "-o", "json"])).unwrap();
    assert_eq!(json["dnsServers"], serde_json::json!(["9.9.9.9", "1.1.1.1"]));
    assert_eq!((&json["bridge"], &json["connect"]), (&"007".into(), &TEST_DRIVER.into()));
    assert_eq!(home.says(&["config", "view", "-o", "jsonpath={.contexts.away.connect}"]), "nosuch:///x\n");
}

#[test]
fn view_tells_where_each_value_comes_from() {
    let home = Home::new("vmPool: ssd\n");
    let ran = home.run(
        &["config", "view", "--origin", "-o", "json", "--image-pool", "img"],
        &[("FOUNDRY_BRIDGE", "br7"), ("FOUNDRY_WAIT_TIMEOUT", "9m")],
    );
    let all: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let of = |name: &str| {
        let found = all.iter().find(|v| v["name"] == name).unwrap();
        [&found["value"], &found["from"], &found["at"]].map(|v| v.as_str().unwrap_or("").to_owned())
    };
    let file = format!("{}:1", home.file().display());
    assert_eq!(of("vmPool"), ["ssd", "file", &file]);
    assert_eq!(of("imagePool"), ["img", "flag", "--image-pool"]);
    assert_eq!(of("bridge"), ["br7", "variable", "FOUNDRY_BRIDGE"]);
    assert_eq!(of("waitTimeout"), ["9m", "variable", "FOUNDRY_WAIT_TIMEOUT"]);
    assert_eq!(of("destroyTimeout"), ["5s", "default", ""]);
    assert_eq!(of("storagePath"), ["", "default", ""]);
    assert!(all.iter().any(|v| v["name"] == "storagePath" && v["value"].is_null()));
}

/// A broken file ends every command but those that show and mend it, and help.
#[test]
fn a_broken_file_is_told_and_can_be_looked_at() {
    let home = Home::new("vmPool: ssd\noutptu: json\n");
    let told = format!("{}:2:1: outptu: unknown field; did you mean 'output'?", home.file().display());
    for args in
        [&["list", "-c", TEST_DRIVER][..], &["render", "examples/simple-vm.yaml"], &["image", "catalog"]]
    {
        let ran = home.run(args, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{args:?}");
        assert!(ran.stderr.contains(&told), "{args:?}: {}", ran.stderr);
    }
    let view = home.run(&["config", "view"], &[]);
    assert_eq!((view.code, view.stdout.contains("vmPool: foundry-vms")), (1, true), "{}", view.stderr);
    assert!(view.stderr.contains(&told), "{}", view.stderr);
    assert_eq!(home.run(&["--help"], &[]).code, 0);
    assert_eq!(home.run(&["list", "--help"], &[]).code, 0);
    let ran = home.run(&["list", "-c", TEST_DRIVER, "-o", "name", "--config", "/dev/null"], &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "test\n"), "{}", ran.stderr);
    let before = fs::read_to_string(home.file()).unwrap();
    assert_eq!(home.run(&["config", "use-context", "x"], &[]).code, 1);
    assert_eq!(fs::read_to_string(home.file()).unwrap(), before);
}
