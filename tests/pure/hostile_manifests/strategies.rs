//! Strategies for manifests that are valid except for a few random values.

use foundry::manifest::{
    BootDisk, CloudInit, DataDisk, Firmware, Graphics, Metadata, NetworkInterface, Number, Resources, Spec,
    VirtualMachine, XmlPatch,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD a";

/// What somebody might write where one of `good` is meant.
fn text(good: &'static [&'static str]) -> impl Strategy<Value = String> {
    const HOSTILE: &[&str] = &[
        "",
        " ",
        "..",
        ".",
        "/",
        "../../etc/passwd",
        "a/b",
        "-rf",
        "--",
        "a\0b",
        "a\nb",
        "\u{1b}[2J",
        "é",
        "\u{202e}x",
        "$(id)",
        "'\"`",
        "<a>&amp;]]>",
        "{{7*7}}",
        "%s%n",
        "null",
        "~",
        "true",
        "0x41",
        "1e9",
        "::",
        ":",
        "=",
        ",",
        "\u{feff}",
        "\u{ffff}",
        "K",
    ];
    prop_oneof![
        80 => select(good).prop_map(str::to_owned),
        2 => select(HOSTILE).prop_map(str::to_owned),
        1 => ".{0,40}",
        1 => (select(good), any::<char>(), any::<prop::sample::Index>()).prop_map(|(word, stray, at)| {
            let mut chars: Vec<char> = word.chars().collect();
            chars.insert(at.index(chars.len() + 1), stray);
            chars.into_iter().collect()
        }),
    ]
}

fn number(good: &'static [i64]) -> impl Strategy<Value = Number> {
    prop_oneof![
        60 => select(good).prop_map(Number::Whole),
        1 => any::<i64>().prop_map(Number::Whole),
        1 => any::<f64>().prop_map(Number::Real),
        1 => select(&[0.5, 1.0, -0.0, f64::NAN, f64::INFINITY, 1e300, 9e15][..]).prop_map(Number::Real),
    ]
}

/// Present most of the time.
fn given<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    option::weighted(0.98, strategy)
}

/// Left out most of the time.
fn rarely<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    option::weighted(0.1, strategy)
}

/// For a field that can be wrong beside many others: rare enough that manifests without a fault stay many.
fn seldom<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    option::weighted(0.03, strategy)
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(&["role", "env", "a.b/c"]), text(&["web", "", "a b"]), 0..3)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let name = given(text(&["web", "db-1", "Web_1", " a1 "]));
    (name, words(), words(), option::of(0..=i64::MAX as u64)).prop_map(
        |(name, labels, annotations, generation)| Metadata {
            name,
            labels,
            annotations,
            generation,
            ..Metadata::default()
        },
    )
}

fn boot_disk() -> impl Strategy<Value = BootDisk> {
    let image = given(text(&["debian-12", "golden:debian-12", "/srv/images//debian-12.qcow2"]));
    let sizes = (given(number(&[1, 20, 500])), rarely(number(&[20])));
    let rest = (
        rarely(text(&["golden"])),
        seldom(text(&["ci", "golden:ci"])),
        rarely(any::<bool>()),
        rarely(text(&["qcow2", "raw"])),
    );
    (image, sizes, rest).prop_map(|(image, (size_gb, size_gib), (image_pool, warm, empty, format))| {
        BootDisk { size_gb, size_gib, image, image_pool, warm, empty, format }
    })
}

fn data_disk() -> impl Strategy<Value = DataDisk> {
    (given(text(&["vdb", "vdc", "vdd", "vde", "vdz"])), given(number(&[1, 100])))
        .prop_map(|(device, size_gb)| DataDisk { device, size_gb, ..DataDisk::default() })
}

fn interface() -> impl Strategy<Value = NetworkInterface> {
    const IPS: &[&str] = &["10.0.0.5/24", "10.0.0.6/24", "10.0.7.7/16", "10.0.8.8/16", "10.0.0.5/16"];
    const MORE: &[&str] = &["2001:db8::1/64", "2001:DB8:0::1/48", "10.9.0.1/32", "::ffff:10.0.0.5/96"];
    let addresses = (
        given(text(IPS)),
        vec(text(MORE), 0..2),
        given(text(&["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.9.0.1"])),
    );
    let links = prop_oneof![
        12 => text(&["br0", "br1"]).prop_map(|bridge| (Some(bridge), None)),
        3 => text(&["default"]).prop_map(|network| (None, Some(network))),
        1 => (option::of(text(&["br0"])), option::of(text(&["default"]))),
    ];
    let rest =
        (vec(text(&["1.1.1.1", "2606:4700::1111"]), 0..3), rarely(any::<bool>()), rarely(number(&[1, 4094])));
    let routes = (seldom(text(&["2001:db8::fe", "fe80::1", "10.0.0.1"])), seldom(any::<bool>()));
    let macs = &["52:54:00:00:00:01", "BE-EF-0A-00-00-05", "fe:00:00:00:00:01"];
    let words = (
        seldom(text(&["example.com", "_tcp.Example.org."])).prop_map(Vec::from_iter),
        seldom(text(macs)),
        seldom(number(&[68, 1280, 9000])),
        seldom(text(&["openvswitch"])),
    );
    (addresses, links, rest, option::of(any::<bool>()), routes, words).prop_map(
        |(
            (ip, addresses, gateway),
            (bridge, network),
            (dns_servers, default_route, vlan),
            pxe_boot,
            routes,
            words,
        )| {
            let ((gateway6, on_link), (search_domains, mac_address, mtu, virtualport)) = (routes, words);
            NetworkInterface {
                ip,
                addresses,
                gateway,
                gateway6,
                on_link,
                dns_servers,
                search_domains,
                bridge,
                network,
                mac_address,
                mtu,
                default_route,
                vlan,
                virtualport,
                pxe_boot,
            }
        },
    )
}

fn cloud_init() -> impl Strategy<Value = CloudInit> {
    const OTHER_KEYS: &[&str] =
        &[KEY, KEY, KEY, KEY, "from=\"10.0.0.0/8\" ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2EAAAAAAAAAAA=="];
    const HASHES: &[&str] = &[
        "$6$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "$y$j9T$a$b",
    ];
    const RAW: &[&str] = &["#cloud-config\n{}\n", "#!/bin/sh\n\ttrue\n", "#include\nhttp://x\n"];
    const MERGED: &[&str] = &["packages: [git]\n", "{a: 0755, on: yes}", "a: &a [x]\nb: *a\n"];
    const NETWORKS: &[&str] = &[
        "{version: 2}",
        "network: {version: 1, config: []}\n",
        "network: {config: disabled}",
        "{version: '2'}",
    ];
    let name = (option::of(text(&["web.example.com", "WEB.Example.org."])), vec(text(OTHER_KEYS), 0..3));
    let access = (rarely(text(HASHES)), rarely(any::<bool>()), rarely(any::<bool>()));
    (name, access, (rarely(text(RAW)), rarely(text(MERGED))), rarely(text(NETWORKS))).prop_map(
        |(
            (fqdn, ssh_authorized_keys),
            (password_hash, ssh_pwauth, ssh_password_auth),
            (raw_user_data, user_data),
            network_config,
        )| {
            CloudInit {
                fqdn,
                ssh_authorized_keys,
                password_hash,
                ssh_pwauth,
                ssh_password_auth,
                raw_user_data,
                user_data,
                network_config,
            }
        },
    )
}

/// Of an entry, the place and the change; one in ten has both changes.
fn xml_patch() -> impl Strategy<Value = XmlPatch> {
    const PLACES: &[&str] =
        &["/domain/devices", "/domain/features", "/domain/*[1]", "/domain/devices/rng[1]"];
    const FRAGMENTS: &[&str] =
        &["<watchdog model='i6300esb'/>", "<a><![CDATA[<]]></a><!-- b -->", "<qemu:commandline/>"];
    let change = (text(FRAGMENTS), 0..10);
    (given(text(PLACES)), change).prop_map(|(xpath, (fragment, kind))| XmlPatch {
        xpath,
        add: (kind < 6).then(|| fragment.clone()),
        replace: (kind == 6 || kind == 0).then_some(fragment),
        remove: (kind > 6).then_some(true),
    })
}

prop_compose! {
    fn spec()(
        sizes in (given(number(&[1, 4096])), given(number(&[1, 16]))),
        room in (rarely(number(&[4, 4096])), rarely(number(&[16, 32]))),
        boot_disk in given(boot_disk()),
        data_disks in vec(data_disk(), 0..3),
        network_interfaces in prop_oneof![8 => vec(interface(), 1..3), 1 => Just(vec![])],
        cloud_init in option::of(cloud_init()),
        rest in (rarely(text(&["host-model", "host-passthrough"])), option::of(any::<bool>()), rarely(text(&["ssd"]))),
        xml_patch in prop_oneof![4 => Just(vec![]), 1 => vec(xml_patch(), 1..3)],
        platform in (rarely(text(&["efi", "bios"])), rarely(any::<bool>()), rarely(text(&["x86_64", "aarch64"]))),
        screen in rarely((rarely(text(&["vnc"])), rarely(text(&["socket", "127.0.0.1"])))),
    ) -> Spec {
        let ((vcpus, memory_gib), (cpu_mode, autostart, storage_pool)) = (sizes, rest);
        let (kind, secure_boot, arch) = platform;
        let firmware = Some(Firmware { kind, secure_boot });
        let (max_vcpus, max_memory_gib) = room;
        let resources = Some(Resources { max_vcpus, max_memory_gib });
        let graphics = screen.map(|(kind, listen)| Graphics { kind, listen });
        Spec { vcpus, memory_gib, resources, boot_disk, data_disks, network_interfaces, cloud_init, cpu_mode, autostart, storage_pool, firmware, arch, graphics, xml_patch }
    }
}

pub(super) fn manifest() -> impl Strategy<Value = VirtualMachine> {
    (metadata(), spec()).prop_map(|(metadata, spec)| VirtualMachine {
        api_version: foundry::manifest::API_VERSION.to_owned(),
        kind: foundry::manifest::KIND.to_owned(),
        metadata,
        spec,
        status: None,
    })
}
