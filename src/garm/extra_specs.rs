//! A pool's `extra_specs`: what it wants of its VMs beyond flavor and image.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use foundry_core::error::{Code, Error};
use foundry_core::manifest::Number;

use crate::documents::read_document;

/// The name of the document in messages.
const NAME: &str = "extra_specs";

/// What a pool wants of its VMs. The keys in snake case are those of GARM itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraSpecs {
    /// Number of virtual CPUs, in place of the flavor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1))]
    pub vcpus: Option<Number>,
    /// Memory in GiB, in place of the flavor's.
    #[serde(default, rename = "memoryGiB", skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<Number>,
    /// Size of the boot disk in GiB, in place of the flavor's.
    #[serde(default, rename = "bootDiskGiB", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1))]
    pub boot_disk_gib: Option<Number>,
    /// Storage pool of the disks. The default is foundry's setting, foundry-vms.
    #[serde(default, rename = "storagePool", skip_serializing_if = "Option::is_none")]
    pub storage_pool: Option<String>,
    /// libvirt network, with DHCP. Without network and bridge it is default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Bridge of the host, on which a DHCP server answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// VLAN tag, on a bridge that filters VLANs or an Open vSwitch bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 4094))]
    pub vlan: Option<Number>,
    /// Whether the VM can reach no other isolated VM on its bridge or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
    /// Firmware: efi or bios. The default is efi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["efi", "bios"]))]
    pub firmware: Option<String>,
    /// CPU model: host-model or host-passthrough, which VMs inside the VM need. The default is host-model.
    #[serde(default, rename = "cpuMode", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["host-model", "host-passthrough"]))]
    pub cpu_mode: Option<String>,
    /// The script that installs the runner, in base64. GARM gives its own since v0.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("contentEncoding" = "base64"))]
    pub runner_install_template: Option<String>,
    /// Scripts that run as root before it, in the order of their names, each in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pre_install_scripts: BTreeMap<String, String>,
    /// Values for a template. foundry fills in no templates; GARM accepts the key, so it is accepted here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_context: BTreeMap<String, String>,
}

impl ExtraSpecs {
    /// Reads the `extra_specs` of a pool as GARM passes them on: an object, or nothing.
    ///
    /// # Errors
    /// [`foundry_core::error::Kind::Configuration`] for the first thing that is wrong, with its path.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Null => Ok(Self::default()),
            given => read_document(&given.to_string(), NAME),
        }
    }

    /// Completes what a pool does not say. A pool's network or bridge replaces the link of the configuration whole, with
    /// its VLAN.
    #[must_use]
    pub fn or_defaults(self, defaults: &Self) -> Self {
        let link = if self.network.is_some() || self.bridge.is_some() { &self } else { defaults };
        let (network, bridge, vlan) = (link.network.clone(), link.bridge.clone(), self.vlan.or(link.vlan));
        let mut pre_install_scripts = defaults.pre_install_scripts.clone();
        pre_install_scripts.extend(self.pre_install_scripts);
        Self {
            vcpus: self.vcpus.or(defaults.vcpus),
            memory_gib: self.memory_gib.or(defaults.memory_gib),
            boot_disk_gib: self.boot_disk_gib.or(defaults.boot_disk_gib),
            storage_pool: self.storage_pool.or_else(|| defaults.storage_pool.clone()),
            network,
            bridge,
            vlan,
            isolated: self.isolated.or(defaults.isolated),
            firmware: self.firmware.or_else(|| defaults.firmware.clone()),
            cpu_mode: self.cpu_mode.or_else(|| defaults.cpu_mode.clone()),
            runner_install_template: self
                .runner_install_template
                .or_else(|| defaults.runner_install_template.clone()),
            pre_install_scripts,
            extra_context: self.extra_context,
        }
    }

    /// The script that installs the runner, if the pool or GARM gives one.
    ///
    /// # Errors
    /// [`Code::ProviderCallUnfit`] if it is not base64 of text, or a template: GARM's own providers would fill it in,
    /// foundry does not, and half a script would run in the guest.
    pub(crate) fn install_script(&self) -> Result<Option<String>, Error> {
        const KEY: &str = "runner_install_template";
        let Some(encoded) = &self.runner_install_template else { return Ok(None) };
        let script = decode_text(encoded, KEY)?;
        if script.contains("{{") {
            return Err(Error::new(Code::ProviderCallUnfit, format!("{NAME}: {KEY} is a template"))
                .because("foundry fills in no '{{'")
                .hint("give a complete script, or leave it out: GARM v0.2 and later then gives its own")
                .unchanged());
        }
        Ok(Some(script))
    }

    /// The scripts that run before it, by name.
    ///
    /// # Errors
    /// [`Code::ProviderCallUnfit`] if one is not base64 of text, or its name is not a file's.
    pub(crate) fn pre_install_scripts(&self) -> Result<Vec<(&str, String)>, Error> {
        let scripts = self.pre_install_scripts.iter().map(|(name, encoded)| {
            let path = format!("pre_install_scripts[{name:?}]");
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
                return Err(Error::new(
                    Code::ProviderCallUnfit,
                    format!("{NAME}: {path} is not a file name"),
                )
                .because("it can have letters, digits, '.', '_' and '-'")
                .unchanged());
            }
            Ok((name.as_str(), decode_text(encoded, &path)?))
        });
        scripts.collect()
    }
}

fn decode_text(encoded: &str, path: &str) -> Result<String, Error> {
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.ok_or_else(|| {
        Error::new(Code::ProviderCallUnfit, format!("{NAME}: {path} is not base64 of a text")).unchanged()
    })
}

/// Reads `GARM_POOL_EXTRASPECS`: base64 of JSON, as GARM writes it, or JSON, as GARM's own providers read it.
///
/// # Errors
/// [`Code::ProviderCallUnfit`] if it is neither, and those of [`ExtraSpecs::from_json`].
pub fn decode_extra_specs(text: &str) -> Result<ExtraSpecs, Error> {
    if text.trim().is_empty() {
        return Ok(ExtraSpecs::default());
    }
    // JSON first: "null" is base64, too.
    let decoded = || serde_json::from_slice(&STANDARD.decode(text.trim()).ok()?).ok();
    let value: Option<Value> = serde_json::from_str(text).ok().or_else(decoded);
    let value = value.ok_or_else(|| {
        let what = format!("{NAME}: GARM_POOL_EXTRASPECS is neither JSON nor base64 of JSON");
        Error::new(Code::ProviderCallUnfit, what).unchanged()
    })?;
    ExtraSpecs::from_json(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_of_the_variable_are_read() {
        let json = r#"{"vcpus": 3, "runner_install_template": "ZWNobw=="}"#;
        for text in [json.to_owned(), STANDARD.encode(json)] {
            let read = decode_extra_specs(&text).unwrap();
            assert_eq!(read.vcpus, Some(Number::Whole(3)));
            assert_eq!(read.install_script().unwrap().as_deref(), Some("echo"));
        }
        for empty in ["", " ", "null", "{}", &STANDARD.encode("null")] {
            assert_eq!(decode_extra_specs(empty).unwrap(), ExtraSpecs::default(), "{empty}");
        }
        let error = decode_extra_specs("%").unwrap_err().to_string();
        assert!(error.contains("neither JSON nor base64 of JSON"), "{error}");
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_refused() {
        let error = ExtraSpecs::from_json(&json!({"vcpu": 2})).unwrap_err().to_string();
        assert!(error.contains("extra_specs") && error.contains("did you mean 'vcpus'"), "{error}");
        for wrong in [json!([]), json!("x"), json!({"isolated": "maybe"}), json!({"vcpus": {}})] {
            assert!(ExtraSpecs::from_json(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn templates_and_odd_names_are_refused() {
        let script = |text: &str| ExtraSpecs {
            runner_install_template: Some(STANDARD.encode(text)),
            ..ExtraSpecs::default()
        };
        let error = script("echo {{ .CallbackURL }}").install_script().unwrap_err().to_string();
        assert!(error.contains("is a template"), "{error}");
        for name in ["../x", "", ".", "a b", "a\nb", "a/b", "$(x)"] {
            let pre_install_scripts = BTreeMap::from([(name.to_owned(), STANDARD.encode("true"))]);
            let specs = ExtraSpecs { pre_install_scripts, ..ExtraSpecs::default() };
            assert!(specs.pre_install_scripts().is_err(), "{name:?}");
        }
        let specs = ExtraSpecs { runner_install_template: Some("?".into()), ..ExtraSpecs::default() };
        assert!(specs.install_script().unwrap_err().to_string().contains("base64"));
    }

    #[test]
    fn a_pools_link_replaces_that_of_the_configuration() {
        let bridge = ExtraSpecs {
            bridge: Some("br0".into()),
            vlan: Some(Number::Whole(7)),
            isolated: Some(true),
            ..ExtraSpecs::default()
        };
        let network = ExtraSpecs { network: Some("ci".into()), ..ExtraSpecs::default() };
        let both = network.or_defaults(&bridge);
        assert_eq!((both.network.as_deref(), both.bridge, both.vlan), (Some("ci"), None, None));
        assert_eq!(both.isolated, Some(true));
        let tagged =
            ExtraSpecs { vlan: Some(Number::Whole(8)), ..ExtraSpecs::default() }.or_defaults(&bridge);
        assert_eq!((tagged.bridge.as_deref(), tagged.vlan), (Some("br0"), Some(Number::Whole(8))));
    }
}
