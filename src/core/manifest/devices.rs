//! The disks, the network interfaces and the screen of a manifest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::Number;
use super::shape::{self, all_of, any_of, has_value, if_then, is_given, never_both, text_schema};

/// The disk that the VM boots from: its size, and an image, a warm image or 'empty: true'.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([
    any_of(is_given("sizeGiB"), is_given("sizeGB")),
    any_of(is_given("image"), any_of(is_given("warm"), has_value("empty", true))),
    never_both(is_given("image"), has_value("empty", true)),
    never_both(is_given("warm"), any_of(is_given("image"), has_value("empty", true))),
    never_both(is_given("warm"), has_value("format", "raw")),
    never_both(is_given("imagePool"), has_value("empty", true)),
])))]
pub struct BootDisk {
    /// Old name of sizeGiB. One of the two is required.
    #[serde(default, rename = "sizeGB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64))]
    pub size_gb: Option<Number>,
    /// Size in GiB (2^30 bytes), at least that of the image. Required.
    #[serde(default, rename = "sizeGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64, "examples" = [20]))]
    pub size_gib: Option<Number>,
    /// Image of the disk: a volume, a pool and a volume, or an absolute path on the host. 'foundry image list' shows
    /// the images. This, warm or 'empty: true' is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        schema_with = "text_schema",
        extend("pattern" = r"^(/.*[^/]|[^-/:\x00-\x1f][^/:\x00-\x1f]*(:[^-/\x00-\x1f][^/\x00-\x1f]*)?)$",
            "examples" = ["debian-12.qcow2", "foundry-images:debian-12.qcow2", "/srv/images/debian-12.qcow2"])
    )]
    pub image: Option<String>,
    /// Storage pool of the image. The default is the part before the ':' in image, or else foundry-images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("pattern" = r"^[^-/][^/]{0,254}$"))]
    pub image_pool: Option<String>,
    /// Warm image, made by 'foundry image warm': the VM starts from its saved memory, in seconds. Size, CPUs, memory,
    /// firmware and cpuMode are those of the warm image; cloudInit may have fqdn and sshAuthorizedKeys only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("pattern" = r"^[^-/:\x00-\x1f][^/:\x00-\x1f]*(:[^-/\x00-\x1f][^/\x00-\x1f]*)?$",
        "examples" = ["debian-12-warm"]))]
    pub warm: Option<String>,
    /// Whether the disk is empty instead of having an image, for an installation from the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub empty: Option<bool>,
    /// Format of the disk: qcow2 grows as it is written, raw has no metadata or snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["qcow2", "raw"], "default" = "qcow2"))]
    pub format: Option<String>,
}

/// A data disk, empty when the VM is created: its device and its size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["device"], "x-rules" = all_of([any_of(is_given("sizeGiB"), is_given("sizeGB"))])))]
pub struct DataDisk {
    /// Device name, vdb to vdz, unique. The guest's kernel names disks in their order, so the names match if no
    /// letter is skipped; the serial always matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^vd[b-z]$", "examples" = ["vdb"]))]
    pub device: Option<String>,
    /// Old name of sizeGiB. One of the two is required.
    #[serde(default, rename = "sizeGB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64))]
    pub size_gb: Option<Number>,
    /// Size in GiB (2^30 bytes). Required.
    #[serde(default, rename = "sizeGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64, "examples" = [100]))]
    pub size_gib: Option<Number>,
    /// Format of the disk: qcow2 grows as it is written, raw has no metadata or snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["qcow2", "raw"], "default" = "qcow2"))]
    pub format: Option<String>,
    /// Serial number of the disk: the guest has it as /dev/disk/by-id/virtio-SERIAL. 1 to 20 characters of A-Z, a-z,
    /// 0-9, '_', '.', '+' and '-'. The default is the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("pattern" = "^[A-Za-z0-9_.+-]{1,20}$"))]
    pub serial: Option<String>,
}

/// A network interface: its bridge or network, and its addresses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([
    any_of(is_given("bridge"), is_given("network")),
    never_both(is_given("bridge"), is_given("network")),
    if_then(is_given("gateway"), is_given("ip")),
    if_then(is_given("gateway6"), is_given("addresses")),
    if_then(has_value("onLink", true), any_of(is_given("gateway"), is_given("gateway6"))),
    never_both(is_given("vlan"), is_given("network")),
    never_both(is_given("virtualport"), is_given("network")),
])))]
pub struct NetworkInterface {
    /// IPv4 address with prefix length. MAC address and tap interface are derived from it, so it must be unique on
    /// the host. Without it the guest uses DHCP, except on a bridge with addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = shape::IPV4_NET, "examples" = ["10.20.30.40/24"]))]
    pub ip: Option<String>,
    /// Additional addresses with prefix length, IPv4 or IPv6. On a bridge without ip they must be IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[0-9A-Fa-f.:]+/[0-9]{1,3}$")), extend("examples" = [["2001:db8::40/64"]]))]
    pub addresses: Vec<String>,
    /// IPv4 gateway, inside the network of ip or of another address of the interface, or with onLink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = shape::IPV4, "examples" = ["10.20.30.1"]))]
    pub gateway: Option<String>,
    /// IPv6 gateway, inside the network of one of addresses, or link-local (fe80::1), or with onLink. By default an
    /// interface with IPv6 addresses takes it from router advertisements, if the guest accepts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9A-Fa-f.:]+$", "examples" = ["2001:db8::1"]))]
    pub gateway6: Option<String>,
    /// Whether the gateways are reached directly although they are outside the interface's networks, as with a /32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub on_link: Option<bool>,
    /// Name servers, IPv4 or IPv6. The default is none; with DHCP, the network's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[0-9A-Fa-f.:]+$")), extend("examples" = [["10.20.30.1"]]))]
    pub dns_servers: Vec<String>,
    /// Search domains for names without a dot. The default is none; with DHCP, the network's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = shape::DOMAIN)), extend("examples" = [["example.com"]]))]
    pub search_domains: Vec<String>,
    /// Bridge of the host to attach to. This or network is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("pattern" = r"^[^\s/:\x00-\x1f]{1,15}$", "examples" = ["br0"]))]
    pub bridge: Option<String>,
    /// libvirt network to attach to. This or bridge is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("pattern" = r"^[^-/][^/]{0,254}$", "examples" = ["default"]))]
    pub network: Option<String>,
    /// MAC address (unicast). By default it is derived from ip, or else from the VM's name, so it is the same at each
    /// creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$", "examples" = ["52:54:00:12:34:56"]))]
    pub mac_address: Option<String>,
    /// Largest packet in bytes. The default is the bridge's. With IPv6 addresses at least 1280.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 68, "maximum" = 65521, "examples" = [9000]))]
    pub mtu: Option<Number>,
    /// Whether this interface has the default route; true on at most one. By default the first interface with a
    /// gateway has it, for IPv4 and for IPv6. For an isolated VM set this to false on one interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// VLAN tag, on a bridge that filters VLANs or an Open vSwitch bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 4094))]
    pub vlan: Option<Number>,
    /// Type of the bridge, if it is not the kernel's. By default foundry detects it; needed only on a remote host, or
    /// if Open vSwitch runs outside the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["openvswitch"]))]
    pub virtualport: Option<String>,
    /// Whether the firmware tries to boot from here after the boot disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub pxe_boot: Option<bool>,
}

/// A screen that a viewer shows, for an installer or a desktop. Without it, a VM has only its serial console.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Graphics {
    /// How the host offers the screen.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["vnc"], "default" = "vnc"))]
    pub kind: Option<String>,
    /// Where the host offers it: on a socket that only root and QEMU's user can open, or on a TCP port of 127.0.0.1,
    /// where every user of the host can see the screen and type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["socket", "127.0.0.1"], "default" = "socket"))]
    pub listen: Option<String>,
}
