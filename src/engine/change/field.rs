//! One field that differs, and what changing it takes.

use schemars::JsonSchema;
use serde::Serialize;

/// A field of a manifest that is not the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldDiff {
    /// Path of the field in the manifest.
    pub path: String,
    /// Value in the manifest; absent if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// Value in the manifest that was applied last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<String>,
    /// Value in the persistent definition, in effect from the next start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent: Option<String>,
    /// Value in the running VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// How the VM gets the wanted value.
    pub verdict: Verdict,
    /// Why the field cannot be changed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether another program changed it. The manifest was applied before; 'foundry apply' keeps such a change, unless
    /// --force is given.
    pub drift: bool,
    /// Whether everything but the running VM has the wanted value.
    pub pending: bool,
}

/// How a VM gets the wanted value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// At once.
    Live,
    /// When it starts next, after it was off.
    NextStart,
    /// With a new boot disk and a new seed.
    Repave,
    /// Not at all.
    Refused,
}

impl FieldDiff {
    /// Whether applying the manifest has to do something about it.
    pub fn is_change(&self, force: bool) -> bool {
        let is_foreign = self.drift || self.pending;
        !is_foreign || (force && self.is_possible() && (self.drift || self.verdict == Verdict::Live))
    }

    /// Whether the VM can be changed without a new boot disk.
    pub fn is_possible(&self) -> bool {
        matches!(self.verdict, Verdict::Live | Verdict::NextStart)
    }

    /// Whether the persistent definition has to change for it.
    pub(super) fn is_to_define(&self) -> bool {
        const OF_DEVICES: [&str; 6] = [".bridge", ".network", ".mtu", ".vlan", ".pxeBoot", ".serial"];
        let is_in_definition = ["spec.vcpus", "spec.memoryGiB", "spec.cpuMode", "spec.graphics"]
            .contains(&self.path.as_str())
            || self.path.starts_with("spec.resources.")
            || self.path.starts_with("spec.xmlPatch[")
            || OF_DEVICES.iter().any(|end| self.path.starts_with("spec.") && self.path.ends_with(end));
        // Whether a bridge is one of Open vSwitch is not compared with the definition.
        (is_in_definition && self.wanted != self.persistent) || self.path.ends_with(".virtualport")
    }

    /// The last part of the path.
    pub fn short_name(&self) -> &str {
        let path = self.path.strip_prefix("spec.").unwrap_or(&self.path);
        match path {
            "memoryGiB" => "memory",
            "resources.maxMemoryGiB" => "maximum memory",
            other => other,
        }
    }
}
