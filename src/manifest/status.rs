//! What foundry says about a VM, in the shape of a Kubernetes status.

use serde::Serialize;

/// The state of a VM as foundry sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// One word for it.
    pub phase: Phase,
    /// libvirt's word for the domain's state.
    pub state: String,
    /// What is true of it, and since when.
    pub conditions: Vec<Condition>,
    /// Its addresses, the manifest's first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// The generation of the spec that this host runs.
    pub observed_generation: u64,
    /// Whether foundry made the domain.
    pub managed: bool,
    /// Paths in the spec whose values live in the seed volume only, so that the record cannot show them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets_left_out: Vec<String>,
}

/// One word for the state of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// Its creation was begun and did not finish.
    Pending,
    /// A foundry process is making it.
    Creating,
    /// It executes.
    Running,
    /// It is off, or suspended.
    Stopped,
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
            Self::Failed => "Failed",
            Self::Destroying => "Destroying",
            Self::Unknown => "Unknown",
        }
    }
}

/// Something that is true of a VM, or not (Kubernetes API conventions, "Typical status properties").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// RFC 3339: foundry's last recorded act on the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// An address of a VM and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The address, without prefix length.
    pub address: String,
    /// `manifest`, `lease`, `agent` or `arp`.
    pub source: String,
}
