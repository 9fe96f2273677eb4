//! What foundry says about a VM, in the shape of a Kubernetes status.

use schemars::JsonSchema;
use serde::Serialize;

use super::Number;

/// The state of a VM as foundry sees it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// One word for the state of the VM.
    pub phase: Phase,
    /// The state of libvirt's domain, in libvirt's words.
    pub state: String,
    /// Virtual CPUs that it has, whatever the spec says.
    pub vcpus: u32,
    /// Memory that it has, in GiB, whatever the spec says.
    #[serde(rename = "memoryGiB")]
    pub memory_gib: Number,
    /// What is true of the VM, and since when.
    pub conditions: Vec<Condition>,
    /// The addresses of the VM, the manifest's first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// The generation of the spec that this host runs.
    pub observed_generation: u64,
    /// Whether foundry made the VM.
    pub managed: bool,
    /// Fields of the spec whose values are in the seed volume only; 'foundry get --with-secrets' reads them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets_left_out: Vec<String>,
}

/// One word for the state of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Phase {
    /// Its creation was begun and did not finish.
    Pending,
    /// A foundry process is making it.
    Creating,
    /// It executes.
    Running,
    /// It is off, or suspended.
    Stopped,
    /// It is off, and its memory is saved: its next start goes on from there.
    Saved,
    /// It was stopped by an error.
    Failed,
    /// Its destruction was begun.
    Destroying,
    /// libvirt says something that this foundry does not know.
    Unknown,
}

impl Phase {
    /// The word.
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

/// Something that is true of a VM, or not (Kubernetes API conventions, "Typical status properties").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What the condition is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// When foundry last changed something about the VM (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// The reason, as a word for programs.
    pub reason: String,
    /// The reason, as a sentence for people.
    pub message: String,
}

/// An address of a VM and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The address, without prefix length.
    pub address: String,
    /// Who says so: manifest, lease, agent or arp.
    pub source: String,
}
