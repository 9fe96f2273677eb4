//! libvirt's numbers for a domain's state and its reason.

use virt::sys as c;

use crate::{DomainState, Why};

pub(super) fn state_of(raw: u32) -> DomainState {
    match raw {
        c::VIR_DOMAIN_RUNNING => DomainState::Running,
        c::VIR_DOMAIN_BLOCKED => DomainState::Blocked,
        c::VIR_DOMAIN_PAUSED => DomainState::Paused,
        c::VIR_DOMAIN_SHUTDOWN => DomainState::ShuttingDown,
        c::VIR_DOMAIN_SHUTOFF => DomainState::ShutOff,
        c::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        c::VIR_DOMAIN_PMSUSPENDED => DomainState::Suspended,
        other => DomainState::Unknown(other),
    }
}

/// The numbers of the reasons mean another thing in each state.
pub(super) fn why(state: u32, reason: u32) -> Why {
    match state_of(state) {
        DomainState::ShutOff => off(reason),
        DomainState::Paused => paused(reason),
        DomainState::Crashed => Why::Crashed,
        _ => Why::NotSaid,
    }
}

fn off(reason: u32) -> Why {
    match reason {
        c::VIR_DOMAIN_SHUTOFF_SHUTDOWN => Why::ShutDown,
        c::VIR_DOMAIN_SHUTOFF_DESTROYED => Why::Destroyed,
        c::VIR_DOMAIN_SHUTOFF_CRASHED => Why::Crashed,
        c::VIR_DOMAIN_SHUTOFF_MIGRATED => Why::Migrated,
        c::VIR_DOMAIN_SHUTOFF_SAVED => Why::Saved,
        c::VIR_DOMAIN_SHUTOFF_FAILED => Why::NotStarted,
        c::VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT => Why::FromSnapshot,
        c::VIR_DOMAIN_SHUTOFF_DAEMON => Why::GivenUp,
        _ => Why::NotSaid,
    }
}

fn paused(reason: u32) -> Why {
    match reason {
        c::VIR_DOMAIN_PAUSED_USER => Why::ByUser,
        c::VIR_DOMAIN_PAUSED_MIGRATION | c::VIR_DOMAIN_PAUSED_POSTCOPY => Why::Migrating,
        c::VIR_DOMAIN_PAUSED_SAVE => Why::Saving,
        c::VIR_DOMAIN_PAUSED_DUMP => Why::Dumping,
        c::VIR_DOMAIN_PAUSED_IOERROR => Why::IoError,
        c::VIR_DOMAIN_PAUSED_WATCHDOG => Why::Watchdog,
        c::VIR_DOMAIN_PAUSED_FROM_SNAPSHOT => Why::FromSnapshot,
        c::VIR_DOMAIN_PAUSED_SHUTTING_DOWN => Why::ShuttingDown,
        c::VIR_DOMAIN_PAUSED_SNAPSHOT => Why::Snapshotting,
        c::VIR_DOMAIN_PAUSED_CRASHED => Why::Crashed,
        c::VIR_DOMAIN_PAUSED_STARTING_UP => Why::StartingUp,
        c::VIR_DOMAIN_PAUSED_POSTCOPY_FAILED => Why::MoveFailed,
        // VIR_DOMAIN_PAUSED_API_ERROR, which came with libvirt 9.0: the bindings may be older.
        14 => Why::NotResumed,
        _ => Why::NotSaid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_of_libvirts_has_its_own_sentence() {
        for (state, reasons) in [(c::VIR_DOMAIN_SHUTOFF, 1..=8), (c::VIR_DOMAIN_PAUSED, 1..=14)] {
            for reason in reasons {
                let why = why(state, reason);
                assert!(why != Why::NotSaid && why.sentence(state_of(state)).is_some(), "{state} {reason}");
            }
            assert_eq!(why(state, 99), Why::NotSaid);
        }
    }
}
