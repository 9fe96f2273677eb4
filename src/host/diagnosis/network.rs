//! Bridges, taps, networks, addresses and ports.

use super::words::{has_any, interface_name, named_after, text_between};
use super::{Diagnosis, Evidence};
use foundry_core::error::Code;
use foundry_core::text::quote_for_shell;

/// The largest MTU of a tap device (Linux, drivers/net/tun.c: 65535 less an Ethernet header).
const TAP_MTU: u32 = 65_521;

/// libvirt creates each tap itself and refuses an existing one (since 8.10; before that, one that was open).
pub(super) fn tap_taken(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let there = text_between(text, "The ", " interface already exists");
    let busy = || {
        let device = text_between(text, "Unable to create tap device ", ":")?;
        has_any(text, &["Device or resource busy", "Invalid argument"]).then_some(device)
    };
    let tap = interface_name(there.or_else(busy)?)?;
    Some(
        Diagnosis::new(
            Code::TapTaken,
            format!("the host has a network interface {tap}, which is the name of the VM's tap"),
        )
        .hint(format!(
            "ip -details link show {tap} shows what it is; if nobody needs it: ip link delete {tap}"
        )),
    )
}

/// No tap can be created at all.
pub(super) fn tap_refused(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    if text.contains("is tun module loaded?") {
        return Some(
            Diagnosis::new(
                Code::TapRefused,
                "the host's kernel cannot create tap devices: its module tun is missing",
            )
            .hint("modprobe tun there; after an upgrade of its kernel, restart the host"),
        );
    }
    if let Some((cause, hint)) = helper_refused(text, evidence) {
        return Some(Diagnosis::new(Code::TapRefused, cause).hint(hint));
    }
    let is_one = has_any(text, &["Unable to create tap device", "Unable to create tap interface"]);
    (is_one && text.contains("Operation not permitted")).then(|| {
        Diagnosis::new(Code::TapRefused, "this libvirt may not create tap devices")
            .hint("bridges need the system's libvirt: --connect qemu:///system")
    })
}

/// Messages of QEMU's bridge helper, which connects session guests to bridges (qemu, qemu-bridge-helper.c).
fn helper_refused(text: &str, evidence: &Evidence) -> Option<(&'static str, String)> {
    text.contains("bridge-helper").then_some(())?;
    if text.contains("acl file") {
        let asked = evidence.asked.bridges.first().map(String::as_str);
        let bridge = text_between(text, "--br=", " ").or(asked).and_then(interface_name);
        return Some((HELPER_REFUSES, allow_in_helper(bridge.unwrap_or("BRIDGE"))));
    }
    if text.contains("failed to create tun device: Operation not permitted") {
        return Some((
            "QEMU's bridge helper may not create tap devices, because it does not run as root",
            format!("{HELPER_AS_ROOT}; or use --connect qemu:///system"),
        ));
    }
    has_any(text, &["is not a suitable bridge helper", "cannot execute binary"]).then_some((
        "QEMU's bridge helper is missing, which session guests need for bridges",
        "it belongs to qemu-system-common (Fedora: qemu-common); or use --connect qemu:///system".to_owned(),
    ))
}

/// The bridge helper's refusal of a bridge.
pub const HELPER_REFUSES: &str = "QEMU's bridge helper does not let this user use that bridge";

/// Gives a new group the helper with root's rights, kept over upgrades (dpkg-statoverride(1)).
pub const HELPER_AS_ROOT: &str = "as root, for the members of a new group: groupadd --system qemu-bridge && usermod -aG qemu-bridge USER && dpkg-statoverride --update --add root qemu-bridge 4750 /usr/lib/qemu/qemu-bridge-helper (Fedora's may do so already)";

/// The line in the helper's configuration that allows a bridge.
pub fn allow_in_helper(bridge: &str) -> String {
    format!(
        "as root: mkdir -p /etc/qemu && echo {} >>/etc/qemu/bridge.conf, for all who may run the helper; or use --connect qemu:///system",
        quote_for_shell(&format!("allow {bridge}"))
    )
}

/// A tap gets the MTU of its bridge, which may be larger than a tap supports.
pub(super) fn mtu_refused(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    has_any(text, &["Cannot set interface MTU", "cannot set MTU", "failed to set mtu"]).then_some(())?;
    let Some((bridge, mtu)) = evidence.mtus.iter().find(|(_, mtu)| *mtu > TAP_MTU) else {
        return Some(
            Diagnosis::new(Code::MtuRefused, "the host refuses the MTU that its bridge has for the VM's tap")
                .hint("ip link show type bridge shows the MTUs; a bridge passes no larger frame than the smallest of its ports"),
        );
    };
    Some(
        Diagnosis::new(
            Code::MtuRefused,
            format!("bridge '{bridge}' has an MTU of {mtu}, and a VM's tap can have {TAP_MTU} at most"),
        )
        .hint(format!("ip link set {} mtu {TAP_MTU}", quote_for_shell(bridge))),
    )
}

pub(super) fn bridge_missing(text: &str, _: &Evidence) -> Option<Diagnosis> {
    if let Some(device) = text_between(text, "Unable to add bridge ", " port ").and_then(interface_name)
        && text.contains("Operation not supported")
    {
        return Some(
            Diagnosis::new(Code::BridgeMissing, format!("'{device}' on the host is not a Linux bridge"))
                .hint("ip -br link show type bridge lists the bridges"),
        );
    }
    let device = missing_device(text).and_then(interface_name)?;
    Some(Diagnosis::new(Code::BridgeMissing, format!("the host has no bridge '{device}'")).hint(format!(
        "ip -br link show type bridge lists them; ip link add {device} type bridge && ip link set {device} up makes one until the host restarts"
    )))
}

/// The device in messages of libvirt, older versions, and QEMU's bridge helper.
fn missing_device(text: &str) -> Option<&str> {
    text.contains("No such device").then_some(())?;
    named_after(text, "Cannot get interface MTU on ")
        .or_else(|| named_after(text, "Cannot get interface flags on "))
        .or_else(|| text_between(text, "Unable to add bridge ", " port "))
        .or_else(|| text_between(text, "failed to get mtu of bridge `", "'"))
}

pub(super) fn network_missing(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let network = named_after(text, "no network with matching name ")?;
    Some(
        Diagnosis::new(Code::NetworkMissing, format!("there is no network '{network}'"))
            .hint("virsh net-list --all lists them"),
    )
}

pub(super) fn network_inactive(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let network = named_after(text, "network ").filter(|_| text.contains("is not active"))?;
    Some(
        Diagnosis::new(Code::NetworkInactive, format!("network '{network}' is not started"))
            .hint(format!("virsh net-start {}", quote_for_shell(network))),
    )
}

/// libvirt refuses a MAC address that another device of the domain, or of the network, has.
pub(super) fn mac_taken(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let is_one = text.contains("device matching mac address") && text.contains("already exists");
    let is_host = text.contains("existing dhcp host entry");
    (is_one || is_host).then(|| {
        Diagnosis::new(Code::MacTaken, "another device has that MAC address")
            .hint("choose another address in spec.networkInterfaces, or another mac")
    })
}

/// A VNC port, if somebody gave the domain a graphical console.
pub(super) fn port_taken(text: &str, _: &Evidence) -> Option<Diagnosis> {
    if text.contains("Unable to find an unused port in range") {
        return Some(
            Diagnosis::new(Code::PortTaken, "all ports for graphical consoles on the host are taken").hint(
                "ss -ltnp shows who has them; remote_display_port_max in /etc/libvirt/qemu.conf allows more",
            ),
        );
    }
    let is_one = text.contains("Address already in use")
        && has_any(
            text,
            &["Failed to find an available port", "Failed to bind socket", "Failed to start VNC server"],
        );
    is_one.then(|| {
        let place = text_between(text, "-vnc ", ",").or_else(|| text_between(text, "-vnc ", ": "));
        let port = place.and_then(|place| place.rsplit_once(':')?.1.parse::<u16>().ok());
        // RFC 6143 has no ports, but QEMU counts displays from 5900 on (qemu(1), -vnc).
        let port = port.and_then(|display| display.checked_add(5900));
        let which = port.map_or("a port that it needs".to_owned(), |port| format!("port {port}"));
        Diagnosis::new(Code::PortTaken, format!("{which} is taken by another process on the host")).hint(
            port.map_or("ss -ltnp shows who has it".to_owned(), |port| {
                format!("ss -ltnp sport = :{port} shows who has it")
            }),
        )
    })
}
