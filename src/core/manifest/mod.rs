//! The manifest as a user wrote it, not validated.
//!
//! Reading checks only YAML and the field names (exit code 1). Missing values, values out of range and unknown words
//! are found by [`crate::plan`], which reports all of them at once (exit code 2). Therefore nearly every field is
//! optional, and enumerations are text here.
//!
//! The doc comments of the fields are shown to users by `foundry explain` and in editors: [`crate::schema`] takes them
//! and the limits beside them from here. A test checks that the limits are those of [`crate::plan`].

mod devices;
mod load;
mod number;
mod shape;
mod status;
mod user_data;

pub use crate::yaml::{Position, escape_unseen, shorten};
pub use devices::{BootDisk, DataDisk, Graphics, NetworkInterface};
pub use load::{
    LoadError, MAX_BYTES, PartialDocument, has_manifest_extension, load_file, load_from, load_text,
    load_with_spec, read_file,
};
pub use number::Number;
pub use status::{Condition, Phase, Status, VmAddress, VmSnapshot};
pub use user_data::template_data_to_text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use shape::{all_of, any_of, has_value, is_given, never_both, text_map_schema, text_schema, user_data_shape};

/// The only supported `apiVersion`.
pub const API_VERSION: &str = "foundry.cofront.xyz/v1alpha1";
/// The only supported `kind`.
pub const KIND: &str = "VirtualMachine";

/// A virtual machine: its metadata and its desired state.
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
    /// Desired state.
    #[serde(default)]
    pub spec: Spec,
    /// Actual state, written by foundry, ignored on input.
    #[serde(default, deserialize_with = "ignore_value", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Status>")]
    pub status: Option<Status>,
}

/// Name, labels and annotations of a VM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["name"]))]
pub struct Metadata {
    /// The name of the VM and of the libvirt domain; also the host name, unless fqdn is set. Converted to lower case.
    /// 2 to 63 characters of a-z, 0-9, '-' and '_', with a letter or a digit at both ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("pattern" = r"^\s*[A-Za-z0-9][A-Za-z0-9_-]{0,61}[A-Za-z0-9]\s*$", "examples" = ["web"]))]
    pub name: Option<String>,
    /// Key-value pairs for filtering, as in 'foundry list -l role=web'. At most 256 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        schema_with = "text_map_schema",
        extend("propertyNames" = { "pattern": r"^[^\s=,\x00-\x1f]([^=,\x00-\x1f]*[^\s=,\x00-\x1f])?$" }, "examples" = [{ "role": "web" }])
    )]
    pub labels: BTreeMap<String, String>,
    /// Key-value pairs for your own notes. At most 256 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "text_map_schema", extend("propertyNames" = { "minLength": 1 }))]
    pub annotations: BTreeMap<String, String>,
    /// UUID of the libvirt domain. Written by foundry, ignored on input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema")]
    pub uid: Option<String>,
    /// Number of spec changes. Written by foundry, ignored on input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Creation time (RFC 3339). Written by foundry, ignored on input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema")]
    pub creation_timestamp: Option<String>,
}

/// The desired state of a VM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["vcpus", "memoryGiB", "bootDisk", "networkInterfaces"]))]
pub struct Spec {
    /// Number of virtual CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 4096, "examples" = [2]))]
    pub vcpus: Option<Number>,
    /// Memory in GiB; decimals are allowed, minimum 0.0625 (64 MiB).
    #[serde(default, rename = "memoryGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0.0625, "maximum" = 4_194_304, "examples" = [4, 0.5]))]
    pub memory_gib: Option<Number>,
    /// Room to grow: how far vcpus and memoryGiB can be raised while the VM runs. The default is no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The disk that the VM boots from, /dev/vda in the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_disk: Option<BootDisk>,
    /// Additional data disks. They are empty when the VM is created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 25))]
    pub data_disks: Vec<DataDisk>,
    /// Network interfaces, in the order that the guest sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "maxItems" = 64))]
    pub network_interfaces: Vec<NetworkInterface>,
    /// Data for cloud-init in the guest. Without it the VM gets no seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// CPU model of the guest: similar to the host's (host-model), or the host's own (host-passthrough, needs KVM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["host-model", "host-passthrough"], "default" = "host-model"))]
    pub cpu_mode: Option<String>,
    /// Whether the VM starts with the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub autostart: Option<bool>,
    /// Storage pool of all disks of this VM; --pool overrides it. The default is the VM pool, foundry-vms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("pattern" = r"^[^-/][^/]{0,254}$"))]
    pub storage_pool: Option<String>,
    /// Firmware of the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<Firmware>,
    /// Architecture of the guest. The default is the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["x86_64", "aarch64"]))]
    pub arch: Option<String>,
    /// The screen. The default is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graphics: Option<Graphics>,
    /// Changes to the libvirt domain's XML that the other fields have no word for, applied in their order after
    /// everything else. 'foundry render' shows the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 100))]
    pub xml_patch: Vec<XmlPatch>,
}

/// A change to the domain's XML: a place, and one of add, replace and 'remove: true' (RFC 5261).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["xpath"], "x-rules" = all_of([
    any_of(is_given("add"), any_of(is_given("replace"), is_given("remove"))),
    never_both(is_given("add"), is_given("replace")),
    never_both(is_given("add"), is_given("remove")),
    never_both(is_given("replace"), is_given("remove")),
])))]
pub struct XmlPatch {
    /// The place, which must be exactly one: a path of element names or *, each with a position or a condition in
    /// brackets, such as @type='pty', serial='vdb' or target/@dev='vdb'; at its end it may have @attribute or text().
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = "^/", "examples" = ["/domain/devices", "/domain/vcpu/@cpuset"]))]
    pub xpath: Option<String>,
    /// Elements to add at the end of the element, or the value of a new attribute. The prefix qemu is known. At most
    /// 64 KiB, without passwords: everyone who can see the VM can see them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("examples" = ["<watchdog model='i6300esb' action='reset'/>"]))]
    pub add: Option<String>,
    /// The element, or the value of an attribute or text, that replaces the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "text_schema", extend("examples" = ["<memballoon model='none'/>"]))]
    pub replace: Option<String>,
    /// Removes the element, attribute or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [true]))]
    pub remove: Option<bool>,
}

/// Room to grow while the VM runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// The most virtual CPUs that the running VM can get, at least vcpus. The default is vcpus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 4096, "examples" = [4]))]
    pub max_vcpus: Option<Number>,
    /// The most memory in GiB that the running VM can get, at least memoryGiB. The guest's kernel sets some memory
    /// aside for all of it. The default is memoryGiB.
    #[serde(default, rename = "maxMemoryGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0.0625, "maximum" = 4_194_304, "examples" = [8]))]
    pub max_memory_gib: Option<Number>,
}

/// Data for cloud-init in the guest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([never_both(is_given("rawUserData"), is_given("userData"))])))]
pub struct CloudInit {
    /// Fully qualified name of the guest, converted to lower case; its first part is the host name. The default is
    /// metadata.name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = shape::FQDN, "allOf" = shape::fqdn_beyond(), "examples" = ["web.example.com"]))]
    pub fqdn: Option<String>,
    /// Public keys that may log in as root, each like a line of authorized_keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = shape::SSH_KEY)), extend("examples" = [["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD alice@example.com"]]))]
    pub ssh_authorized_keys: Vec<String>,
    /// Password hash of root (crypt(5)): mkpasswd --method=SHA-512, or openssl passwd -6. The default is no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = r"^\$(6|5|y|gy|7|2[abxy])\$[^\s:]+$"))]
    pub password_hash: Option<String>,
    /// Whether SSH accepts passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub ssh_pwauth: Option<bool>,
    /// Same as sshPwauth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_password_auth: Option<bool>,
    /// User-data that replaces the generated one, used as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_user_data: Option<String>,
    /// A cloud-config to merge with the generated one: a mapping, or a YAML string.
    // `load` converts a mapping to text and keeps each scalar as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "user_data_shape", extend("examples" = [{ "packages": ["qemu-guest-agent"] }]))]
    pub user_data: Option<String>,
    /// A cloud-init network-config, version 1 or 2, that replaces the generated one: a mapping, or a YAML string,
    /// optionally with a top-level 'network' key. Gateways, routes and name servers of networkInterfaces then have no
    /// effect.
    // `load` converts a mapping to text and keeps each scalar as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "user_data_shape", extend("examples" = [{ "version": 2, "ethernets": { "enp1s0": { "dhcp4": true } } }]))]
    pub network_config: Option<String>,
}

/// What a VM boots with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-rules" = all_of([never_both(has_value("type", "bios"), has_value("secureBoot", true))])))]
pub struct Firmware {
    /// UEFI (efi) or BIOS (bios; not on aarch64).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["efi", "bios"], "default" = "efi"))]
    pub kind: Option<String>,
    /// Whether to enable Secure Boot, which starts only signed boot loaders; efi only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub secure_boot: Option<bool>,
}

/// Ignores any value: `status` in a manifest is earlier output of foundry.
fn ignore_value<'de, D: serde::Deserializer<'de>, T>(from: D) -> Result<Option<T>, D::Error> {
    serde::de::IgnoredAny::deserialize(from)?;
    Ok(None)
}
