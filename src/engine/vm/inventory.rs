//! The VMs of a host as an inventory for Ansible (Ansible's page "Developing dynamic inventory").

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::inspect::{VmView, get_vm, list_vms};
use crate::Context;
use crate::vm::handle::refused_unchanged;
use foundry_core::error::{Code, Error};
use foundry_core::manifest::Number;
use foundry_core::record::{Record, RecordState};

/// An inventory with the variables of all hosts, so that Ansible does not ask for each.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Inventory {
    /// The variables of the hosts.
    #[serde(rename = "_meta")]
    pub meta: InventoryMeta,
    /// The group that contains all others.
    pub all: InventoryParent,
    /// The other groups by name, each with its VMs.
    #[serde(flatten)]
    pub groups: BTreeMap<String, InventoryGroup>,
}

/// The variables of all hosts of an inventory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct InventoryMeta {
    /// By name of the VM.
    pub hostvars: BTreeMap<String, HostVars>,
}

/// A group of groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InventoryParent {
    /// The names of its groups.
    pub children: Vec<String>,
}

/// A group of VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct InventoryGroup {
    /// The names of its VMs.
    pub hosts: Vec<String>,
}

/// The variables of one VM.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HostVars {
    /// The address to connect to: of the manifest, else of a running guest. Absent if none is known; Ansible then
    /// resolves the VM's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ansible_host: Option<IpAddr>,
    /// The user that foundry's user-data lets in. Absent if the user-data is your own, or the VM has no seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ansible_user: Option<String>,
    /// The UUID of the libvirt domain.
    pub foundry_uuid: String,
    /// The state, as 'foundry list' shows it.
    pub foundry_state: String,
    /// All known addresses.
    pub foundry_addresses: Vec<IpAddr>,
    /// The pools of its volumes.
    pub foundry_pools: Vec<PlainText>,
    /// The image of its boot disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foundry_image: Option<PlainText>,
    /// The fully qualified name in its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foundry_fqdn: Option<PlainText>,
    /// Number of virtual CPUs that it has now.
    pub foundry_vcpus: u32,
    /// Memory that it has now, in GiB.
    pub foundry_memory_gib: Number,
    /// When its creation began (RFC 3339).
    pub foundry_created_at: PlainText,
    /// The labels of its manifest.
    pub foundry_labels: BTreeMap<String, PlainText>,
    /// The annotations of its manifest.
    pub foundry_annotations: BTreeMap<String, PlainText>,
}

/// Text that Ansible must not evaluate. Anyone who may define a domain can write a label, and in a variable Ansible
/// would run the Jinja expressions in it on the machine that runs the playbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainText(pub String);

impl PlainText {
    /// Whether Jinja could find an expression, a statement or a comment in it.
    fn looks_like_template(&self) -> bool {
        self.0.contains('{')
    }
}

impl Serialize for PlainText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.looks_like_template() {
            // Ansible's JSON form of a string that is not evaluated.
            BTreeMap::from([("__ansible_unsafe", &self.0)]).serialize(serializer)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl JsonSchema for PlainText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PlainText".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "__ansible_unsafe": { "type": "string" } },
                    "required": ["__ansible_unsafe"],
                },
            ],
        })
    }
}

/// Lists the complete VMs of foundry. `context_name` is the context of the configuration, which is a group, too.
///
/// # Errors
/// A failed call to the host.
pub fn list_inventory(context: &Context, context_name: Option<&str>) -> Result<Inventory, Error> {
    let mut groups: BTreeMap<String, InventoryGroup> = BTreeMap::new();
    let mut hostvars = BTreeMap::new();
    for vm in list_vms(context, true)? {
        let Some(record) = complete_record(&vm) else { continue };
        // Ansible evaluates names of hosts, too. foundry gives no such name, but `virsh domrename` does.
        if PlainText(vm.domain.name.clone()).looks_like_template() {
            context.warn(format!("VM '{}' is not in the inventory: its name has a '{{'", vm.domain.name));
            continue;
        }
        for group in group_names(&vm, record, context_name) {
            groups.entry(group).or_default().hosts.push(vm.domain.name.clone());
        }
        hostvars.insert(vm.domain.name.clone(), host_vars(&vm, record));
    }
    let children = groups.keys().cloned().chain(["ungrouped".to_owned()]).collect();
    Ok(Inventory { meta: InventoryMeta { hostvars }, all: InventoryParent { children }, groups })
}

/// Returns the variables of one VM.
///
/// # Errors
/// [`Code::VmMissing`] if there is none; [`Code::NotFoundrys`] if it is not a complete VM of foundry.
pub fn get_host_vars(context: &Context, name: &str) -> Result<HostVars, Error> {
    let vm = get_vm(context, name)?;
    match complete_record(&vm) {
        Some(record) => Ok(host_vars(&vm, record)),
        None => {
            let what = format!("VM '{}' is not in the inventory", vm.domain.name);
            Err(refused_unchanged(Code::NotFoundrys, what)
                .because("the inventory has the VMs that foundry created and finished"))
        }
    }
}

fn complete_record(vm: &VmView) -> Option<&Record> {
    vm.record().filter(|record| record.state == RecordState::Created)
}

fn group_names(vm: &VmView, record: &Record, context_name: Option<&str>) -> BTreeSet<String> {
    let labels = record.manifest.metadata.labels.iter();
    let labels = labels.map(|(key, value)| group_name(&["label", key, value]));
    let pools = record.volumes.iter().map(|volume| group_name(&["pool", &volume.pool]));
    let state = group_name(&["state", &vm.domain.state.to_string()]);
    let named = context_name.map(|name| group_name(&["context", name]));
    labels.chain(pools).chain([state]).chain(named).collect()
}

/// A name that Ansible accepts for a group: letters, digits and underscores.
fn group_name(parts: &[&str]) -> String {
    let whole = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("_");
    whole.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn host_vars(vm: &VmView, record: &Record) -> HostVars {
    let status = vm.vm.status.as_ref();
    // A record that somebody edited could have anything in the place of an address.
    let addresses: Vec<IpAddr> =
        status.iter().flat_map(|s| &s.addresses).filter_map(|a| a.address.parse().ok()).collect();
    let metadata = &record.manifest.metadata;
    let texts = |map: &BTreeMap<String, String>| {
        map.iter().map(|(key, value)| (key.clone(), PlainText(value.clone()))).collect()
    };
    let pools: BTreeSet<&String> = record.volumes.iter().map(|volume| &volume.pool).collect();
    let fqdn = record.manifest.spec.cloud_init.as_ref().and_then(|c| c.fqdn.clone());
    HostVars {
        ansible_host: addresses.first().copied(),
        ansible_user: has_root_login(record).then(|| "root".into()),
        foundry_uuid: vm.domain.uuid.to_string(),
        foundry_state: vm.domain.state.to_string(),
        foundry_addresses: addresses,
        foundry_pools: pools.into_iter().cloned().map(PlainText).collect(),
        foundry_image: record.image.clone().map(PlainText),
        foundry_fqdn: fqdn.map(PlainText),
        foundry_vcpus: vm.domain.vcpus,
        foundry_memory_gib: status.map_or(Number::Whole(0), |s| s.memory_gib),
        foundry_created_at: PlainText(record.created_at.clone()),
        foundry_labels: texts(&metadata.labels),
        foundry_annotations: texts(&metadata.annotations),
    }
}

/// Whether the seed has foundry's user-data, in which root has the keys. Raw user-data is a secret, which the record
/// has only as a digest.
fn has_root_login(record: &Record) -> bool {
    let cloud_init = record.manifest.spec.cloud_init.as_ref();
    let is_raw = record.secrets.contains_key("spec.cloudInit.rawUserData");
    cloud_init.is_some_and(|c| c.raw_user_data.is_none()) && !is_raw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_names_have_letters_digits_and_underscores() {
        for (parts, name) in [
            (&["label", "role", "web"][..], "label_role_web"),
            (&["label", "app.kubernetes.io/name", "my-app"], "label_app_kubernetes_io_name_my_app"),
            (&["label", "flag", ""], "label_flag"),
            (&["state", "shut off"], "state_shut_off"),
            (&["pool", "größe {{ x }}"], "pool_gr__e____x___"),
        ] {
            assert_eq!(group_name(parts), name);
        }
    }

    #[test]
    fn only_text_that_could_be_a_template_is_marked() {
        let json = |text: &str| serde_json::to_value(PlainText(text.into())).unwrap();
        assert_eq!(json("plain"), "plain");
        assert_eq!(json("{{ 1 }}"), serde_json::json!({ "__ansible_unsafe": "{{ 1 }}" }));
        assert_eq!(json("{% if %}")["__ansible_unsafe"], "{% if %}");
    }
}
