//! What a user wrote: the manifest, without judgement.
//!
//! Reading decides only what YAML and the field names can decide (exit code 1). Whether a *value* is
//! missing, too large or not a known word is decided by [`crate::plan`], which reports all of it at
//! once (exit code 2); that is why nearly every field is optional and enumerations are text here.

mod load;
mod number;
mod status;
mod user_data;

pub use crate::yaml::Position;
pub(crate) use crate::yaml::{printable, shortened};
pub use load::{LoadError, MAX_BYTES, load, load_file, load_from};
pub use number::Number;
pub use status::{Address, Condition, Phase, Status};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The only `apiVersion`.
pub const API_VERSION: &str = "foundry.cofront.xyz/v1alpha1";
/// The only `kind`.
pub const KIND: &str = "VirtualMachine";

/// A VM as its manifest describes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualMachine {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Name, labels, annotations.
    #[serde(default)]
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(default)]
    pub spec: Spec,
    /// What is; written by foundry, ignored when read.
    #[serde(default, deserialize_with = "ignore", skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// A VM's name and what is said about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The domain's name; made lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Key-value pairs to select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Key-value pairs to remember.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Identity of the domain; written by foundry, ignored when read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// How often the spec changed; written by foundry, ignored when read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// RFC 3339; written by foundry, ignored when read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
}

/// What a VM should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<Number>,
    /// Memory in GiB, decimals allowed.
    #[serde(default, rename = "memoryGiB", skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<Number>,
    /// The disk that the VM boots from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_disk: Option<BootDisk>,
    /// Further disks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_disks: Vec<DataDisk>,
    /// Network interfaces, in the order in which the guest sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_interfaces: Vec<NetworkInterface>,
    /// What cloud-init is told; without it there is no seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// `host-model` (the default) or `host-passthrough`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_mode: Option<String>,
    /// Whether the VM starts with the host; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autostart: Option<bool>,
    /// The pool of the VM's disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_pool: Option<String>,
    /// What the VM boots with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// `x86_64` or `aarch64`; default the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
}

/// The boot disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BootDisk {
    /// Size in GiB, under the name that it always had.
    #[serde(default, rename = "sizeGB", skip_serializing_if = "Option::is_none")]
    pub size_gb: Option<Number>,
    /// Size in GiB, under its right name.
    #[serde(default, rename = "sizeGiB", skip_serializing_if = "Option::is_none")]
    pub size_gib: Option<Number>,
    /// `volume`, `pool:volume` or `/path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The pool of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pool: Option<String>,
    /// An empty disk in place of an overlay on an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty: Option<bool>,
    /// `qcow2` (the default) or `raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// A further disk, empty when the VM is made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DataDisk {
    /// `vdb` to `vdz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Size in GiB, under the name that it always had.
    #[serde(default, rename = "sizeGB", skip_serializing_if = "Option::is_none")]
    pub size_gb: Option<Number>,
    /// Size in GiB, under its right name.
    #[serde(default, rename = "sizeGiB", skip_serializing_if = "Option::is_none")]
    pub size_gib: Option<Number>,
    /// `qcow2` (the default) or `raw`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What the guest calls it in `/dev/disk/by-id/virtio-…`; default its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkInterface {
    /// IPv4 address with prefix length; names the MAC address and the tap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Further addresses with prefix length, IPv6 among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// IPv4 gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_servers: Vec<String>,
    /// The host's bridge to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The libvirt network to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Whether the default route goes this way; default true on the first one with a gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// VLAN tag, 1–4094.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Number>,
    /// Whether the firmware tries this interface after the boot disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pxe_boot: Option<bool>,
}

/// What cloud-init is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudInit {
    /// Fully qualified name of the guest; made lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fqdn: Option<String>,
    /// Public keys that may log in as root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Root's password, hashed (crypt(5)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// Whether SSH takes passwords; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_pwauth: Option<bool>,
    /// Another spelling of `sshPwauth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_password_auth: Option<bool>,
    /// User-data in place of the generated one, taken as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_user_data: Option<String>,
    /// A cloud-config, as YAML text, that is merged with the generated one. A manifest may also give
    /// it as a mapping, which [`load()`] turns into text with each scalar as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
}

/// What a VM boots with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Firmware {
    /// `efi` (the default) or `bios`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Whether only signed boot loaders start; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
}

/// Reads over whatever is there: `status` in a manifest is foundry's own earlier output.
fn ignore<'de, D: serde::Deserializer<'de>, T>(from: D) -> Result<Option<T>, D::Error> {
    serde::de::IgnoredAny::deserialize(from)?;
    Ok(None)
}
