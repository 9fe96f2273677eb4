//! What several of the tests need: plans to make seeds of, and other people's programs.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::deadline::{ChildInTime as _, CommandInTime as _};
use foundry::manifest::VirtualMachine;
use foundry::names::{MacAddress, VmName};
use foundry::plan::{
    BootDiskPlan, BootSource, CpuMode, Defaults, DiskFormat, FirmwarePlan, InterfacePlan, Link, SeedPlan,
    UserData, VmPlan,
};
use foundry::units::Bytes;

/// A hash as `mkpasswd` makes them.
pub(crate) const HASH: &str = "$6$rounds=5000$saltsalt$abc/DEF.ghi";
/// A public key.
pub(crate) const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJq0 ann@example.com";

/// A VM with a static and a DHCP interface.
pub(crate) fn plan() -> VmPlan {
    let name: VmName = "web".parse().unwrap();
    VmPlan {
        labels: Default::default(),
        vcpus: 1,
        max_vcpus: 1,
        memory: Bytes(1 << 30),
        max_memory: Bytes(1 << 30),
        cpu_mode: CpuMode::HostModel,
        firmware: FirmwarePlan::Efi { secure_boot: false },
        arch: None,
        autostart: true,
        pool: "foundry-vms".parse().unwrap(),
        boot_disk: BootDiskPlan {
            volume: name.boot_volume(),
            size: Bytes(1 << 30),
            format: DiskFormat::Qcow2,
            source: BootSource::Empty,
        },
        data_disks: Vec::new(),
        interfaces: vec![fixed("10.55.22.22/24", &["fd00::22/64"]), dynamic(&name, 1)],
        seed: Some(seed()),
        warm: None,
        graphics: None,
        xml_patch: Vec::new(),
        manifest: VirtualMachine::default(),
        name,
    }
}

/// The network configuration of a VM with these interfaces, as they stand in a manifest.
pub(crate) fn network_config(interfaces: &str) -> String {
    let text = format!(
        "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: web}}\n\
         spec: {{vcpus: 1, memoryGiB: 1, bootDisk: {{sizeGB: 1, empty: true}}, networkInterfaces: {interfaces}}}\n"
    );
    let defaults = Defaults {
        vm_pool: "vms".parse().unwrap(),
        image_pool: "images".parse().unwrap(),
        pool_override: None,
        bridge: None,
        dns: Vec::new(),
    };
    let manifest = foundry::manifest::load_text(&text, "vm.yaml").unwrap().remove(0);
    let plan = VmPlan::from_manifest(&manifest, &defaults).unwrap();
    foundry::cloud_init::build_seed_files(&plan, &seed(), "i").unwrap().network_config
}

/// The network-config of the example that has one of its own.
pub(crate) fn own_network() -> String {
    let text = include_str!("../../../examples/network-config-vm.yaml");
    let manifest = foundry::manifest::load_text(text, "vm.yaml").unwrap().remove(0);
    foundry::cloud_init::check_network_config(&manifest.spec.cloud_init.unwrap().network_config.unwrap())
        .unwrap()
}

/// A seed with everything that can be generated.
pub(crate) fn seed() -> SeedPlan {
    SeedPlan {
        volume: "web_cloudinit".parse().unwrap(),
        hostname: "web".into(),
        fqdn: Some("web.example.com".into()),
        ssh_keys: vec![KEY.into()],
        password_hash: Some(HASH.into()),
        ssh_password_auth: false,
        user_data: UserData::Generated,
        network_config: None,
    }
}

/// An interface with addresses, the default route and two name servers.
pub(crate) fn fixed(ip: &str, more: &[&str]) -> InterfacePlan {
    let ip: ipnet::Ipv4Net = ip.parse().unwrap();
    InterfacePlan {
        link: Link::Bridge("br0".parse().unwrap()),
        mac: MacAddress::from_ipv4(ip.addr()),
        tap: None,
        ip: Some(ip),
        dhcp: false,
        addresses: more.iter().map(|a| a.parse().unwrap()).collect(),
        gateway: Some("10.55.22.1".parse().unwrap()),
        gateway6: None,
        default_route: true,
        default_route6: more.iter().any(|a| a.contains(':')),
        dns: vec!["8.8.8.8".parse().unwrap(), "fd00::53".parse().unwrap()],
        search: Vec::new(),
        mtu: None,
        link_mtu: None,
        vlan: None,
        on_open_vswitch: false,
        pxe_boot: false,
    }
}

/// An interface that asks for its address.
pub(crate) fn dynamic(name: &VmName, index: usize) -> InterfacePlan {
    InterfacePlan {
        link: Link::Network("default".parse().unwrap()),
        mac: MacAddress::from_name(name, index),
        tap: None,
        ip: None,
        dhcp: true,
        addresses: Vec::new(),
        gateway: None,
        gateway6: None,
        default_route: false,
        default_route6: false,
        dns: Vec::new(),
        search: Vec::new(),
        mtu: None,
        link_mtu: None,
        vlan: None,
        on_open_vswitch: false,
        pxe_boot: false,
    }
}

/// Says that a test does without a program; fails where the environment is to have it.
pub(crate) fn skip(what: &str) {
    assert!(std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() != Ok("1"), "{what} is needed and not there");
    eprintln!("skipped: {what} is not there");
}

/// A program of this machine's, by name.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = directories.map(|d| d.join(name)).find(|p| p.is_file());
    if found.is_none() {
        skip(name);
    }
    found
}

/// The Python whose PyYAML is asked: Debian's, or `FOUNDRY_TEST_PYTHON`.
pub(crate) fn python() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("FOUNDRY_TEST_PYTHON").unwrap_or("/usr/bin/python3".into()));
    let has_yaml = Command::new(&python).args(["-c", "import yaml; yaml.CSafeLoader"]).output_in_time();
    if has_yaml.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    skip("Python with PyYAML and libyaml");
    None
}

/// Runs a program with some input and returns its output.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output_in_time().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?} failed");
    output.stdout
}
