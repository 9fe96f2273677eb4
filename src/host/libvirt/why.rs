//! libvirt's numbers for a domain's state and its reason.

use virt::sys as c;

use crate::{DomainState, StateReason};

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

/// The same reason number has a different meaning in each state.
pub(super) fn why(state: u32, reason: u32) -> StateReason {
    match state_of(state) {
        DomainState::ShutOff => off(reason),
        DomainState::Paused => paused(reason),
        DomainState::Crashed => StateReason::Crashed,
        _ => StateReason::NotSaid,
    }
}

fn off(reason: u32) -> StateReason {
    match reason {
        c::VIR_DOMAIN_SHUTOFF_SHUTDOWN => StateReason::ShutDown,
        c::VIR_DOMAIN_SHUTOFF_DESTROYED => StateReason::Destroyed,
        c::VIR_DOMAIN_SHUTOFF_CRASHED => StateReason::Crashed,
        c::VIR_DOMAIN_SHUTOFF_MIGRATED => StateReason::Migrated,
        c::VIR_DOMAIN_SHUTOFF_SAVED => StateReason::Saved,
        c::VIR_DOMAIN_SHUTOFF_FAILED => StateReason::NotStarted,
        c::VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT => StateReason::FromSnapshot,
        c::VIR_DOMAIN_SHUTOFF_DAEMON => StateReason::GivenUp,
        _ => StateReason::NotSaid,
    }
}

fn paused(reason: u32) -> StateReason {
    match reason {
        c::VIR_DOMAIN_PAUSED_USER => StateReason::ByUser,
        c::VIR_DOMAIN_PAUSED_MIGRATION | c::VIR_DOMAIN_PAUSED_POSTCOPY => StateReason::Migrating,
        c::VIR_DOMAIN_PAUSED_SAVE => StateReason::Saving,
        c::VIR_DOMAIN_PAUSED_DUMP => StateReason::Dumping,
        c::VIR_DOMAIN_PAUSED_IOERROR => StateReason::IoError,
        c::VIR_DOMAIN_PAUSED_WATCHDOG => StateReason::Watchdog,
        c::VIR_DOMAIN_PAUSED_FROM_SNAPSHOT => StateReason::FromSnapshot,
        c::VIR_DOMAIN_PAUSED_SHUTTING_DOWN => StateReason::ShuttingDown,
        c::VIR_DOMAIN_PAUSED_SNAPSHOT => StateReason::Snapshotting,
        c::VIR_DOMAIN_PAUSED_CRASHED => StateReason::Crashed,
        c::VIR_DOMAIN_PAUSED_STARTING_UP => StateReason::StartingUp,
        c::VIR_DOMAIN_PAUSED_POSTCOPY_FAILED => StateReason::MoveFailed,
        // VIR_DOMAIN_PAUSED_API_ERROR, which came with libvirt 9.0: the bindings may be older.
        14 => StateReason::NotResumed,
        _ => StateReason::NotSaid,
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
                assert!(
                    why != StateReason::NotSaid && why.to_sentence(state_of(state)).is_some(),
                    "{state} {reason}"
                );
            }
            assert_eq!(why(state, 99), StateReason::NotSaid);
        }
    }
}
