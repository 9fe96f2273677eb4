//! The reason of a domain's state.

use super::DomainState;

/// The reason why a domain is off, paused or crashed (libvirt's page "libvirt-domain", reasons of states).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateReason {
    /// Unknown: libvirt gives no reason, or one that this foundry does not know. After a restart, libvirtd does not
    /// know why domains went off. A guest that KVM cannot continue is paused without a reason, too.
    #[default]
    NotSaid,
    /// Its guest shut down.
    ShutDown,
    /// It was powered off (`virsh destroy`).
    Destroyed,
    /// QEMU exited, or the guest crashed.
    Crashed,
    /// It was migrated to another host.
    Migrated,
    /// Its memory was saved.
    Saved,
    /// It did not start.
    NotStarted,
    /// It was reverted to a snapshot.
    FromSnapshot,
    /// libvirt stopped it, because it could not reconnect to it.
    GivenUp,
    /// A user paused it.
    ByUser,
    /// It is being migrated to another host.
    Migrating,
    /// Its memory is being saved.
    Saving,
    /// Its memory is being dumped.
    Dumping,
    /// A disk had an I/O error, for example a full file system.
    IoError,
    /// Its watchdog expired.
    Watchdog,
    /// It is shutting down.
    ShuttingDown,
    /// A snapshot of it is being made.
    Snapshotting,
    /// It is being started.
    StartingUp,
    /// A post-copy migration failed.
    MoveFailed,
    /// libvirt could not resume it after a job.
    NotResumed,
}

impl StateReason {
    /// Whether an error stopped the domain, so it will not continue by itself.
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

    /// The reason as a sentence about the VM, without a full stop; `None` if there is none.
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

    /// The word for an error in a listing, as in `virsh domstate --reason`.
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
