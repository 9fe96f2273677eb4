//! What a user set: which value counts, where it comes from, what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::command::{Ran, TEST_DRIVER, foundry};
use crate::support::deadline::CommandInTime as _;
use crate::support::manifests::SMALL;
use crate::support::shown::Shown;
use foundry::config::{
    Config, ConfigFile, ConfigPlace, Inputs, SettingKey, SettingOrigin, config_places, load_file,
    parse_config, resolve_settings, save_current_context, user_file,
};
use foundry::error::{Error, Kind};
use foundry::manifest::{self, NetworkInterface};
use foundry::operations::Settings;
use foundry::plan::{Defaults, VmPlan};
use serde_json::Value;

const USER: &str = "/home/u/.config/foundry/config.yaml";
const SYSTEM: &str = "/etc/foundry/config.yaml";

/// Everything that can set something.
#[derive(Default)]
struct Setup {
    flags: BTreeMap<SettingKey, (String, String)>,
    context: Option<&'static str>,
    variables: Vec<(&'static str, &'static str)>,
    user: &'static str,
    system: &'static str,
}

impl Setup {
    fn resolved(&self) -> (Config, Vec<Error>) {
        let files: Vec<ConfigFile> = [(self.user, USER), (self.system, SYSTEM)]
            .map(|(text, path)| parse_config(text, Path::new(path)).unwrap())
            .into();
        let variable = |name: &str| {
            self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        resolve_settings(&Inputs {
            flags: &self.flags,
            context: self.context,
            variable: &variable,
            files: &files,
            default: &|key| key.default().map(str::to_owned),
        })
    }

    /// The value and the origin of a setting, where nothing is wrong.
    fn says(&self, key: SettingKey) -> (String, String) {
        let (config, wrong) = self.resolved();
        assert!(wrong.is_empty(), "{wrong:?}");
        let found = config.get(key).unwrap();
        (found.text.clone(), found.origin.to_string())
    }

    fn with_flag(mut self, key: SettingKey, flag: &str, value: &str) -> Self {
        self.flags.insert(key, (flag.into(), value.into()));
        self
    }
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

/// The design's order, with contexts where issue 5 wants them: each layer is taken away, and the next one counts.
#[test]
fn the_first_that_says_something_counts() {
    let user = "connect: user\ncurrentContext: lab\ncontexts:\n  lab:\n    connect: lab\n";
    let all = || Setup { user, system: "connect: system\n", ..Setup::default() };
    let both = vec![("LIBVIRT_DEFAULT_URI", "libvirts"), ("FOUNDRY_CONNECT", "ours")];

    let given =
        Setup { variables: both.clone(), ..all() }.with_flag(SettingKey::Connect, "--connect", "flag");
    assert_eq!(given.says(SettingKey::Connect), pair("flag", "--connect"));
    assert_eq!(Setup { variables: both, ..all() }.says(SettingKey::Connect), pair("ours", "FOUNDRY_CONNECT"));
    let libvirts = Setup { variables: vec![("LIBVIRT_DEFAULT_URI", "libvirts")], ..all() };
    assert_eq!(libvirts.says(SettingKey::Connect), pair("libvirts", "LIBVIRT_DEFAULT_URI"));
    let empty = Setup { variables: vec![("FOUNDRY_CONNECT", ""), ("LIBVIRT_DEFAULT_URI", "")], ..all() };
    assert_eq!(empty.says(SettingKey::Connect), pair("lab", &format!("{USER}:5 (context lab)")));
    let no_context = Setup { user: "connect: user\n", ..all() };
    assert_eq!(no_context.says(SettingKey::Connect), pair("user", &format!("{USER}:1")));
    assert_eq!(Setup { user: "", ..all() }.says(SettingKey::Connect), pair("system", &format!("{SYSTEM}:1")));
    assert_eq!(Setup::default().says(SettingKey::VmPool), pair("foundry-vms", "default"));
    assert_eq!(Setup::default().resolved().0.get(SettingKey::Bridge), None);
}

/// Each setting can be set by a file, by a context and by a variable of its own.
#[test]
fn every_setting_can_be_set_everywhere() {
    for key in SettingKey::ALL {
        let value = match key {
            SettingKey::DnsServers => "9.9.9.9,2620:fe::fe",
            SettingKey::StoragePath | SettingKey::Catalog => "/srv/x",
            SettingKey::WaitTimeout
            | SettingKey::DestroyTimeout
            | SettingKey::DetachTimeout
            | SettingKey::CallTimeout => "7m",
            SettingKey::VirtType => "qemu",
            SettingKey::Output => "wide",
            SettingKey::Color => "never",
            SettingKey::Progress => "json",
            _ => "abc",
        };
        let written = if key.is_list() { format!("[{value}]") } else { value.to_owned() };
        let in_file = parse_config(&format!("{}: {written}\n", key.name()), Path::new("c")).unwrap();
        assert_eq!(in_file.settings[&key].text, value, "{key:?}");
        let text = format!("contexts: {{a: {{{}: {written}}}}}\n", key.name());
        let in_context = parse_config(&text, Path::new("c")).unwrap();
        assert_eq!(in_context.contexts[&"a".parse().unwrap()][&key].text, value, "{key:?}");
        let by_variable = Setup { variables: vec![(key.env_variables()[0], value)], ..Setup::default() };
        assert_eq!(by_variable.says(key), pair(value, key.env_variables()[0]));
    }
}

#[test]
fn the_users_file_goes_before_the_systems_setting_by_setting() {
    let setup = Setup {
        user: "vmPool: mine\ncontexts: {lab: {bridge: br1}}\n",
        system: "vmPool: theirs\nimagePool: theirs\ncontexts: {lab: {bridge: br2, output: wide}, far: }\n\
                 currentContext: lab\n",
        ..Setup::default()
    };
    assert_eq!(setup.says(SettingKey::VmPool).0, "mine");
    assert_eq!(setup.says(SettingKey::ImagePool).0, "theirs");
    assert_eq!(setup.says(SettingKey::Bridge), pair("br1", &format!("{USER}:2 (context lab)")));
    assert_eq!(setup.says(SettingKey::Output), pair("wide", &format!("{SYSTEM}:3 (context lab)")));
    let names: Vec<String> = setup.resolved().0.all_contexts().keys().map(ToString::to_string).collect();
    assert_eq!(names, ["far", "lab"]);
    let other = Setup { context: Some("far"), ..setup };
    assert_eq!(other.resolved().0.get(SettingKey::Bridge), None);
}

#[test]
fn the_context_is_the_flags_then_the_variables_then_the_files() {
    let user = "contexts: {a: {connect: a}, b: {connect: b}, c: {connect: c}}\ncurrentContext: c\n";
    let variables = vec![("FOUNDRY_CONTEXT", "b")];
    let setup = Setup { user, variables, context: Some("a"), ..Setup::default() };
    assert_eq!(setup.says(SettingKey::Connect).0, "a");
    let setup = Setup { context: None, ..setup };
    assert_eq!(setup.says(SettingKey::Connect).0, "b");
    assert_eq!(Setup { user, ..Setup::default() }.says(SettingKey::Connect).0, "c");

    let (config, wrong) = Setup { user, context: Some("bb"), ..Setup::default() }.resolved();
    assert_eq!(wrong[0].to_string(), "--context: there is no context \"bb\"");
    assert_eq!(config.get(SettingKey::Connect), None, "another context is no substitute");
    let (_, wrong) = Setup { user: "currentContext: gone\n", ..Setup::default() }.resolved();
    assert_eq!(wrong[0].to_string(), format!("{USER}:1: there is no context \"gone\""));
}

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

/// A home with a configuration in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(home.file().parent().unwrap()).unwrap();
        fs::write(home.file(), config).unwrap();
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".config/foundry/config.yaml")
    }

    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = foundry(args);
        command.env("HOME", self.0.path()).envs(variables.iter().copied());
        Ran::from(command.output_in_time().unwrap())
    }

    fn says(&self, args: &[&str]) -> String {
        let ran = self.run(args, &[]);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
        ran.stdout
    }
}

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

/// The manifest may leave out what is configured; what is stored of it says it.
#[test]
fn a_manifest_without_bridge_and_name_servers_gets_the_configured_ones() {
    let manifest = SMALL.replace("{network: default}", "{ip: 10.0.0.5/24, gateway: 10.0.0.1}");
    let home = Home::new("bridge: br7\ndnsServers: [9.9.9.9]\n");
    let file = home.0.path().join("vm.yaml");
    fs::write(&file, &manifest).unwrap();
    let file = file.to_str().unwrap();
    assert!(manifest.contains("gateway"), "{manifest}");
    let domain = home.says(&["render", file]);
    assert!(domain.contains("<source bridge=\"br7\"/>"), "{domain}");
    let plain = home.run(&["render", file, "--config", "/dev/null"], &[]);
    assert_eq!(plain.code, 2);
    assert!(plain.stderr.contains("needs a bridge of the host or a libvirt network"), "{}", plain.stderr);
    let flag = home.says(&["render", file, "--bridge", "br8"]);
    assert!(flag.contains("<source bridge=\"br8\"/>"), "{flag}");
}

#[test]
fn configured_defaults_stand_for_what_nobody_wrote_and_for_nothing_else() {
    let defaults = Defaults {
        bridge: Some("br7".parse().unwrap()),
        dns: vec!["9.9.9.9".parse().unwrap()],
        ..Settings::default().defaults(None)
    };
    let stored = |interfaces: &str| {
        let text = SMALL.replace("{network: default}", interfaces);
        let plan = VmPlan::from_manifest(&manifest::load_text(&text, "vm").unwrap()[0], &defaults).unwrap();
        let told = |i: &NetworkInterface| (i.bridge.clone().unwrap_or_default(), i.dns_servers.join(","));
        plan.manifest.spec.network_interfaces.iter().map(told).collect::<Vec<_>>()
    };
    let (own, gateway) = ("ip: 10.0.0.5/24", "gateway: 10.0.0.1");
    for (interfaces, wanted) in [
        (format!("{{{own}, {gateway}}}"), vec![("br7", "9.9.9.9")]),
        (format!("{{{own}, {gateway}, bridge: br0}}"), vec![("br0", "9.9.9.9")]),
        (format!("{{{own}, {gateway}, dnsServers: [1.1.1.1]}}"), vec![("br7", "1.1.1.1")]),
        ("{network: default}".into(), vec![("", "")]),
        (format!("{{{own}, {gateway}}}, {{ip: 10.1.0.5/24}}"), vec![("br7", "9.9.9.9"), ("br7", "")]),
        (
            format!("{{{own}, {gateway}}}, {{ip: 10.1.0.5/24, dnsServers: [1.1.1.1]}}"),
            vec![("br7", ""), ("br7", "1.1.1.1")],
        ),
    ] {
        let wanted: Vec<_> = wanted.into_iter().map(|(a, b)| pair(a, b)).collect();
        assert_eq!(stored(&interfaces), wanted, "{interfaces}");
    }
}
