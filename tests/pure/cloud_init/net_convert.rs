//! What cloud-init makes of the network configuration for each way in which guests keep their network.
//!
//! `FOUNDRY_TEST_CLOUD_INIT` names the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{network_config, own_network, skip};
use crate::support::deadline::CommandInTime as _;
use foundry::cloud_init::check_network_config;

/// The renderers, and a distribution of each.
const KINDS: [(&str, &str); 5] = [
    ("netplan", "ubuntu"),
    ("eni", "debian"),
    ("networkd", "arch"),
    ("network-manager", "fedora"),
    ("sysconfig", "rhel"),
];

/// All that the converter writes for a network-config; `None` where there is no converter.
fn converted(kind: (&str, &str), config: &str) -> Option<String> {
    let Some(program) = std::env::var_os("FOUNDRY_TEST_CLOUD_INIT").map(PathBuf::from) else {
        skip("cloud-init (FOUNDRY_TEST_CLOUD_INIT)");
        return None;
    };
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("network-config"), directory.path().join("out"));
    std::fs::write(&input, config).unwrap();
    let run = Command::new(program)
        .args(["devel", "net-convert", "--kind", "yaml", "-O", kind.0, "-D", kind.1, "--network-data"])
        .arg(&input)
        .arg("--directory")
        .arg(&output)
        .output_in_time()
        .unwrap();
    assert!(run.status.success(), "{kind:?}\n{config}\n{}", String::from_utf8_lossy(&run.stderr));
    let mut text = String::new();
    gather(&output, &mut text);
    Some(text)
}

fn gather(directory: &Path, text: &mut String) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            gather(&entry, text);
        } else {
            text.push_str(&std::fs::read_to_string(&entry).unwrap());
        }
    }
}

/// Each kind's way to say something, in the order of [`KINDS`].
fn assert_each_says(config: &str, said: [&str; 5]) {
    for (kind, said) in KINDS.into_iter().zip(said) {
        let Some(text) = converted(kind, config) else { return };
        assert!(text.contains(said), "{kind:?} does not say {said:?}\n{text}");
    }
}

#[test]
fn an_ipv6_gateway_is_a_default_route_everywhere() {
    let interfaces = "[{ip: 10.0.0.5/24, gateway: 10.0.0.1, addresses: ['2001:db8::5/64'], gateway6: '2001:db8::1', bridge: br0}]";
    let netplan = "to: ::/0";
    assert_each_says(
        &network_config(interfaces),
        [netplan, "A inet6 default gw 2001:db8::1", "Gateway=2001:db8::1", "2001:db8::1", "2001:db8::1"],
    );
}

#[test]
fn a_network_config_of_the_users_own_is_read_with_and_without_the_key_around_it() {
    let v1 =
        "config: [{type: physical, name: lan7, mac_address: '52:54:00:00:00:07', subnets: [{type: dhcp}]}]";
    let v2 = "ethernets: {lan7: {match: {macaddress: '52:54:00:00:00:07'}, set-name: lan7, dhcp4: true}}";
    for inner in [format!("version: 1, {v1}"), format!("version: 2, {v2}")] {
        for given in [format!("{{{inner}}}"), format!("network: {{{inner}}}")] {
            assert_each_says(&check_network_config(&given).unwrap(), ["lan7"; 5]);
        }
    }
    assert_each_says(&own_network(), ["bond0"; 5]);
}
