//! The frozen file systems of a guest.
//!
//! libvirtd freezes, makes the snapshot and thaws in one call, and thaws even if this process is killed or its connection
//! breaks. What remains is a daemon that ends in between, and an agent whose answer is lost: so it is looked at again
//! after the call, and before the next one.

use std::time::Duration;

use crate::Context;
use crate::poll::{Poll, Waited};
use crate::vm::guest_agent::GuestAgent;
use foundry_core::error::{Advice, Code, Error, Kind};
use foundry_host::Domain;

/// How long freezing may take, and thawing. A freeze waits until all that was written is on the disk.
pub(super) const FREEZE_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take until the file systems are seen thawed.
const THAW_WITHIN: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Checks that the agent can freeze.
///
/// # Errors
/// [`Code::AgentSilent`] or [`Code::AgentRefuses`] if it cannot; [`Code::GuestFrozen`] if another program has frozen
/// the file systems. Nothing was changed.
pub(super) fn check_freezable(
    context: &Context,
    domain: &Domain,
    without: impl Into<Advice>,
) -> Result<(), Error> {
    let without = without.into();
    let by_agent = |error: Error| match error.code() {
        Code::AgentSilent | Code::AgentRefuses => error
            .hint(
                without
                    .clone()
                    .text(" makes the snapshot without it, as consistent as after a power failure"),
            )
            .unchanged(),
        _ => error,
    };
    let agent = GuestAgent::connect(context, domain).map_err(by_agent)?;
    if !agent.is_frozen().map_err(by_agent)? {
        return Ok(());
    }
    Err(frozen_error(domain).because("a backup is running, or one ended before it thawed them").unchanged())
}

/// Thaws the file systems if they are frozen, and returns when they are thawed.
///
/// # Errors
/// [`Code::GuestFrozen`] if they are frozen still, or the agent does not say.
pub(super) fn ensure_thawed(context: &Context, domain: &Domain) -> Result<(), Error> {
    let agent = GuestAgent::of(context, domain);
    let mut failed = None;
    // A guest that stays frozen is worse than a command that does not end at once, so Ctrl-C has to be pressed twice.
    let waited = Poll::new(context, LOOK_EVERY)
        .within(THAW_WITHIN)
        .unless(|| context.cancel.is_insisted())
        .until(|| -> Result<Option<()>, Error> {
        let is_frozen = match agent.is_frozen() {
            Ok(frozen) => frozen,
            Err(lost) if lost.kind() == Kind::Connection => return Err(lost),
            Err(error) => {
                failed = Some(error);
                return Ok(None);
            }
        };
        if !is_frozen {
            return Ok(Some(()));
        }
        // It is looked at again, so a failure shows.
        if let Err(error) = agent.thaw() {
            failed = Some(error);
        }
        Ok(None)
    })?;
    match (waited, failed) {
        (Waited::Done(()), _) => Ok(()),
        (_, Some(failed)) => Err(frozen_error(domain).because(failed.to_string())),
        (_, None) => Err(frozen_error(domain)),
    }
}

/// Thaws the file systems if the agent says that they are frozen. For a guest that an interrupted command may have left
/// so.
///
/// # Errors
/// As [`ensure_thawed`].
pub(super) fn thaw_if_frozen(context: &Context, domain: &Domain) -> Result<(), Error> {
    match GuestAgent::of(context, domain).is_frozen() {
        Ok(true) => ensure_thawed(context, domain),
        Err(error) if !matches!(error.code(), Code::AgentSilent | Code::AgentRefuses) => Err(error),
        Ok(false) | Err(_) => Ok(()),
    }
}

fn frozen_error(domain: &Domain) -> Error {
    Error::new(Code::GuestFrozen, format!("the file systems of VM '{}' are frozen", domain.name))
        .hint(format!("if no backup is running, virsh domfsthaw {} thaws them", domain.shell_name()))
}

/// What to do if a connection was lost while the file systems were frozen.
pub(super) fn thaw_by_hand(domain: &Domain) -> Advice {
    Advice::from(format!(
        "virsh domfsthaw {} thaws its file systems, if they are frozen",
        domain.shell_name()
    ))
}
