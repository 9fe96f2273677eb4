//! Compares disks and network interfaces.

use std::collections::BTreeSet;

use foundry_core::names::DiskSerial;
use foundry_core::plan::{BootSource, DataDiskPlan, InterfacePlan, Link, VmPlan};
use foundry_core::record::VolumeRole;
use foundry_core::units::{Bytes, GIB};
use foundry_core::xml_patch::PatchEntry;
use foundry_host::libvirt_xml::{DiskDescription, DomainDescription, InterfaceDescription};

use super::sides::{Differences, FIRST_BOOT, Ruling, Sides, Values, gib_text};
use crate::disk::own_disk::recorded_of;

/// Compares the boot disk and the data disks.
pub(super) fn compare_disks(sides: &Sides<'_>, differences: &mut Differences) {
    let (wanted, recorded) = (&sides.wanted.boot_disk, &sides.recorded.boot_disk);
    compare_disk_size(sides, differences, ("spec.bootDisk", "vda"), wanted.size, recorded.size);
    let source = |source: &BootSource| match source {
        BootSource::Empty => None,
        BootSource::Image(image) => Some(image.to_string()),
    };
    if !sides.is_same_image {
        let values = Values::recorded(source(&wanted.source), source(&recorded.source));
        differences.add(
            "spec.bootDisk.image",
            values,
            Ruling::repave("the boot disk was made from the image"),
        );
    }
    let format = |format: foundry_core::plan::DiskFormat| Some(format.as_str().to_owned());
    let values = Values::recorded(format(wanted.format), format(recorded.format));
    differences.add("spec.bootDisk.format", values, Ruling::repave("a disk keeps its format"));
    let old = &sides.recorded.data_disks;
    let targets: BTreeSet<_> =
        sides.wanted.data_disks.iter().chain(old).map(|disk| disk.target.clone()).collect();
    for target in targets {
        let of = |plan: &'_ VmPlan| plan.data_disks.iter().find(|disk| disk.target == target).cloned();
        match (of(sides.wanted), of(sides.recorded)) {
            (Some(wanted), Some(recorded)) => compare_data_disk(sides, differences, &wanted, &recorded),
            (Some(wanted), None) => add_new_disk(sides, differences, &wanted),
            (None, Some(recorded)) => {
                let path = disk_path(target.as_str());
                let values = Values::recorded(None, Some(disk_text(&recorded)));
                differences.add(path, values, Ruling::refused("its data would be lost; detach it first"));
            }
            (None, None) => {}
        }
    }
}

const SMALLER: &str = "a smaller disk would lose the data at its end";

fn disk_path(target: &str) -> String {
    format!("spec.dataDisks[{target}]")
}

fn disk_text(disk: &DataDiskPlan) -> String {
    format!("{} {}", disk.size, disk.format.as_str())
}

/// A disk that is in the domain already was attached by an earlier run that did not end, or by another program.
fn add_new_disk(sides: &Sides<'_>, differences: &mut Differences, disk: &DataDiskPlan) {
    let text = Some(disk_text(disk));
    let is_there = |described: &DomainDescription| described.disk(disk.target.as_str()).is_some();
    let values = Values { wanted: text, recorded: None, persistent: None, live: None };
    let ruling = match sides.volumes.iter().any(|v| v.disk_target().as_deref() == Some(disk.target.as_str()))
    {
        // The note of an interrupted attach: the same again finishes it.
        true => Ruling::LIVE,
        false if is_there(sides.next) || sides.live.is_some_and(is_there) => {
            Ruling::refused("another program attached a disk with that device")
        }
        false => Ruling::LIVE,
    };
    differences.add(disk_path(disk.target.as_str()), values, ruling);
}

fn compare_data_disk(
    sides: &Sides<'_>,
    differences: &mut Differences,
    wanted: &DataDiskPlan,
    recorded: &DataDiskPlan,
) {
    let target = wanted.target.as_str();
    let path = disk_path(target);
    let views: Vec<&DomainDescription> = sides.live.into_iter().chain([sides.next]).collect();
    let find = |described: &DomainDescription| -> Option<DiskDescription> {
        let is_it = |disk: &&DiskDescription| {
            let found = recorded_of(sides.volumes, &views, disk);
            found.is_some_and(|v| v.role == VolumeRole::Data && v.disk_target().as_deref() == Some(target))
        };
        described.disks.iter().find(is_it).cloned()
    };
    let (next, live) = (find(sides.next), sides.live.map(find));
    if next.is_none() {
        let text = Some(disk_text(recorded));
        let values = Values {
            wanted: text.clone(),
            recorded: text,
            persistent: Some(None),
            live: live.map(|disk| disk.map(|_| disk_text(recorded))),
        };
        let why = "another program detached it, and its volume may hold data";
        return differences.add(path, values, Ruling::refused(why));
    }
    compare_disk_size(sides, differences, (&path, target), wanted.size, recorded.size);
    let format = |disk: &DataDiskPlan| Some(disk.format.as_str().to_owned());
    let values = Values::recorded(format(wanted), format(recorded));
    differences.add(format!("{path}.format"), values, Ruling::refused("a disk keeps its format"));
    let serial =
        |disk: &DataDiskPlan| Some(disk.serial.as_ref().map_or(target, DiskSerial::as_str).to_owned());
    let is_part = |entry: &PatchEntry| entry.is_below(&["domain", "devices", "disk", "serial"]);
    let is_patched = sides.recorded.xml_patch.iter().any(is_part);
    let values = Values {
        wanted: serial(wanted),
        recorded: serial(recorded),
        persistent: (!is_patched).then(|| next.and_then(|disk| disk.serial)),
        live: live.filter(|_| !is_patched).map(|disk| disk.and_then(|disk| disk.serial)),
    };
    let ruling = match is_patched {
        true => Ruling::refused("spec.xmlPatch sets a serial number"),
        false => Ruling::NEXT_START,
    };
    differences.add(format!("{path}.serial"), values, ruling);
}

/// A larger disk than recorded was grown by another program; a disk never becomes smaller.
fn compare_disk_size(
    sides: &Sides<'_>,
    differences: &mut Differences,
    (path, target): (&str, &str),
    wanted: Bytes,
    recorded: Bytes,
) {
    // A manifest counts in whole GiB; a volume that foundry did not make may have any size.
    let actual = sides.capacities.get(target).map(|size| Bytes(size.0 / GIB * GIB));
    let text = |size: Bytes| Some(gib_text(size));
    let values =
        Values { wanted: text(wanted), recorded: text(recorded), persistent: actual.map(text), live: None };
    let ruling = match actual.unwrap_or(recorded) > wanted {
        true if path == "spec.bootDisk" => Ruling::repave(SMALLER),
        true => Ruling::refused(SMALLER),
        false => Ruling::LIVE,
    };
    differences.add(format!("{path}.sizeGiB"), values, ruling);
}

/// Compares the network interfaces.
pub(super) fn compare_interfaces(sides: &Sides<'_>, differences: &mut Differences) {
    let (wanted, recorded) = (&sides.wanted.interfaces, &sides.recorded.interfaces);
    for index in 0..wanted.len().max(recorded.len()) {
        let path = format!("spec.networkInterfaces[{index}]");
        match (wanted.get(index), recorded.get(index)) {
            (Some(wanted), Some(recorded)) => {
                compare_interface(sides, differences, (&path, index), wanted, recorded);
            }
            (new, old) => {
                let text = |interface: Option<&InterfacePlan>| interface.map(interface_text);
                let why = "a VM keeps its interfaces, also if it is repaved";
                differences.add(path, Values::recorded(text(new), text(old)), Ruling::refused(why));
            }
        }
    }
    let known: BTreeSet<String> = recorded.iter().map(|interface| interface.mac.to_string()).collect();
    // An interface that the patch adds may have an address that libvirt chose.
    let patched = sides.recorded.xml_patch.iter().map(|entry| entry.count_added_devices("interface")).sum();
    let others = sides.next.interfaces.iter().enumerate().skip(recorded.len());
    let others = others.filter_map(|(index, other)| Some((index, other.mac.clone()?)));
    for (index, mac) in others.filter(|(_, mac)| !known.contains(mac)).skip(patched) {
        let values = Values { wanted: None, recorded: None, persistent: Some(Some(mac)), live: None };
        let why = "another program attached it; virsh detach-interface removes it";
        differences.add(format!("spec.networkInterfaces[{index}]"), values, Ruling::refused(why));
    }
}

fn interface_text(interface: &InterfacePlan) -> String {
    match &interface.link {
        Link::Bridge(name) => format!("{} on bridge {name}", interface.mac),
        Link::Network(name) => format!("{} on network {name}", interface.mac),
    }
}

/// Finds an interface by its MAC address; if another program changed that, by its place.
pub(super) fn find_interface<'d>(
    described: &'d DomainDescription,
    recorded: &[InterfacePlan],
    index: usize,
) -> Option<&'d InterfaceDescription> {
    let mac = recorded.get(index)?.mac.to_string();
    let by_mac = described.interfaces.iter().find(|i| i.mac.as_deref() == Some(mac.as_str()));
    let is_nobodys =
        |i: &&InterfaceDescription| !recorded.iter().any(|known| Some(known.mac.to_string()) == i.mac);
    by_mac.or_else(|| described.interfaces.get(index).filter(is_nobodys))
}

fn compare_interface(
    sides: &Sides<'_>,
    differences: &mut Differences,
    (path, index): (&str, usize),
    wanted: &InterfacePlan,
    recorded: &InterfacePlan,
) {
    compare_addresses(sides, differences, (path, index), wanted, recorded);
    let find = |described| find_interface(described, &sides.recorded.interfaces, index);
    let (next, live) = (find(sides.next), sides.live.map(find));
    let of = |read: fn(&InterfaceDescription) -> Option<String>, value: [Option<String>; 2]| {
        let [wanted, recorded] = value;
        Values {
            wanted,
            recorded,
            persistent: Some(next.and_then(read)),
            live: live.map(|found| found.and_then(read)),
        }
    };
    // A manifest without a MAC address means the one that the VM has.
    if wanted.mac != recorded.mac && names_mac(sides.wanted, index)
        || next.and_then(|i| i.mac.clone()) != Some(recorded.mac.to_string())
    {
        let mac = if names_mac(sides.wanted, index) { wanted.mac } else { recorded.mac };
        let values = of(|i| i.mac.clone(), [Some(mac.to_string()), Some(recorded.mac.to_string())]);
        differences.add(
            format!("{path}.macAddress"),
            values,
            Ruling::refused("to the guest, another address is another interface"),
        );
    }
    let (field, is_bridge) = match &wanted.link {
        Link::Bridge(_) => ("bridge", true),
        Link::Network(_) => ("network", false),
    };
    let link = |link: &Link| match link {
        Link::Bridge(name) => link_text("bridge", name.as_str(), is_bridge),
        Link::Network(name) => link_text("network", name.as_str(), is_bridge),
    };
    let read = if is_bridge { read_link::<true> } else { read_link::<false> };
    let values = of(read, [Some(link(&wanted.link)), Some(link(&recorded.link))]);
    differences.add(format!("{path}.{field}"), values, Ruling::LIVE);
    compare_port(sides, differences, (path, index), wanted, recorded, &of);
}

fn names_mac(plan: &VmPlan, index: usize) -> bool {
    plan.manifest.spec.network_interfaces.get(index).is_some_and(|interface| interface.mac_address.is_some())
}

type ReadValues<'a> = &'a dyn Fn(fn(&InterfaceDescription) -> Option<String>, [Option<String>; 2]) -> Values;

/// MTU, VLAN and network boot. The link's own MTU and type are not in the manifest, and only a host knows them.
fn compare_port(
    sides: &Sides<'_>,
    differences: &mut Differences,
    (path, index): (&str, usize),
    wanted: &InterfacePlan,
    recorded: &InterfacePlan,
    of: ReadValues<'_>,
) {
    let number = |n: Option<u16>| n.map(|n| n.to_string());
    if wanted.mtu.is_some() || recorded.mtu.is_some() {
        let values = of(|i| i.mtu.map(|n| n.to_string()), [number(wanted.mtu), number(recorded.mtu)]);
        differences.add(format!("{path}.mtu"), values, Ruling::NEXT_START);
    }
    let values = of(|i| i.vlan.map(|n| n.to_string()), [number(wanted.vlan), number(recorded.vlan)]);
    differences.add(format!("{path}.vlan"), values, Ruling::NEXT_START);
    let port = |plan: &VmPlan| {
        let interface = plan.manifest.spec.network_interfaces.get(index);
        interface.and_then(|interface| interface.virtualport.clone())
    };
    let values = Values::recorded(port(sides.wanted), port(sides.recorded));
    differences.add(format!("{path}.virtualport"), values, Ruling::NEXT_START);
    let flag = |on: bool| Some(on.to_string());
    let values =
        of(|i| Some(i.boot_order.is_some().to_string()), [flag(wanted.pxe_boot), flag(recorded.pxe_boot)]);
    differences.add(format!("{path}.pxeBoot"), values, Ruling::NEXT_START);
}

fn link_text(kind: &str, name: &str, wants_bridge: bool) -> String {
    if (kind == "bridge") == wants_bridge { name.to_owned() } else { format!("{kind} {name}") }
}

fn read_link<const WANTS_BRIDGE: bool>(interface: &InterfaceDescription) -> Option<String> {
    Some(link_text(&interface.kind, interface.source.as_deref()?, WANTS_BRIDGE))
}

/// What cloud-init tells the guest. The manifest is compared as it was planned, so two ways to write the same are the
/// same.
fn compare_addresses(
    sides: &Sides<'_>,
    differences: &mut Differences,
    (path, index): (&str, usize),
    wanted: &InterfacePlan,
    recorded: &InterfacePlan,
) {
    let on_link = |plan: &VmPlan| {
        let interface = plan.manifest.spec.network_interfaces.get(index);
        interface.and_then(|interface| interface.on_link).unwrap_or_default().to_string()
    };
    let texts = |plan: &VmPlan, i: &InterfacePlan| {
        let text = |value: Option<String>| value;
        [
            ("ip", text(i.ip.map(|ip| ip.to_string()))),
            ("addresses", joined(&i.addresses)),
            ("gateway", i.gateway.map(|ip| ip.to_string())),
            ("gateway6", i.gateway6.map(|ip| ip.to_string())),
            ("onLink", Some(on_link(plan))),
            ("dnsServers", joined(&i.dns)),
            ("searchDomains", joined(&i.search)),
            ("defaultRoute", Some((i.default_route || i.default_route6).to_string())),
        ]
    };
    let pairs = texts(sides.wanted, wanted).into_iter().zip(texts(sides.recorded, recorded));
    for ((field, wanted), (_, recorded)) in pairs {
        differences.add(
            format!("{path}.{field}"),
            Values::recorded(wanted, recorded),
            Ruling::repave(FIRST_BOOT),
        );
    }
}

fn joined<T: ToString>(values: &[T]) -> Option<String> {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}
