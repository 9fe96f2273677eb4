//! What a plan says for manifests that are in order.

use crate::support::manifests;
use foundry::manifest::{CloudInit, Graphics, VirtualMachine, load_text};
use foundry::plan::{
    Arch, BootSource, CpuMode, Defaults, DiskFormat, FirmwarePlan, InterfacePlan, Link, UserData, VmPlan,
    VncListen,
};
use foundry::units::{Bytes, GIB};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD alice@example.com";

/// A plan of a minimal manifest in which parts are replaced.
fn plan_with(replacements: &[(&str, &str)], defaults: &Defaults) -> VmPlan {
    const MINIMAL: &str = "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\n\
        metadata: {name: web}\nspec:\n  vcpus: 2\n  memoryGiB: 2\n  bootDisk: {sizeGB: 20, image: debian-12}\n  \
        networkInterfaces: [{ip: 10.0.0.5/24, gateway: 10.0.0.1, bridge: br0}]\n";
    let mut text = MINIMAL.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from:?} is not in the manifest");
        text = text.replace(from, to);
    }
    let manifests = load_text(&text, "vm.yaml").unwrap_or_else(|e| panic!("{e}\n{text}"));
    VmPlan::from_manifest(&manifests[0], defaults).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn plan(replacements: &[(&str, &str)]) -> VmPlan {
    plan_with(replacements, &manifests::defaults())
}

fn with_spec(lines: &str) -> VmPlan {
    plan(&[("spec:\n", &format!("spec:\n{lines}\n"))])
}

fn interfaces(yaml: &str) -> Vec<InterfacePlan> {
    plan(&[("[{ip: 10.0.0.5/24, gateway: 10.0.0.1, bridge: br0}]", yaml)]).interfaces
}

fn image(boot_disk: &str) -> String {
    match plan(&[("image: debian-12", boot_disk)]).boot_disk.source {
        BootSource::Image(image) => image.to_string(),
        BootSource::Empty => "empty".to_owned(),
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let plan = plan(&[]);
    assert_eq!((plan.vcpus, plan.memory), (2, Bytes(2 * GIB)));
    assert_eq!((plan.cpu_mode, plan.autostart, plan.arch), (CpuMode::HostModel, true, None));
    assert_eq!(plan.firmware, FirmwarePlan::Efi { secure_boot: false });
    assert_eq!(plan.pool.as_str(), "foundry-vms");
    assert_eq!(plan.boot_disk.format, DiskFormat::Qcow2);
    assert_eq!((plan.boot_disk.volume.as_str(), plan.boot_disk.size), ("web_boot", Bytes(20 * GIB)));
    assert_eq!((plan.data_disks, plan.seed), (vec![], None));
    let nic = &plan.interfaces[0];
    assert_eq!((nic.default_route, nic.vlan, nic.pxe_boot), (true, None, false));
}

#[test]
fn what_is_given_is_taken() {
    let plan = with_spec(
        "  cpuMode: host-passthrough\n  autostart: false\n  storagePool: ssd\n  arch: aarch64\n  \
         firmware: {secureBoot: true}\n  dataDisks: [{device: vdc, sizeGiB: 7}]",
    );
    assert_eq!(
        (plan.cpu_mode, plan.autostart, plan.arch),
        (CpuMode::HostPassthrough, false, Some(Arch::Aarch64))
    );
    assert_eq!((plan.pool.as_str(), plan.firmware), ("ssd", FirmwarePlan::Efi { secure_boot: true }));
    let disk = &plan.data_disks[0];
    assert_eq!(
        (disk.target.as_str(), disk.volume.as_str(), disk.size),
        ("vdc", "web_data-vdc", Bytes(7 * GIB))
    );
    let bios = with_spec("  firmware: {type: bios}\n  arch: x86_64");
    assert_eq!((bios.firmware, bios.arch), (FirmwarePlan::Bios, Some(Arch::X86_64)));
}

#[test]
fn the_limits_themselves_are_allowed() {
    let memory = |gib: &str| plan(&[("memoryGiB: 2", &format!("memoryGiB: {gib}"))]).memory;
    assert_eq!(memory("0.0625"), Bytes(64 << 20));
    assert_eq!(memory("4194304"), Bytes(1 << 52));
    assert_eq!(memory("0.1").0 % 1024, 0);
    assert_eq!(memory("0.1"), Bytes(104_858 * 1024), "the nearest KiB");
    assert_eq!(plan(&[("vcpus: 2", "vcpus: 4096")]).vcpus, 4096);
    assert_eq!(plan(&[("vcpus: 2", "vcpus: 4.0")]).vcpus, 4);
    let largest = plan(&[("sizeGB: 20", "sizeGB: 8589934591")]).boot_disk.size;
    assert_eq!(largest, Bytes(8_589_934_591 * GIB));
    assert_eq!(plan(&[("sizeGB: 20", "sizeGB: 1, sizeGiB: 1.0")]).boot_disk.size, Bytes(GIB));
}

#[test]
fn images_are_named_in_three_ways() {
    assert_eq!(image("image: debian-12"), "foundry-images:debian-12");
    assert_eq!(image("image: debian-12, imagePool: golden"), "golden:debian-12");
    assert_eq!(image("image: 'golden:debian-12'"), "golden:debian-12");
    assert_eq!(image("image: 'golden:debian-12', imagePool: golden"), "golden:debian-12");
    assert_eq!(image("image: 'golden:12:1'"), "golden:12:1");
    assert_eq!(image("image: /srv//images/./debian-12.qcow2"), "/srv/images/debian-12.qcow2");
    assert_eq!(image("image: '/srv/a:b'"), "/srv/a:b");
    assert_eq!(image("empty: true"), "empty");
    assert_eq!(image("image: debian-12, empty: false"), "foundry-images:debian-12");
}

#[test]
fn addresses_name_mac_and_tap() {
    let nics = interfaces(
        "[{ip: 10.55.22.22/24, bridge: br0, defaultRoute: false}, {network: default}, {network: lab}]",
    );
    assert_eq!(
        (nics[0].mac.to_string().as_str(), nics[0].tap.as_deref()),
        ("be:ef:0a:37:16:16", Some("vm0a371616"))
    );
    assert_eq!((nics[1].tap.as_deref(), nics[1].ip), (None, None));
    assert!(nics[1].mac.to_string().starts_with("be:f0:"));
    assert_ne!(nics[1].mac, nics[2].mac);
    assert_eq!(nics[0].link, Link::Bridge("br0".parse().unwrap()));
    assert_eq!(nics[1].link, Link::Network("default".parse().unwrap()));
}

#[test]
fn one_interface_carries_the_default_route() {
    let routes = |yaml: &str| -> Vec<bool> { interfaces(yaml).iter().map(|nic| nic.default_route).collect() };
    const A: &str = "ip: 10.0.0.5/24, bridge: br0, gateway: 10.0.0.1";
    const B: &str = "ip: 10.1.0.5/24, bridge: br1, gateway: 10.1.0.1";
    const PLAIN: &str = "ip: 10.2.0.5/24, bridge: br2";
    const DHCP: &str = "network: default";
    assert_eq!(routes(&format!("[{{{PLAIN}}}, {{{A}}}, {{{B}}}]")), [false, true, false]);
    assert_eq!(routes(&format!("[{{{A}}}, {{{B}, defaultRoute: true}}]")), [false, true]);
    assert_eq!(routes(&format!("[{{{A}, defaultRoute: false}}, {{{B}}}]")), [false, true]);
    assert_eq!(
        routes(&format!("[{{{A}, defaultRoute: false}}, {{{B}, defaultRoute: false}}]")),
        [false, false]
    );
    assert_eq!(routes(&format!("[{{{DHCP}}}]")), [true]);
    assert_eq!(routes(&format!("[{{{DHCP}}}, {{{A}}}]")), [false, true]);
    assert_eq!(routes(&format!("[{{{DHCP}, defaultRoute: true}}, {{{A}}}]")), [true, false]);
    assert_eq!(routes(&format!("[{{{DHCP}, defaultRoute: false}}, {{{DHCP}}}]")), [false, true]);
    assert_eq!(routes(&format!("[{{{PLAIN}, defaultRoute: false}}]")), [false]);
    assert_eq!(routes("[{network: default, ip: 192.168.122.5/24}]"), [false]);
}

#[test]
fn all_that_an_interface_can_say_is_taken() {
    let nics = interfaces(
        "[{ip: 10.0.0.5/31, gateway: 10.0.0.4, bridge: br0.100, vlan: 4094, pxeBoot: true, \
           addresses: ['2001:db8::5/64', 10.9.0.1/32], dnsServers: [1.1.1.1, '2606:4700::1111', 127.0.0.53]}]",
    );
    let nic = &nics[0];
    assert_eq!(nic.ip.unwrap().to_string(), "10.0.0.5/31");
    assert_eq!(nic.gateway.unwrap().to_string(), "10.0.0.4");
    assert_eq!((nic.vlan, nic.pxe_boot), (Some(4094), true));
    let addresses: Vec<String> = nic.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["2001:db8::5/64", "10.9.0.1/32"]);
    assert_eq!(nic.dns.len(), 3);
}

#[test]
fn the_same_host_part_in_two_networks_is_not_a_duplicate() {
    let nics =
        interfaces("[{ip: 10.0.0.5/24, bridge: br0, gateway: 10.0.0.1}, {ip: 10.0.1.5/24, bridge: br0}]");
    assert_ne!(nics[0].mac, nics[1].mac);
}

#[test]
fn names_are_normalized_in_plan_and_manifest() {
    let plan = plan(&[
        (
            "{name: web}",
            "{name: ' Web_1 ', uid: x, generation: 4, creationTimestamp: y, labels: {a: b}, annotations: {c: d}}",
        ),
        ("spec:\n", "spec:\n  cloudInit: {fqdn: WWW.Example.COM.}\n"),
    ]);
    assert_eq!(plan.name.as_str(), "web_1");
    let seed = plan.seed.unwrap();
    assert_eq!((seed.hostname.as_str(), seed.fqdn.as_deref()), ("www", Some("www.example.com")));
    assert_eq!(seed.volume.as_str(), "web_1_cloudinit");
    let metadata = &plan.manifest.metadata;
    assert_eq!((metadata.name.as_deref(), metadata.uid.as_deref()), (Some("web_1"), None));
    assert_eq!((metadata.generation, metadata.creation_timestamp.as_deref()), (None, None));
    assert_eq!(
        (&plan.labels, &metadata.labels, metadata.annotations["c"].as_str()),
        (&metadata.labels, &plan.labels, "d")
    );
    assert_eq!(plan.manifest.spec.cloud_init.unwrap().fqdn.as_deref(), Some("www.example.com"));
}

#[test]
fn a_pool_that_was_asked_for_beats_the_manifest() {
    let defaults = Defaults { pool_override: Some("fast".parse().unwrap()), ..manifests::defaults() };
    let plan = plan_with(&[("spec:\n", "spec:\n  storagePool: slow\n")], &defaults);
    assert_eq!(plan.pool.as_str(), "fast");
    assert_eq!(plan.manifest.spec.storage_pool.as_deref(), Some("fast"));
}

#[test]
fn a_seed_needs_nothing_but_the_wish() {
    let seed = with_spec("  cloudInit: {}").seed.unwrap();
    assert_eq!((seed.hostname.as_str(), seed.fqdn, seed.password_hash), ("web", None, None));
    assert_eq!((seed.ssh_keys, seed.ssh_password_auth, seed.user_data), (vec![], false, UserData::Generated));
}

#[test]
fn what_is_said_to_cloud_init_arrives() {
    let hash = format!("$6$rounds=5000$salt$./{}", "a".repeat(84));
    let seed = with_spec(&format!(
        "  cloudInit:\n    sshAuthorizedKeys:\n      - |\n        {KEY}\n    passwordHash: {hash}\n    sshPasswordAuth: true\n    userData: {{packages: [git]}}"
    ))
    .seed
    .unwrap();
    assert_eq!(seed.ssh_keys, [KEY]);
    assert_eq!((seed.password_hash, seed.ssh_password_auth), (Some(hash), true));
    assert!(matches!(seed.user_data, UserData::Merged(text) if text.contains("git")));
    assert!(
        with_spec("  cloudInit: {sshPwauth: true, sshPasswordAuth: true}").seed.unwrap().ssh_password_auth
    );
}

#[test]
fn raw_user_data_is_kept_to_the_byte_beside_what_it_replaces() {
    let seed = with_spec(&format!(
        "  cloudInit:\n    fqdn: web.example.com\n    sshAuthorizedKeys: [{KEY}]\n    rawUserData: \"#!/bin/sh\\n\\techo  '<&>' \\n\""
    ))
    .seed
    .unwrap();
    assert_eq!(seed.user_data, UserData::Raw("#!/bin/sh\n\techo  '<&>' \n".to_owned()));
    assert_eq!(seed.hostname, "web");
}

/// What is said about one text of a manifest that is otherwise in order.
fn refusal(change: impl FnOnce(&mut VirtualMachine)) -> String {
    let mut manifest = plan(&[]).manifest;
    change(&mut manifest);
    VmPlan::from_manifest(&manifest, &manifests::defaults()).unwrap_err().to_string()
}

#[test]
fn texts_have_limits() {
    let said = refusal(|vm| vm.spec.cpu_mode = Some("x".repeat(5000)));
    assert!(said.contains("spec.cpuMode: \"xxx") && said.contains("must be host-model"), "{said}");
    let said = refusal(|vm| vm.spec.storage_pool = Some("x".repeat(5000)));
    assert!(said.contains("has 5000 bytes; the maximum is 4096"), "{said}");
    let said = refusal(|vm| {
        let halves = ["a", "b"].map(|key| (key.to_owned(), "x".repeat(200 << 10)));
        vm.metadata.annotations = halves.into();
    });
    assert!(
        said.contains("metadata.annotations: have 409602 bytes together; the maximum is 262144"),
        "{said}"
    );
    let said = refusal(|vm| {
        let raw_user_data = Some(format!("#cloud-config\n#{}", "x".repeat(1 << 20)));
        vm.spec.cloud_init = Some(CloudInit { raw_user_data, ..CloudInit::default() });
    });
    assert!(said.contains("rawUserData: has 1048591 bytes; the maximum is 1048576"), "{said}");
    // No message carries the whole text.
    assert!(said.len() < 300, "{said}");
}

#[test]
fn a_manifest_is_the_same_after_a_stay_in_json() {
    let manifest = with_spec("  dataDisks: [{device: vdb, sizeGB: 7}]\n  firmware: {type: efi}").manifest;
    let text = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<VirtualMachine>(&text).unwrap(), manifest);
    let huge: VirtualMachine =
        serde_json::from_str(&text.replace("\"vcpus\":2", "\"vcpus\":18446744073709551615")).unwrap();
    assert_eq!(huge.spec.vcpus.unwrap().to_u64(), None);
}

#[test]
fn a_screen_is_vnc_on_a_socket_unless_it_is_said() {
    let listen = |graphics: &str| {
        plan_with(&[("vcpus: 2", &format!("vcpus: 2\n  graphics: {graphics}"))], &manifests::defaults())
            .graphics
    };
    assert_eq!(plan_with(&[], &manifests::defaults()).graphics, None);
    assert_eq!(listen("{}"), Some(VncListen::Socket));
    assert_eq!(listen("{type: vnc, listen: 127.0.0.1}"), Some(VncListen::Loopback));
    let said = refusal(|vm| {
        let graphics = Graphics { kind: Some("spice".into()), listen: Some("0.0.0.0".into()) };
        vm.spec.graphics = Some(graphics);
    });
    assert!(said.contains("spec.graphics.type: \"spice\" must be vnc"), "{said}");
    assert!(said.contains("spec.graphics.listen: \"0.0.0.0\" must be socket or 127.0.0.1"), "{said}");
}
