//! How a definition is edited, on text that libvirt wrote.

use super::*;
use crate::libvirt_xml::DomainDescription;

const WEB: &str = "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
  <memory unit='KiB'>1048576</memory>
  <vcpu placement='static' cpuset='0-1'>2</vcpu>
  <cpu mode='host-model' check='partial'><model fallback='allow'/><topology sockets='1' cores='2' threads='1'/></cpu>
  <devices>
<disk type='file'><source file='/a'/><target dev='vdb'/><serial>vdb</serial><address type='pci' bus='0x05'/></disk>
<interface type='bridge'><mac address='BE:ef:0a:37:16:16'/><source bridge='br0'/><target dev='vm0a371616'/>
  <address type='pci' bus='0x01'/></interface>
  </devices>
  <q:commandline><q:arg value='-x &amp; y'/></q:commandline>
</domain>";
const MAC: &str = "be:ef:0a:37:16:16";

/// Reads the changed text, after checking that nothing else is lost.
#[track_caller]
fn read(changed: &str) -> DomainDescription {
    for kept in ["bus='0x05'", "bus='0x01'", "-x &amp; y", "cpuset='0-1'", "vm0a371616", "sockets='1'"] {
        assert!(changed.contains(kept), "{kept} is lost in {changed}");
    }
    DomainDescription::read(changed).unwrap()
}

#[test]
fn cpus_are_a_number_and_a_maximum() {
    let grown = set_vcpus(WEB, 2, 4).unwrap();
    assert!(grown.contains("<vcpu placement='static' cpuset='0-1' current='2'>4</vcpu>"), "{grown}");
    let read = read(&set_vcpus(&grown, 3, 3).unwrap());
    assert_eq!((read.vcpus, read.max_vcpus), (3, 3));
    let listed = WEB.replace("<cpu ", "<vcpus><vcpu id='0' enabled='yes'/></vcpus><cpu ");
    assert!(!set_vcpus(&listed, 1, 2).unwrap().contains("<vcpus>"));
}

#[test]
fn memory_is_set_with_and_without_the_present_one() {
    let once = set_memory(WEB, Bytes(1 << 30), Bytes(2 << 30)).unwrap();
    let twice = set_memory(&once, Bytes(3 << 30), Bytes(3 << 30)).unwrap();
    for (text, sizes) in [(once, (1, 2)), (twice, (3, 3))] {
        let read = read(&text);
        assert_eq!((read.current_memory, read.memory), (Bytes(sizes.0 << 30), Bytes(sizes.1 << 30)));
    }
}

#[test]
fn a_cpu_keeps_its_topology() {
    let changed = set_cpu_mode(WEB, "host-passthrough").unwrap();
    assert_eq!(read(&changed).cpu_mode.as_deref(), Some("host-passthrough"));
    assert!(!changed.contains("fallback") && !changed.contains("check="), "{changed}");
    let bare = "<domain><name>a</name></domain>";
    assert_eq!(
        set_cpu_mode(bare, "maximum").unwrap(),
        "<domain><name>a</name><cpu mode='maximum'/></domain>"
    );
}

#[test]
fn a_disk_gets_another_serial() {
    let read = read(&set_disk_serial(WEB, "vdb", "a<b").unwrap());
    assert_eq!(read.disk("vdb").unwrap().serial.as_deref(), Some("a<b"));
    set_disk_serial(WEB, "vdc", "x").unwrap_err();
}

#[test]
fn a_disk_moves_to_another_file_without_its_old_chain() {
    let old = "<driver name='qemu' type='raw' cache='none'/><source file='/a' index='2'/>\
               <backingStore type='file'><format type='qcow2'/><source file='/base'/><backingStore/></backingStore>";
    let xml = WEB.replace("<source file='/a'/>", old);
    let moved = set_disk_file(&xml, "vdb", "/a & b.2", "qcow2").unwrap();
    let disk = read(&moved).disk("vdb").unwrap().clone();
    assert_eq!((disk.source.path(), disk.format.as_deref()), (Some("/a & b.2"), Some("qcow2")));
    assert!(disk.backing_chain.is_empty() && moved.contains("cache='none'"), "{moved}");
    set_disk_file(&xml, "vdc", "/a", "raw").unwrap_err();
    set_disk_file(WEB, "vdb", "/a", "raw").unwrap_err();
}

#[test]
fn a_generation_id_is_chosen_anew() {
    let with = WEB.replace("<memory", "<genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid><memory");
    assert!(renew_generation_id(&with).unwrap().contains("<genid/><memory"));
    assert_eq!(renew_generation_id(WEB).unwrap(), WEB);
}

#[test]
fn an_interface_moves_and_keeps_its_address() {
    let ovs = InterfaceLink::Bridge { name: "ovs'0", is_open_vswitch: true };
    let moved = set_interface_link(WEB, MAC, ovs).unwrap();
    let seen = read(&moved).interfaces[0].clone();
    assert_eq!((seen.kind.as_str(), seen.source.as_deref()), ("bridge", Some("ovs'0")));
    assert!(seen.is_open_vswitch);
    let back = set_interface_link(&moved, MAC, InterfaceLink::Network("default")).unwrap();
    let seen = read(&back).interfaces[0].clone();
    assert_eq!((seen.kind.as_str(), seen.source.as_deref()), ("network", Some("default")));
    assert!(!seen.is_open_vswitch);
    set_interface_link(WEB, "52:54:00:00:00:01", ovs).unwrap_err();
}

fn record_of(xml: &str) -> String {
    DomainDescription::read(xml).unwrap().record.unwrap()
}

#[test]
fn a_record_finds_its_place_wherever_there_is_one() {
    for metadata in [
        "",
        "<metadata/>",
        "<metadata></metadata>",
        "<metadata><x:y xmlns:x='z'/></metadata>",
        "<metadata><f:m xmlns:f='http://foundry.cofront.xyz/v1alpha1'>old</f:m></metadata>",
    ] {
        let xml = format!("<domain><name>a</name>{metadata}<memory>1</memory></domain>");
        let text = "a & <b> \"q\" 'x' ]]>\nünï";
        let once = set_record(&xml, text).unwrap();
        assert_eq!(record_of(&once), text, "{metadata}");
        assert_eq!(record_of(&set_record(&once, "new").unwrap()), "new");
        assert_eq!(once.contains("x:y"), metadata.contains("x:y"));
    }
}

#[test]
fn a_record_that_xml_cannot_carry_is_refused() {
    set_record("<domain><name>a</name></domain>", "a\u{1}b").unwrap_err();
}

#[test]
fn efi_variables_are_named_once() {
    let web = "<domain><name>web</name><os firmware='efi'><type>hvm</type></os></domain>";
    let named = set_nvram(web, "/v/a&b.fd").unwrap();
    assert_eq!(DomainDescription::read(&named).unwrap().nvram.as_deref(), Some("/v/a&b.fd"));
    assert_eq!(set_nvram(&named, "/other").unwrap(), named);
    let by_libvirt = web.replace("</os>", "<nvram template='/t'/></os>");
    let named = set_nvram(&by_libvirt, "/v/x").unwrap();
    assert_eq!(DomainDescription::read(&named).unwrap().nvram.as_deref(), Some("/v/x"));
    set_nvram("<domain><name>web</name></domain>", "/v").unwrap_err();
}

#[test]
fn a_console_log_moves_wherever_it_is_named() {
    let port = |kind| format!("<{kind} type='pty'><log file='/l/web.log' append='off'/></{kind}>");
    let xml = format!(
        "<domain><name>web</name><devices>{}{}<serial type='pty'/></devices></domain>",
        port("serial"),
        port("console")
    );
    let moved = set_console_log(&xml, "/l/a'b.log").unwrap();
    assert_eq!(DomainDescription::read(&moved).unwrap().console_log.as_deref(), Some("/l/a'b.log"));
    assert!(!moved.contains("web.log"), "{moved}");
}

#[test]
fn the_rest_of_an_interface_is_set_and_removed() {
    let set = set_interface_mtu(WEB, MAC, Some(9000)).unwrap();
    let set = set_interface_vlan(&set, MAC, Some(20)).unwrap();
    let set = set_interface_boot(&set, MAC, Some(2)).unwrap();
    let seen = read(&set).interfaces[0].clone();
    assert_eq!((seen.mtu, seen.vlan, seen.boot_order), (Some(9000), Some(20), Some(2)));
    let element = interface_element(&set, MAC).unwrap().unwrap();
    assert!(element.starts_with("<interface") && element.ends_with("</interface>"), "{element}");
    let unset = set_interface_mtu(&set, MAC, None).unwrap();
    let unset = set_interface_vlan(&unset, MAC, None).unwrap();
    assert_eq!(set_interface_boot(&unset, MAC, None).unwrap(), WEB);
}
