//! Precedence: flag, variable, context, the user's file, the system's file, default; and a manifest's own values.

use super::{Home, SYSTEM, Setup, USER, pair};
use crate::support::manifests::SMALL;
use foundry::config::{SettingKey, parse_config};
use foundry::manifest::{self, NetworkInterface};
use foundry::operations::Settings;
use foundry::plan::{Defaults, VmPlan};
use std::fs;
use std::path::Path;

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
