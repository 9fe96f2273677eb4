//! The limits of the values in a manifest.

use super::{by_foundry, judged, with};
use foundry::schema;

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
    (
        "spec.xmlPatch",
        &[
            "[]",
            "null",
            "[null]",
            "[{}]",
            "[{xpath: /domain/devices}]",
            "[{xpath: /domain/devices, add: <a/>}]",
            "[{xpath: /domain/devices, add: <a/>, replace: null}]",
            "[{xpath: /domain/devices, add: <a/>, replace: <b/>}]",
            "[{xpath: /domain/devices, add: <a/>, remove: true}]",
            "[{xpath: /domain/vcpu/@cpuset, replace: 2}]",
            "[{xpath: /domain/devices, remove: true}]",
            "[{xpath: /domain/devices, remove: false}]",
            "[{xpath: domain, remove: true}]",
            "[{xpath: /domain/devices, add: <a/>, pos: before}]",
            "{}",
        ],
    ),
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
    (
        "spec.graphics",
        &["null", "{}", "{type: vnc}", "{type: spice}", "{listen: 127.0.0.1}", "{listen: 0.0.0.0}", "vnc"],
    ),
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
