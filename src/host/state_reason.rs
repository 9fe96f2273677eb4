//! Why a domain is in its state.

use super::DomainState;

/// Why a domain is off, paused or crashed, as libvirt says (its page "libvirt-domain", the reasons of a domain's states).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateReason {
    /// libvirt does not say, or something that this foundry does not know. After libvirtd was started anew it no longer
    /// knows of any domain why it went off. A guest that KVM could not go on with is paused without a reason, too.
    #[default]
    NotSaid,
    /// Its guest shut down.
    ShutDown,
    /// Somebody pulled its plug.
    Destroyed,
    /// Its QEMU ended, or its guest crashed.
    Crashed,
    /// It went to another host.
    Migrated,
    /// Its memory was saved.
    Saved,
    /// It did not start.
    NotStarted,
    /// It was put back to a snapshot.
    FromSnapshot,
    /// libvirt ended it, as it could not take it up again.
    GivenUp,
    /// Somebody paused it.
    ByUser,
    /// It moves to another host.
    Migrating,
    /// Its memory is being saved.
    Saving,
    /// Its memory is being dumped.
    Dumping,
    /// Its disk had an error, a full file system for one.
    IoError,
    /// Its watchdog was not fed.
    Watchdog,
    /// It shuts down.
    ShuttingDown,
    /// A snapshot of it is being made.
    Snapshotting,
    /// It is being started.
    StartingUp,
    /// Its move to another host failed on the way.
    MoveFailed,
    /// libvirt could not let it go on after a job.
    NotResumed,
}

impl StateReason {
    /// Whether a domain in that state will not go on by itself, since something failed.
    pub fn is_error(self, state: DomainState) -> bool {
        match state {
            DomainState::Crashed => true,
            DomainState::ShutOff => matches!(self, Self::Crashed | Self::NotStarted),
            DomainState::Paused => matches!(
                self,
                Self::NotSaid
                    | Self::IoError
                    | Self::Crashed
                    | Self::Watchdog
                    | Self::MoveFailed
                    | Self::NotResumed
            ),
            _ => false,
        }
    }

    /// The reason as a sentence about the VM, without its end; `None` where nothing is known beyond the state.
    pub fn to_sentence(self, state: DomainState) -> Option<&'static str> {
        match state {
            DomainState::ShutOff => self.off_sentence(),
            DomainState::Paused => Some(self.paused_sentence()),
            DomainState::Crashed => Some("it crashed"),
            DomainState::Suspended => Some("its guest has put itself to sleep"),
            DomainState::ShuttingDown => Some("it shuts down"),
            _ => None,
        }
    }

    fn off_sentence(self) -> Option<&'static str> {
        Some(match self {
            Self::ShutDown => "it shut down",
            Self::Destroyed => "its plug was pulled",
            Self::Crashed => "its QEMU ended by itself, or was killed",
            Self::Migrated => "it went to another host",
            Self::Saved => "its memory was saved",
            Self::NotStarted => "it could not be started",
            Self::FromSnapshot => "it was put back to a snapshot of it that was off",
            Self::GivenUp => {
                "libvirt ended it, as it could not take it up again when libvirtd was started anew"
            }
            _ => return None,
        })
    }

    fn paused_sentence(self) -> &'static str {
        match self {
            Self::NotSaid => "the hypervisor stopped it with an error of its own",
            Self::IoError => "an error of its disk stopped it",
            Self::Crashed => "its guest crashed",
            Self::Watchdog => "its watchdog stopped it, as the guest did not answer that",
            Self::Migrating => "it is paused while it moves to another host",
            Self::Saving => "it is paused while its memory is saved",
            Self::Dumping => "it is paused while its memory is dumped",
            Self::FromSnapshot => "it was put back to a snapshot, and is paused",
            Self::ShuttingDown => "it is paused while it shuts down",
            Self::Snapshotting => "it is paused while a snapshot of it is made",
            Self::StartingUp => "it is being started",
            Self::MoveFailed => "its move to another host failed on the way",
            Self::NotResumed => "libvirt could not let it go on after a job",
            _ => "it is paused",
        }
    }

    /// The word for a listing, as `virsh domstate --reason` says it, of what is an error.
    pub fn short_word(self) -> &'static str {
        match self {
            Self::IoError => "I/O error",
            Self::Crashed => "crashed",
            Self::Watchdog => "watchdog",
            Self::MoveFailed => "post-copy failed",
            Self::NotResumed => "api error",
            Self::NotStarted => "failed",
            _ => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_error_depends_on_the_state() {
        assert!(StateReason::NotSaid.is_error(DomainState::Paused), "KVM could not go on");
        assert!(!StateReason::NotSaid.is_error(DomainState::ShutOff), "libvirtd was started anew");
        assert!(!StateReason::ByUser.is_error(DomainState::Paused));
        assert!(StateReason::Crashed.is_error(DomainState::ShutOff));
        assert!(!StateReason::Crashed.is_error(DomainState::Running), "it was started again after it");
        assert!(!StateReason::FromSnapshot.is_error(DomainState::Paused));
        let word = |why: StateReason| why.short_word();
        assert_eq!(
            [StateReason::Crashed, StateReason::NotStarted, StateReason::IoError].map(word),
            ["crashed", "failed", "I/O error"]
        );
        assert_eq!(StateReason::NotSaid.short_word(), "error");
    }
}
