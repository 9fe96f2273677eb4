//! A network-config of the user's own.

use foundry::cloud_init::{build_seed_files, check_network_config};

use super::support::{plan, seed};

#[test]
fn both_versions_are_taken_with_and_without_the_key_around_them() {
    for (given, in_seed) in [
        ("version: 2\nethernets: {a: {dhcp4: yes}}", "version: 2\nethernets: {a: {dhcp4: yes}}"),
        ("# mine\r\nversion:   2\r\n", "# mine\r\nversion:   2\r\n"),
        ("{version: 1, config: []}", "{version: 1, config: []}"),
        ("config: disabled\n", "config: disabled\n"),
        ("config: 'disabled'\n", "config: 'disabled'\n"),
        ("network: {config: disabled}", "config: disabled\n"),
        ("network: {version: 2, renderer: networkd}", "version: 2\nrenderer: networkd\n"),
        ("network:\n  version: 1\n  config:\n  - {type: loopback, name: '010'}\n", {
            "version: 1\nconfig:\n  - type: loopback\n    name: \"010\"\n"
        }),
        // netplan's own sections are handed on.
        (
            "{version: 2, tunnels: {wg0: {mode: wireguard}}}",
            "{version: 2, tunnels: {wg0: {mode: wireguard}}}",
        ),
    ] {
        assert_eq!(check_network_config(given).as_deref(), Ok(in_seed), "{given:?}");
        assert_eq!(check_network_config(in_seed).as_deref(), Ok(in_seed), "what is in a seed stays");
    }
}

#[test]
fn what_cloud_init_would_not_read_is_refused() {
    for (text, message) in [
        ("", "contains no YAML"),
        ("- version: 2\n", "is a list, not a mapping of network-config keys"),
        ("version: 2\n---\nversion: 2\n", "contains 2 YAML documents"),
        ("ethernets: {}\n", "has no `version`"),
        ("network: {ethernets: {}}\n", "has no `version`"),
        ("network:\n", "has nothing under `network`"),
        ("network: [a]\n", "has a list under `network`"),
        ("network: {version: 2}\nversion: 2\n", "has other keys beside `network`"),
        ("version: '2'\n", "other than the number 1 or 2"),
        ("version: 2.0\n", "other than the number 1 or 2"),
        ("version: [2]\n", "other than the number 1 or 2"),
        ("version: 1\n", "has no `config`"),
        ("version: 1\nconfig: {a: b}\n", "has a mapping as `config`"),
        ("version: 2\nwifis: [w]\n", "has a list as `wifis`"),
        ("version: 2\nversion: 2\n", "duplicate key `version` at line 2 column 1"),
        ("version: 2\nvlans: !x {}\n", "tag"),
    ] {
        let told = check_network_config(text).expect_err(text);
        assert!(told.contains(message), "{text:?}: {told}");
    }
}

#[test]
fn it_stands_in_the_seed_in_place_of_the_generated_one() {
    let mut seed = seed();
    let others = build_seed_files(&plan(), &seed, "i").unwrap();
    seed.network_config = Some("version: 2\n".into());
    let made = build_seed_files(&plan(), &seed, "i").unwrap();
    assert_eq!(made.network_config, "version: 2\n");
    assert_eq!((made.user_data, made.meta_data), (others.user_data, others.meta_data));
}
