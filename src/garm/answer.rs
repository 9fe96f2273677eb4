//! What a provider prints about a VM.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use foundry_core::manifest::{Phase, Status};

use crate::owner::instance_name;

/// A VM as GARM knows it (`params.ProviderInstance` of garm-provider-common).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProviderInstance {
    /// UUID of the domain.
    pub provider_id: String,
    /// Name of the runner.
    pub name: String,
    /// Operating system.
    pub os_type: &'static str,
    /// Architecture, in Go's words.
    pub os_arch: &'static str,
    /// Known addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<InstanceAddress>,
    /// State of the VM.
    pub status: InstanceStatus,
    /// Why it failed: base64 of a text, as Go writes bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_fault: Option<String>,
}

/// An address of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceAddress {
    /// The address, without prefix length.
    pub address: String,
    /// `private`: foundry knows of no address that others reach.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// The states that GARM accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceStatus {
    /// It runs.
    Running,
    /// It is off, or does not execute.
    Stopped,
    /// It failed.
    Error,
    /// It is being made or deleted.
    Unknown,
}

impl InstanceStatus {
    fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::Running => Self::Running,
            Phase::Stopped | Phase::Saved => Self::Stopped,
            Phase::Pending | Phase::Failed => Self::Error,
            Phase::Creating | Phase::Destroying | Phase::Unknown => Self::Unknown,
        }
    }
}

impl ProviderInstance {
    /// Describes a VM: `arch` is that of its manifest.
    pub fn describe(
        uuid: &str,
        labels: &BTreeMap<String, String>,
        arch: Option<&str>,
        status: Option<&Status>,
    ) -> Self {
        let state = InstanceStatus::of_phase(status.map_or(Phase::Unknown, |status| status.phase));
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        let why = conditions.iter().find(|condition| condition.kind == "Ready").map(|c| &c.message);
        let addresses = status.map_or(&[][..], |status| &status.addresses).iter();
        Self {
            addresses: addresses
                .map(|known| InstanceAddress { address: known.address.clone(), kind: "private" })
                .collect(),
            provider_fault: why.filter(|_| state == InstanceStatus::Error).map(|why| STANDARD.encode(why)),
            ..Self::started(uuid, instance_name(labels).unwrap_or_default(), arch, state)
        }
    }

    /// Describes a VM that was created and started.
    pub fn created(uuid: &str, name: &str, arch: Option<&str>) -> Self {
        Self::started(uuid, name, arch, InstanceStatus::Running)
    }

    fn started(uuid: &str, name: &str, arch: Option<&str>, status: InstanceStatus) -> Self {
        Self {
            provider_id: uuid.to_owned(),
            name: name.to_owned(),
            os_type: "linux",
            os_arch: if arch == Some("aarch64") { "arm64" } else { "amd64" },
            addresses: Vec::new(),
            status,
            provider_fault: None,
        }
    }
}
