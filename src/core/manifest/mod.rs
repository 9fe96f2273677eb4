//! What a user wrote: the manifest, without judgement.
//!
//! Reading decides only what YAML and the field names can decide (exit code 1). Whether a *value* is
//! missing, too large or not a known word is decided by [`crate::plan`], which reports all of it at
//! once (exit code 2); that is why nearly every field is optional and enumerations are text here.
//!
//! The docstrings of the fields are what users read, in `foundry explain` and in their editors: [`crate::schema`]
//! takes them, and the limits beside them, from here. That the limits are those of [`crate::plan`] is a test.

mod load;
mod number;
mod shape;
mod status;
mod user_data;

pub use crate::yaml::Position;
pub use crate::yaml::{printable, shortened};
pub use load::{LoadError, MAX_BYTES, PartlyRead, load, load_file, load_from, read_file};
pub use number::Number;
pub use status::{Address, Condition, Phase, Status};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use shape::{all_of, either, given, never_both, text, texts, user_data_shape, when};

/// The only `apiVersion`.
pub const API_VERSION: &str = "foundry.cofront.xyz/v1alpha1";
/// The only `kind`.
pub const KIND: &str = "VirtualMachine";

/// A virtual machine: what it is called, and what it is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["apiVersion", "kind", "metadata", "spec"]))]
pub struct VirtualMachine {
    /// The version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// What the document describes.
    #[schemars(extend("const" = KIND))]
    pub kind: String,
    /// Name, labels and annotations.
    #[serde(default)]
    pub metadata: Metadata,
    /// What the VM is to be.
    #[serde(default)]
    pub spec: Spec,
    /// What the VM is. Written by foundry; passed over when read.
    #[serde(default, deserialize_with = "ignore", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Status>")]
    pub status: Option<Status>,
}

/// A VM's name and what is said about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["name"]))]
pub struct Metadata {
    /// The name of the VM and of libvirt's domain, and the host name where there is no fqdn. Made lower case. It has
    /// 2 to 63 of a-z, 0-9, '-' and '_', with a letter or a digit at both ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text", extend("pattern" = r"^\s*[A-Za-z0-9][A-Za-z0-9_-]{0,61}[A-Za-z0-9]\s*$", "examples" = ["web"]))]
    pub name: Option<String>,
    /// Key-value pairs to select by, as in 'foundry list -l role=web', 256 KiB at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        schema_with = "texts",
        extend("propertyNames" = { "pattern": r"^[^\s=,\x00-\x1f]([^=,\x00-\x1f]*[^\s=,\x00-\x1f])?$" }, "examples" = [{ "role": "web" }])
    )]
    pub labels: BTreeMap<String, String>,
    /// Key-value pairs to remember, 256 KiB at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "texts", extend("propertyNames" = { "minLength": 1 }))]
    pub annotations: BTreeMap<String, String>,
    /// The UUID of libvirt's domain. Written by foundry; passed over when a VM is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub uid: Option<String>,
    /// How often the spec changed. Written by foundry; passed over when a VM is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When the VM was made (RFC 3339). Written by foundry; passed over when a VM is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text")]
    pub creation_timestamp: Option<String>,
}

/// What a VM is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["vcpus", "memoryGiB", "bootDisk", "networkInterfaces"]))]
pub struct Spec {
    /// The number of virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 4096, "examples" = [2]))]
    pub vcpus: Option<Number>,
    /// Memory in GiB. Decimals are allowed; the least is 0.0625, which are 64 MiB.
    #[serde(default, rename = "memoryGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0.0625, "maximum" = 4_194_304, "examples" = [4, 0.5]))]
    pub memory_gib: Option<Number>,
    /// The disk that the VM boots from, /dev/vda in the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_disk: Option<BootDisk>,
    /// Further disks. They are empty when the VM is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 25))]
    pub data_disks: Vec<DataDisk>,
    /// Network interfaces in the order in which the guest sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "maxItems" = 64))]
    pub network_interfaces: Vec<NetworkInterface>,
    /// What cloud-init in the guest is told. Without it the VM gets no seed, and the guest is on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// The guest's CPU: one like the host's (host-model), or the host's own (host-passthrough, which needs KVM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["host-model", "host-passthrough"], "default" = "host-model"))]
    pub cpu_mode: Option<String>,
    /// Whether the VM starts with the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub autostart: Option<bool>,
    /// The storage pool of all disks of this VM; --pool beats it. Left out, it is foundry's own, foundry-vms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text", extend("pattern" = r"^[^-/][^/]{0,254}$"))]
    pub storage_pool: Option<String>,
    /// What the VM boots with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// The guest's architecture. Left out, it is the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["x86_64", "aarch64"]))]
    pub arch: Option<String>,
}

/// The disk that the VM boots from: its size, and an image or 'empty: true'.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([
    either(given("sizeGiB"), given("sizeGB")),
    either(given("image"), shape::says("empty", true)),
    never_both(given("image"), shape::says("empty", true)),
    never_both(given("imagePool"), shape::says("empty", true)),
])))]
pub struct BootDisk {
    /// The size in GiB, under the name that it always had. This or sizeGiB is required.
    #[serde(default, rename = "sizeGB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64))]
    pub size_gb: Option<Number>,
    /// The size in GiB (2^30 bytes), at least that of the image. This or sizeGB is required.
    #[serde(default, rename = "sizeGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64, "examples" = [20]))]
    pub size_gib: Option<Number>,
    /// What is on the disk: a volume, a pool and a volume, or an absolute path on the host. 'foundry image list' shows
    /// what there is. This or 'empty: true' is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        schema_with = "text",
        extend("pattern" = r"^(/.*[^/]|[^-/:\x00-\x1f][^/:\x00-\x1f]*(:[^-/\x00-\x1f][^/\x00-\x1f]*)?)$",
            "examples" = ["debian-12.qcow2", "foundry-images:debian-12.qcow2", "/srv/images/debian-12.qcow2"])
    )]
    pub image: Option<String>,
    /// The storage pool of the image. Left out, it is what stands before the ':' in image, or else foundry-images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text", extend("pattern" = r"^[^-/][^/]{0,254}$"))]
    pub image_pool: Option<String>,
    /// Whether the disk is empty, in place of an image, to install from the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub empty: Option<bool>,
    /// The format of the disk: qcow2 grows as it is written, raw is what the guest writes and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["qcow2", "raw"], "default" = "qcow2"))]
    pub format: Option<String>,
}

/// A further disk, empty when the VM is made: its device and its size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["device"], "x-rules" = all_of([either(given("sizeGiB"), given("sizeGB"))])))]
pub struct DataDisk {
    /// What the disk is called, vdb to vdz, each once. The guest finds it by its serial; its kernel names disks in their
    /// order, so that the names are the same where no letter is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^vd[b-z]$", "examples" = ["vdb"]))]
    pub device: Option<String>,
    /// The size in GiB, under the name that it always had. This or sizeGiB is required.
    #[serde(default, rename = "sizeGB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64))]
    pub size_gb: Option<Number>,
    /// The size in GiB (2^30 bytes). This or sizeGB is required.
    #[serde(default, rename = "sizeGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 8_589_934_591_u64, "examples" = [100]))]
    pub size_gib: Option<Number>,
    /// The format of the disk: qcow2 grows as it is written, raw is what the guest writes and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["qcow2", "raw"], "default" = "qcow2"))]
    pub format: Option<String>,
    /// The serial number of the disk, by which the guest finds it as /dev/disk/by-id/virtio-SERIAL: 1 to 20 of
    /// A-Z, a-z, 0-9, '_', '.', '+' and '-'. Left out, it is the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text", extend("pattern" = "^[A-Za-z0-9_.+-]{1,20}$"))]
    pub serial: Option<String>,
}

/// A network interface: what it is attached to, and its addresses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([
    either(given("bridge"), given("network")),
    never_both(given("bridge"), given("network")),
    when(given("gateway"), given("ip")),
    when(given("gateway6"), given("addresses")),
    when(shape::says("onLink", true), either(given("gateway"), given("gateway6"))),
    never_both(given("vlan"), given("network")),
    never_both(given("virtualport"), given("network")),
])))]
pub struct NetworkInterface {
    /// IPv4 address with prefix length. It names the MAC address and the tap interface, so that it must be unique on
    /// the host. Left out, the guest asks by DHCP; not on a bridge where addresses are given, which then are all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = shape::IPV4_NET, "examples" = ["10.20.30.40/24"]))]
    pub ip: Option<String>,
    /// Further addresses with prefix length, IPv4 or IPv6. On a bridge without ip they are IPv6 only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[0-9A-Fa-f.:]+/[0-9]{1,3}$")), extend("examples" = [["2001:db8::40/64"]]))]
    pub addresses: Vec<String>,
    /// IPv4 gateway, inside the network of ip or of another address of the interface, or with onLink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = shape::IPV4, "examples" = ["10.20.30.1"]))]
    pub gateway: Option<String>,
    /// IPv6 gateway, inside the network of one of addresses, or link-local (fe80::1), or with onLink. Left out, an
    /// interface with IPv6 addresses takes it from router advertisements, where the guest listens to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9A-Fa-f.:]+$", "examples" = ["2001:db8::1"]))]
    pub gateway6: Option<String>,
    /// Whether the gateways are reached directly though they are outside of the interface's networks, as for a /32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub on_link: Option<bool>,
    /// Name servers, IPv4 or IPv6. Left out, there are none, or by DHCP the network's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^[0-9A-Fa-f.:]+$")), extend("examples" = [["10.20.30.1"]]))]
    pub dns_servers: Vec<String>,
    /// Domains in which names without a dot are looked up. Left out, there are none, or by DHCP the network's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = shape::DOMAIN)), extend("examples" = [["example.com"]]))]
    pub search_domains: Vec<String>,
    /// The bridge of the host to attach to. This or network is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text", extend("pattern" = r"^[^\s/:\x00-\x1f]{1,15}$", "examples" = ["br0"]))]
    pub bridge: Option<String>,
    /// The libvirt network to attach to. This or bridge is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text", extend("pattern" = r"^[^-/][^/]{0,254}$", "examples" = ["default"]))]
    pub network: Option<String>,
    /// The MAC address, of a single interface. Left out, it follows from ip, or else from the VM's name, and is the same at
    /// each creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$", "examples" = ["52:54:00:12:34:56"]))]
    pub mac_address: Option<String>,
    /// The largest packet in bytes. Left out, it is the bridge's. With IPv6 addresses at least 1280.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 68, "maximum" = 65521, "examples" = [9000]))]
    pub mtu: Option<Number>,
    /// Whether the default route goes this way; at most one interface can say true. Left out, the first interface with
    /// a gateway has it, for IPv4 and for IPv6. An isolated VM, without any gateway, says false once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// VLAN tag, on a bridge that filters VLANs or is Open vSwitch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 4094))]
    pub vlan: Option<Number>,
    /// Whose bridge it is, where it is not the kernel's. Left out, foundry looks; only on another machine, or where
    /// Open vSwitch works outside of the kernel, it has to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["openvswitch"]))]
    pub virtualport: Option<String>,
    /// Whether the firmware tries to boot from here after the boot disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub pxe_boot: Option<bool>,
}

/// What cloud-init in the guest is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([never_both(given("rawUserData"), given("userData"))])))]
pub struct CloudInit {
    /// Fully qualified name of the guest. Made lower case; its first part is the host name. Left out, that is
    /// metadata.name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = shape::FQDN, "allOf" = shape::fqdn_beyond(), "examples" = ["web.example.com"]))]
    pub fqdn: Option<String>,
    /// Public keys that may log in as root, each like a line of authorized_keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = shape::SSH_KEY)), extend("examples" = [["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD alice@example.com"]]))]
    pub ssh_authorized_keys: Vec<String>,
    /// Root's password, hashed (crypt(5)): mkpasswd --method=SHA-512, or openssl passwd -6. Left out, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = r"^\$(6|5|y|gy|7|2[abxy])\$[^\s:]+$"))]
    pub password_hash: Option<String>,
    /// Whether SSH takes passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub ssh_pwauth: Option<bool>,
    /// Another spelling of sshPwauth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_password_auth: Option<bool>,
    /// User-data in place of the generated one, taken as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_user_data: Option<String>,
    /// A cloud-config that is merged with the generated one: a mapping, or YAML text.
    // A mapping is turned into text by `load`, with each scalar as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "user_data_shape", extend("examples" = [{ "packages": ["qemu-guest-agent"] }]))]
    pub user_data: Option<String>,
    /// A network-config of cloud-init's, version 1 or 2, in place of the generated one: a mapping, or YAML text, also with
    /// 'network' around it. What networkInterfaces say of gateways, routes and name servers has no effect then.
    // A mapping is turned into text by `load`, with each scalar as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "user_data_shape", extend("examples" = [{ "version": 2, "ethernets": { "enp1s0": { "dhcp4": true } } }]))]
    pub network_config: Option<String>,
}

/// What a VM boots with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([never_both(shape::says("type", "bios"), shape::says("secureBoot", true))])))]
pub struct Firmware {
    /// UEFI (efi), or the PC's BIOS (bios), which aarch64 does not have.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["efi", "bios"], "default" = "efi"))]
    pub kind: Option<String>,
    /// Whether only signed boot loaders start; efi only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub secure_boot: Option<bool>,
}

/// Reads over whatever is there: `status` in a manifest is foundry's own earlier output.
fn ignore<'de, D: serde::Deserializer<'de>, T>(from: D) -> Result<Option<T>, D::Error> {
    serde::de::IgnoredAny::deserialize(from)?;
    Ok(None)
}
