//! Stops a domain in any state, and returns when it is off.

use std::time::Duration;

use uuid::Uuid;

use crate::poll::{Poll, Waited};
use crate::{Context, Step};
use foundry_core::error::{Code, Error};
use foundry_host::DomainState;

/// Time between two checks of a guest that shuts down; ACPI shutdowns take seconds.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// How to stop a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopMethod {
    /// Force it off at once.
    Force,
    /// Request a shutdown, and force it off after this time.
    Graceful(Duration),
}

/// Stops a domain. A domain that does not exist any more counts as off.
pub(crate) fn stop_domain(
    context: &Context,
    domain: Uuid,
    name: &str,
    patience: StopMethod,
) -> Result<(), Error> {
    let state = context.host.state(domain)?.map_or(DomainState::ShutOff, |now| now.state);
    if state == DomainState::ShutOff {
        return Ok(());
    }
    // Only an executing guest reacts to the power button; a paused, crashed or suspended one does not.
    let hears = state.is_executing() || state == DomainState::ShuttingDown;
    if let (StopMethod::Graceful(time), true) = (patience, hears) {
        if shut_down(context, domain, time)? {
            return Ok(());
        }
        context.warn(format!("VM '{name}' did not shut down in {} s and is forced off", time.as_secs_f32()));
    }
    force_off(context, domain, name)
}

/// Forces a domain off. One that does not exist any more counts as off.
///
/// # Errors
/// [`Code::GuestUnstoppable`] if it is still active afterwards.
pub(crate) fn force_off(context: &Context, domain: Uuid, name: &str) -> Result<(), Error> {
    context.host.force_off(domain)?;
    match context.host.state(domain)? {
        Some(now) if now.state != DomainState::ShutOff => {
            Err(Error::new(Code::GuestUnstoppable, format!("VM '{name}' cannot be stopped"))
                .because(format!("it is still {}", now.state)))
        }
        _ => Ok(()),
    }
}

/// Requests a shutdown and waits; returns whether the guest is off. A refused request is ignored: the guest is forced
/// off after the wait.
fn shut_down(context: &Context, domain: Uuid, time: Duration) -> Result<bool, Error> {
    match context.host.request_shutdown(domain) {
        Err(lost) if lost.outcome_unknown() => return Err(lost.into()),
        _ => {}
    }
    context.report_started(Step::ShutDownGuest);
    let is_off = || -> Result<Option<()>, Error> {
        let now = context.host.state(domain)?;
        Ok(now.is_none_or(|now| now.state == DomainState::ShutOff).then_some(()))
    };
    let waited = Poll::new(context, POLL_EVERY)
        .woken_by(domain)
        .within(time)
        .unless(|| context.cancel.is_requested())
        .until(is_off)?;
    match waited {
        Waited::Done(()) => Ok(true),
        Waited::TimeOver => Ok(false),
        Waited::Cancelled => context.cancel.check().map(|()| false),
    }
}
