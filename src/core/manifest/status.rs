//! The status of a VM, in the shape of a Kubernetes status.

use schemars::JsonSchema;
use serde::Serialize;

use super::Number;

/// The state of a VM as foundry sees it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// State of the VM, in one word.
    pub phase: Phase,
    /// State of the libvirt domain, as libvirt names it.
    pub state: String,
    /// Actual number of virtual CPUs.
    pub vcpus: u32,
    /// Actual memory in GiB.
    #[serde(rename = "memoryGiB")]
    pub memory_gib: Number,
    /// Whether libvirt starts the domain with the host now; 'spec.autostart' is what the manifest asked for.
    pub autostart: bool,
    /// Conditions of the VM, with their times.
    pub conditions: Vec<Condition>,
    /// Addresses of the VM, those of the manifest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<VmAddress>,
    /// Snapshots of the VM, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<VmSnapshot>,
    /// Generation of the spec that this host runs.
    pub observed_generation: u64,
    /// Whether foundry created the VM.
    pub managed: bool,
    /// Fields whose values are in the seed volume only; 'foundry get --with-secrets' reads them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets_left_out: Vec<String>,
}

/// State of a VM, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Phase {
    /// Its creation was interrupted.
    Pending,
    /// A foundry process is creating it.
    Creating,
    /// It is running.
    Running,
    /// It is off or suspended.
    Stopped,
    /// It is off with saved memory; its next start resumes it.
    Saved,
    /// It was stopped by an error.
    Failed,
    /// Its deletion has started.
    Destroying,
    /// libvirt reports a state that this version does not know.
    Unknown,
}

impl Phase {
    /// Returns the word as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Creating => "Creating",
            Self::Running => "Running",
            Self::Stopped => "Stopped",
            Self::Saved => "Saved",
            Self::Failed => "Failed",
            Self::Destroying => "Destroying",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition of a VM (Kubernetes API conventions, "Typical status properties").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// Time of foundry's last change to the VM (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// Reason, as a word for programs.
    pub reason: String,
    /// Reason, as a sentence for people.
    pub message: String,
}

/// An address of a VM and its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmAddress {
    /// Address without prefix length.
    pub address: String,
    /// Source of the address: manifest, lease, agent or arp.
    pub source: String,
}

/// A snapshot of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmSnapshot {
    /// Name of the snapshot.
    pub name: String,
    /// When it was made (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
}
