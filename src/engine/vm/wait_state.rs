//! Waits until a VM runs, is off, or is gone.

use std::time::Duration;

use super::lookup::{find_vm, removed_meanwhile, vm_not_found};
use crate::Context;
use crate::poll::{Poll, Waited};
use foundry_core::error::{Code, Error};
use foundry_host::{DomainState, StateNow};

/// Time between two looks, on a host without events.
const POLL_EVERY: Duration = Duration::from_millis(300);

/// A state to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateGoal {
    /// The guest executes.
    Running,
    /// The VM is off.
    Stopped,
    /// The VM does not exist.
    Deleted,
}

impl StateGoal {
    fn is_reached(self, now: Option<StateNow>) -> bool {
        let state = now.map(|now| now.state);
        match self {
            Self::Running => state.is_some_and(DomainState::is_executing),
            Self::Stopped => state == Some(DomainState::ShutOff),
            Self::Deleted => state.is_none(),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "to run",
            Self::Stopped => "to be off",
            Self::Deleted => "to be deleted",
        }
    }
}

/// Waits for a state of a VM, whoever made it; changes nothing. Returns the VM's name. A VM that does not exist counts
/// as deleted.
///
/// # Errors
/// [`Code::NotReady`] if the time is over, with the state that the VM is in; [`Code::VmMissing`] or
/// [`Code::ChangedMeanwhile`] if there is none and it was to be in a state; [`foundry_core::error::Kind::Interrupted`].
pub fn wait_for_state(
    context: &Context,
    name: &str,
    goal: StateGoal,
    timeout: Duration,
) -> Result<String, Error> {
    let Some(domain) = find_vm(context, name)? else {
        return if goal == StateGoal::Deleted {
            Ok(name.to_owned())
        } else {
            Err(vm_not_found(context, name)?)
        };
    };
    let mut last = None;
    let waited = Poll::new(context, POLL_EVERY)
        .woken_by(domain.uuid)
        .within(timeout)
        .unless(|| context.cancel.is_requested())
        .until(|| {
            last = context.host.state(domain.uuid)?;
            match last {
                None if goal != StateGoal::Deleted => Err(removed_meanwhile(&domain.name)),
                _ => Ok(goal.is_reached(last).then_some(())),
            }
        })?;
    match waited {
        Waited::Done(()) => Ok(domain.name),
        Waited::Cancelled => {
            Err(context.cancel.check().err().unwrap_or_else(|| time_over(&domain.name, goal, timeout, last)))
        }
        Waited::TimeOver => Err(time_over(&domain.name, goal, timeout, last)),
    }
}

fn time_over(vm: &str, goal: StateGoal, timeout: Duration, last: Option<StateNow>) -> Error {
    let error = Error::new(
        Code::NotReady,
        format!("VM '{vm}': waited {} s for it {}", timeout.as_secs(), goal.as_str()),
    );
    let Some(now) = last else { return error };
    match now.why.to_sentence(now.state) {
        Some(reason) => error.because(format!("it is {}: {reason}", now.state)),
        None => error.because(format!("it is {}", now.state)),
    }
}
