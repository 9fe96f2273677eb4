//! The state of a domain.

use serde::{Deserialize, Serialize};

/// The states of a domain (libvirt's `virDomainState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainState {
    /// Running on the processors.
    Running,
    /// Waiting for a resource.
    Blocked,
    /// Stopped by a user, by an I/O error or by an error inside the hypervisor.
    Paused,
    /// Being shut down; still active.
    ShuttingDown,
    /// Off; no hypervisor process exists.
    ShutOff,
    /// Stopped because the guest or the hypervisor crashed; may still be active.
    Crashed,
    /// Suspended by the guest's power management.
    Suspended,
    /// A state that this foundry does not know, with libvirt's number: from a newer daemon, or none (0). Its meaning is
    /// not guessed; the domain is treated as active.
    Unknown(u32),
}

impl DomainState {
    /// Whether the guest executes, and so can react.
    pub fn is_executing(self) -> bool {
        matches!(self, Self::Running | Self::Blocked)
    }

    /// Whether a hypervisor process may exist, so that the disks may be in use.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::ShutOff)
    }
}

impl std::fmt::Display for DomainState {
    /// The words that `virsh list` uses for the state.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Blocked => "idle",
            Self::Paused => "paused",
            Self::ShuttingDown => "in shutdown",
            Self::ShutOff => "shut off",
            Self::Crashed => "crashed",
            Self::Suspended => "pmsuspended",
            Self::Unknown(number) => return write!(f, "unknown ({number})"),
        })
    }
}
