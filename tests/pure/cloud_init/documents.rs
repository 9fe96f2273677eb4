//! The three files of a seed, as text and as PyYAML and cloud-init's modules would take them.

use foundry::cloud_init::{SeedFiles, build_seed_files};
use foundry::plan::UserData;
use foundry::yaml::node::{Node, read_documents};

use super::support::{fixed, network_config, plan, seed};

fn made() -> SeedFiles {
    build_seed_files(&plan(), &seed(), "web-1730534400").unwrap()
}

/// Reads one of the files and finds a value in it.
fn value_at(text: &str, path: &[&str]) -> Option<Node> {
    let document = read_documents(text).unwrap().remove(0);
    path.iter().try_fold(document, |node, key| node.get(key).cloned())
}

#[test]
fn user_data_names_the_guest_and_lets_root_in() {
    assert_eq!(
        made().user_data,
        "\
#cloud-config
hostname: web
fqdn: web.example.com
manage_etc_hosts: localhost
users:
  - name: root
    ssh_authorized_keys:
      - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq0 ann@example.com
disable_root: false
chpasswd:
  expire: false
  users:
    - name: root
      password: \"$6$rounds=5000$saltsalt$abc/DEF.ghi\"
      type: hash
ssh_pwauth: false
"
    );
}

#[test]
fn meta_data_is_the_instance_and_its_name() {
    assert_eq!(made().meta_data, "instance-id: web-1730534400\nlocal-hostname: web\n");
}

#[test]
fn network_config_has_one_entry_for_each_interface() {
    assert_eq!(
        made().network_config,
        "\
version: 2
ethernets:
  eth0:
    match:
      macaddress: \"be:ef:0a:37:16:16\"
    addresses:
      - 10.55.22.22/24
      - \"fd00::22/64\"
    routes:
      - to: 0.0.0.0/0
        via: \"10.55.22.1\"
    nameservers:
      addresses:
        - \"8.8.8.8\"
        - \"fd00::53\"
  eth1:
    match:
      macaddress: \"be:f0:1f:01:da:37\"
    dhcp4: true
    dhcp-identifier: mac
    dhcp4-overrides:
      use-routes: false
      route-metric: 1000
    accept-ra: false
"
    );
}

#[test]
fn what_is_not_given_is_not_said() {
    let mut bare = seed();
    (bare.fqdn, bare.password_hash, bare.ssh_keys) = (None, None, Vec::new());
    bare.ssh_password_auth = true;
    let made = build_seed_files(&plan(), &bare, "i").unwrap();
    assert_eq!(
        made.user_data,
        "#cloud-config\nhostname: web\nusers:\n  - name: root\ndisable_root: false\nssh_pwauth: true\n"
    );
}

#[test]
fn names_that_look_like_numbers_stay_names() {
    let mut odd = seed();
    (odd.hostname, odd.fqdn) = ("123".into(), Some("0755".into()));
    let made = build_seed_files(&plan(), &odd, "1730534400").unwrap();
    assert!(made.user_data.contains("hostname: \"123\"\nfqdn: \"0755\"\n"), "{}", made.user_data);
    assert_eq!(made.meta_data, "instance-id: \"1730534400\"\nlocal-hostname: \"123\"\n");
}

#[test]
fn only_the_default_route_is_written_and_only_where_it_goes() {
    let mut plan = plan();
    plan.interfaces = vec![fixed("10.0.0.2/24", &[]), fixed("10.0.1.2/24", &[])];
    plan.interfaces[1].default_route = false;
    let text = build_seed_files(&plan, &seed(), "i").unwrap().network_config;
    assert!(value_at(&text, &["ethernets", "eth0", "routes"]).is_some());
    assert!(value_at(&text, &["ethernets", "eth1", "addresses"]).is_some());
    assert!(value_at(&text, &["ethernets", "eth1", "routes"]).is_none(), "{text}");
    assert_eq!(text.matches("via:").count(), 1, "{text}");
}

/// One that brings an IPv6 default route is for the interface that carries it, and for nobody who has a gateway.
#[test]
fn router_advertisements_are_for_the_interface_that_carries_the_default_route() {
    let accepts = |yaml: &str| -> Vec<bool> {
        let text = network_config(yaml);
        let refuses = |i| value_at(&text, &["ethernets", &format!("eth{i}"), "accept-ra"]).is_some();
        (0..text.matches("macaddress").count()).map(|i| !refuses(i)).collect()
    };
    const A: &str = "ip: 10.0.0.5/24, bridge: br0, gateway: 10.0.0.1";
    for (yaml, expected) in [
        (format!("[{{{A}}}]"), vec![false]),
        (format!("[{{{A}, addresses: ['2001:db8::5/64']}}]"), vec![true]),
        (format!("[{{{A}, addresses: ['2001:db8::5/64']}}, {{network: dual}}]"), vec![true, false]),
        (format!("[{{{A}}}, {{network: dual}}]"), vec![false, false]),
        (format!("[{{{A}}}, {{network: dual, defaultRoute: true}}]"), vec![false, true]),
        ("[{network: dual}]".into(), vec![true]),
        ("[{bridge: br0}]".into(), vec![true]),
        ("[{network: dual, defaultRoute: false}]".into(), vec![false]),
        (
            "[{ip: 10.0.0.5/24, bridge: br0, addresses: ['2001:db8::5/64'], defaultRoute: false}]".into(),
            vec![false],
        ),
        ("[{bridge: br0, addresses: ['2001:db8::5/64']}]".into(), vec![true]),
        ("[{bridge: br0, addresses: ['2001:db8::5/64'], gateway6: '2001:db8::1'}]".into(), vec![false]),
        (
            "[{network: dual}, {bridge: br0, addresses: ['2001:db8::5/64'], gateway6: '2001:db8::1'}]".into(),
            vec![false, false],
        ),
    ] {
        assert_eq!(accepts(&yaml), expected, "{yaml}");
    }
}

/// Two guests of one golden image have one machine-id, by which networkd would ask for one address.
#[test]
fn a_lease_is_asked_for_by_the_mac_address() {
    for yaml in [
        "[{network: n}]",
        "[{bridge: br0}]",
        "[{ip: 10.0.0.5/24, gateway: 10.0.0.1, bridge: br0}, {network: n}]",
    ] {
        let text = network_config(yaml);
        assert_eq!(
            text.matches("dhcp4: true").count(),
            text.matches("dhcp-identifier: mac").count(),
            "{text}"
        );
        assert!(text.contains("dhcp-identifier: mac"), "{text}");
    }
}

#[test]
fn what_an_interface_can_say_is_written_in_netplans_words() {
    let text = network_config(
        "[{ip: 203.0.113.7/32, addresses: ['2001:db8::7/64'], gateway: 203.0.113.1, gateway6: 'fe80::1', onLink: true, \
           bridge: br0, mtu: 9000, macAddress: 52-54-00-AB-CD-EF, dnsServers: ['2001:db8::53'], searchDomains: [Example.com, lab.]}]",
    );
    insta::assert_snapshot!(text, @r#"
    version: 2
    ethernets:
      eth0:
        match:
          macaddress: "52:54:00:ab:cd:ef"
        mtu: 9000
        addresses:
          - 203.0.113.7/32
          - "2001:db8::7/64"
        accept-ra: false
        routes:
          - to: 0.0.0.0/0
            via: "203.0.113.1"
            on-link: true
          - to: "::/0"
            via: "fe80::1"
        nameservers:
          search:
            - example.com
            - lab
          addresses:
            - "2001:db8::53"
    "#);
}

#[test]
fn a_gateway_is_on_the_link_only_where_no_network_holds_it() {
    for (yaml, count) in [
        ("[{ip: 10.0.0.5/24, gateway: 10.0.0.1, onLink: true, bridge: br0}]", 0),
        ("[{ip: 10.0.0.5/24, addresses: [203.0.113.6/29], gateway: 203.0.113.1, bridge: br0}]", 0),
        ("[{ip: 10.0.0.5/32, gateway: 10.9.0.1, onLink: true, bridge: br0}]", 1),
        ("[{bridge: br0, addresses: ['2001:db8::5/128'], gateway6: '2001:db8:1::1', onLink: true}]", 1),
    ] {
        assert_eq!(network_config(yaml).matches("on-link: true").count(), count, "{yaml}");
    }
}

#[test]
fn a_name_server_of_a_dhcp_interface_and_a_guest_without_interfaces() {
    let mut plan = plan();
    plan.interfaces[1].dns = vec!["1.1.1.1".parse().unwrap()];
    plan.interfaces[1].default_route = true;
    let text = build_seed_files(&plan, &seed(), "i").unwrap().network_config;
    assert!(
        text.ends_with("dhcp4: true\n    dhcp-identifier: mac\n    accept-ra: false\n    nameservers:\n      addresses:\n        - \"1.1.1.1\"\n"),
        "{text}"
    );
    plan.interfaces.clear();
    let text = build_seed_files(&plan, &seed(), "i").unwrap().network_config;
    assert_eq!(text, "version: 2\nethernets: {}\n");
}

#[test]
fn raw_user_data_is_taken_byte_for_byte() {
    let raw = "#!/bin/sh\r\necho \u{1f600}\t\n\n";
    let mut seed = seed();
    seed.user_data = UserData::Raw(raw.into());
    let made = build_seed_files(&plan(), &seed, "i").unwrap();
    assert_eq!(made.user_data, raw);
    assert_eq!(made.meta_data, "instance-id: i\nlocal-hostname: web\n");
}

#[test]
fn the_same_plan_and_instance_give_the_same_text() {
    assert_eq!(made(), made());
    assert_ne!(made(), build_seed_files(&plan(), &seed(), "web-2").unwrap());
}
