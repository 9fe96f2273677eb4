//! VMs on libvirt's own networks and on VLANs, on a real libvirtd.

use std::time::Duration;

use crate::support::live::{Bed, program};

/// A network of libvirt's with addresses to give away, which leads nowhere.
fn network(bed: &Bed) -> String {
    let name = bed.name("net");
    let xml = format!(
        "<network><name>{name}</name><bridge name='fdtn0'/><ip address='10.77.9.1' netmask='255.255.255.0'>\
         <dhcp><range start='10.77.9.10' end='10.77.9.99'/></dhcp></ip></network>"
    );
    bed.virsh().defines("net-define", &xml);
    name
}

fn mac_of(bed: &Bed, vm: &str) -> String {
    let list = bed.virsh().does(&["domiflist", vm, "--inactive"]);
    list.split_whitespace().last().unwrap().to_owned()
}

/// Address, gateway and name server are the network's to give; the MAC comes from the VM's name.
#[test]
fn a_vm_on_a_network_gets_its_address_by_dhcp() {
    let Some(bed) = Bed::with_tiny("dhcp") else { return };
    let network = network(&bed);
    let manifest = bed.manifest("web", 0).interfaces(&[&format!("{{network: {network}}}")]);
    let vm = &manifest.name;
    let refused = bed.foundry(&["create", "-"]).reads(&manifest).run().exits(4).prints("");
    refused.mentions(&format!(
        "\n  spec.networkInterfaces[0].network: network '{network}' is not started\n    virsh net-start {network}\n  nothing was changed\n"
    ));
    bed.virsh().does(&["net-start", &network]);

    let made = bed.foundry(&["create", "-", "--wait=ip", "--timeout=2m"]).reads(&manifest).run().exits(0);
    let leases = bed.virsh().does(&["net-dhcp-leases", &network]);
    let lease: Vec<&str> = leases.split_whitespace().collect();
    let mac = mac_of(&bed, vm);
    assert!(mac.starts_with("be:f0:") && lease.contains(&mac.as_str()), "{mac}: {leases}");
    let ip = lease.iter().find_map(|word| word.strip_suffix("/24")).unwrap();
    assert!(ip.starts_with("10.77.9."), "{leases}");
    made.mentions(&format!("\nVM '{vm}' is ready: {ip}\n"));
    let list = bed.foundry(&["list", "--no-headers"]).run().exits(0).stdout;
    assert!(list.lines().any(|l| l.starts_with(vm.as_str()) && l.contains(&format!(" {ip} "))), "{list}");
    assert_eq!(bed.get(vm)["status"]["addresses"], serde_json::json!([{"address": ip, "source": "lease"}]));
    let guest = bed.guest(ip);
    guest.answers_within(Duration::from_secs(30));
    assert_eq!(guest.says("hostname"), *vm);

    // The same name has the same MAC, and so the same lease.
    bed.foundry(&["destroy", vm]).run().exits(0);
    bed.creates(&manifest);
    assert_eq!(mac_of(&bed, vm), mac);
}

/// From an image to a shell without a file: the pool's image is used, the name follows from it, and who has a key gets in.
#[test]
fn a_vm_is_launched_without_a_manifest() {
    let Some(bed) = Bed::with_tiny("launch") else { return };
    let network = network(&bed);
    bed.virsh().does(&["net-start", &network]);
    let image = bed.name("img.qcow2");
    bed.import(bed.tiny(), &image);
    let key = format!("{}.pub", crate::support::live::environment("FOUNDRY_TEST_SSH_KEY").unwrap());
    let size = ["--cpus", "1", "--memory", "0.25", "--disk", "1", "--network", &network, "--ssh-key", &key];
    let launch = |words: &[&str]| bed.foundry(&[&["launch"], words, &size[..]].concat());

    let vm = bed.name("img");
    let ran = launch(&[&vm, "--timeout", "3m"]).run().exits(0);
    let ran = ran.prints(&format!("Successfully created VM '{vm}'\n"));
    ran.mentions(&format!("Log in: foundry ssh {vm}; delete it: foundry destroy {vm}\n"));
    let manifest = bed.get(&vm);
    assert_eq!(manifest["spec"]["bootDisk"]["image"], image.as_str());
    let ip = manifest["status"]["addresses"][0]["address"].as_str().unwrap().to_owned();
    assert_eq!(bed.guest(&ip).says("hostname"), vm);

    // The name is taken, so the next one has a number.
    launch(&[&vm, "--no-wait"]).run().exits(0).prints(&format!("Successfully created VM '{vm}-2'\n"));
    launch(&[&bed.name("nosuch")]).run().exits(2).has_code("FND-2502").prints("");
    bed.foundry(&["destroy", &format!("{vm}*"), "--force", "--yes"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// A bridge that tells VLANs apart; gone with this.
struct VlanBridge(&'static str);

impl VlanBridge {
    /// `None` where the machine's kernel has no such bridges.
    fn new(name: &'static str) -> Option<Self> {
        let made = program("ip", &["link", "add", name, "type", "bridge", "vlan_filtering", "1"]);
        if made.code != 0 {
            println!("skipped: no bridge with VLAN filtering here: {}", made.stderr);
            return None;
        }
        let bridge = Self(name);
        program("ip", &["link", "set", name, "up"]).exits(0);
        Some(bridge)
    }
}

impl Drop for VlanBridge {
    fn drop(&mut self) {
        program("ip", &["link", "delete", self.0]);
    }
}

#[test]
fn a_vlan_is_set_on_the_tap() {
    let Some(bed) = Bed::with_tiny("vlan") else { return };
    let Some(bridge) = VlanBridge::new("fdtv0") else { return };
    let manifest = bed.manifest("web", 75);
    let interface = format!("{{ip: 10.77.0.75/24, gateway: 10.77.0.1, bridge: {}, vlan: 42}}", bridge.0);
    let manifest = manifest.interfaces(&[&interface]);
    bed.creates(&manifest);
    let vlans = program("bridge", &["vlan", "show", "dev", &manifest.tap()]).exits(0).stdout;
    assert!(vlans.contains("42 PVID Egress Untagged"), "{vlans}");
    bed.foundry(&["destroy", &manifest.name, "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// A bridge of Open vSwitch's; gone with this.
struct OpenVSwitch(&'static str);

impl OpenVSwitch {
    /// `None` where Open vSwitch does not run. Without its kernel module it works outside of the kernel.
    fn new(name: &'static str) -> Option<(Self, bool)> {
        let ovs = |arguments: &[&str]| {
            std::process::Command::new("ovs-vsctl").arg("--timeout=5").args(arguments).output()
        };
        if !ovs(&["show"]).is_ok_and(|ran| ran.status.success()) {
            println!("skipped: Open vSwitch does not run here");
            return None;
        }
        let in_kernel = std::path::Path::new("/sys/module/openvswitch").exists();
        let datapath = if in_kernel { "system" } else { "netdev" };
        let kind = format!("datapath_type={datapath}");
        let made = ovs(&["--may-exist", "add-br", name, "--", "set", "bridge", name, &kind]).unwrap();
        assert!(made.status.success(), "{made:?}");
        let bridge = Self(name);
        program("ip", &["link", "set", name, "up"]).exits(0);
        Some((bridge, in_kernel))
    }
}

impl Drop for OpenVSwitch {
    fn drop(&mut self) {
        program("ovs-vsctl", &["--timeout=5", "--if-exists", "del-br", self.0]);
    }
}

/// libvirt has Open vSwitch make the port, with its VLAN, and take it away. In the kernel its bridges are known by their
/// kind; outside of it the manifest says what it is.
#[test]
fn a_vm_gets_a_port_of_open_vswitch() {
    let Some(bed) = Bed::with_tiny("ovs") else { return };
    let Some((bridge, in_kernel)) = OpenVSwitch::new("fdto0") else { return };
    let manifest = bed.manifest("web", 78);
    let said = if in_kernel { "" } else { ", virtualport: openvswitch" };
    let interface =
        format!("{{ip: 10.77.0.78/24, gateway: 10.77.0.1, bridge: {}, vlan: 42{said}}}", bridge.0);
    let manifest = manifest.interfaces(&[&interface]);
    bed.creates(&manifest);
    let tap = manifest.tap();
    let ports = || program("ovs-vsctl", &["--timeout=5", "list-ports", bridge.0]).exits(0).stdout;
    assert_eq!(ports().trim(), tap);
    let tag = program("ovs-vsctl", &["--timeout=5", "get", "port", &tap, "tag"]).exits(0).stdout;
    assert_eq!(tag.trim(), "42");
    bed.foundry(&["destroy", &manifest.name, "--force"]).run().exits(0);
    assert_eq!(ports(), "");
    assert_eq!(bed.traces(), []);
}

/// A network-config of the manifest's own, with another label than the generated one, is what the guest goes by.
#[test]
fn a_network_config_of_ones_own_is_what_the_guest_has() {
    let Some(bed) = Bed::with_tiny("netconf") else { return };
    let mac = "52:54:00:77:00:4c";
    let interface = format!("{{ip: 10.77.0.76/24, macAddress: \"{mac}\", bridge: {}}}", bed.bridge());
    let manifest = bed.manifest("web", 76).interfaces(&[&interface]).cloud_init(&format!(
        "networkConfig:
  version: 2
  ethernets:
    uplink:
      match: {{macaddress: \"{mac}\"}}
      addresses: [10.77.0.76/24, 10.77.0.77/24]"
    ));
    let guest = bed.boots(&manifest);
    let addresses = guest.says("ip addr");
    assert!(addresses.contains(mac) && addresses.contains("10.77.0.76/24"), "{addresses}");
    assert!(addresses.contains("10.77.0.77/24"), "{addresses}");
    let routes = guest.says("ip route");
    assert!(!routes.contains("default"), "there is none in it: {routes}");
    let got = bed.foundry(&["get", &manifest.name, "-o", "yaml", "--with-secrets"]).run().exits(0).stdout;
    assert!(got.contains("uplink:") && got.contains("10.77.0.77/24"), "{got}");
    bed.foundry(&["destroy", &manifest.name]).run().exits(0);
    assert_eq!(bed.traces(), []);
}
