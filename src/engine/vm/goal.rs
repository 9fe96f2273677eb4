//! The goals that a VM can be waited for.

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// An address is known.
    Ip,
    /// The guest agent answers.
    Agent,
    /// An SSH server sends its greeting at one of the addresses.
    Ssh,
    /// cloud-init is done, without errors.
    CloudInit,
}

impl Goal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "an address",
            Self::Agent => "the guest agent",
            Self::Ssh => "SSH",
            Self::CloudInit => "cloud-init",
        }
    }

    pub(super) fn reached_sentence(self) -> &'static str {
        match self {
            Self::Ip => "Address known",
            Self::Agent => "Guest agent answers",
            Self::Ssh => "SSH answers",
            Self::CloudInit => "cloud-init is done",
        }
    }
}
