//! Waiting for one's turn with a thing that several foundries change at the same time.
//!
//! Nobody goes on without: the one that has the turn may be stopped right before it deletes what the other needs.

use std::time::Duration;

use uuid::Uuid;

use super::Session;
use crate::error::{Code, Error};
use crate::host::Turn;

/// What is done in a turn takes a few calls; who keeps it longer hangs, or deletes from a slow pool.
const LONGEST: Duration = Duration::from_secs(10);

/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// The turn with a VM's record and volumes.
///
/// # Errors
/// [`crate::Kind::Vm`] where another foundry keeps it; [`crate::Kind::Interrupted`] where the user asks to stop during the wait. One
/// who had asked before takes something back, and that only a second wish ends.
pub(super) fn with_vm(session: &Session<'_>, domain: Uuid, name: &str) -> Result<Turn, Error> {
    let undoes = session.cancel.is_requested();
    let is_over = || if undoes { session.cancel.is_insisted() } else { session.cancel.is_requested() };
    let taken = take(session, &of_vm(domain), &format!("VM '{name}'"), is_over);
    taken.ok_or_else(|| refused(session, Code::VmTurnTaken, &format!("VM '{name}'")))
}

/// The turn of who takes back what it made of a VM; `None` where another foundry keeps it, or the user asked twice
/// to stop.
pub(super) fn to_undo(session: &Session<'_>, domain: Uuid) -> Option<Turn> {
    take(session, &of_vm(domain), "the VM", || session.cancel.is_insisted())
}

/// The turn with an image, to delete it or to say that a VM needs it.
///
/// # Errors
/// [`crate::Kind::Storage`] where another foundry keeps it; [`crate::Kind::Interrupted`] where the user asked to stop.
pub(super) fn with_image(session: &Session<'_>, pool: &str, name: &str) -> Result<Turn, Error> {
    session.cancel.check()?;
    let what = format!("image '{name}' in pool '{pool}'");
    let thing = format!("volume {name} in pool {pool}");
    let taken = take(session, &thing, &what, || session.cancel.is_requested());
    taken.ok_or_else(|| refused(session, Code::VolumeTurnTaken, &what))
}

fn of_vm(domain: Uuid) -> String {
    format!("domain {domain}")
}

fn refused(session: &Session<'_>, code: Code, what: &str) -> Error {
    match session.cancel.check() {
        Err(interrupted) => interrupted,
        Ok(()) => Error::new(code, format!("another foundry works on {what}"))
            .because(format!("it was waited for {} s", LONGEST.as_secs()))
            .hint("the same command again, when that one is done"),
    }
}

fn take(session: &Session<'_>, thing: &str, what: &str, is_over: impl Fn() -> bool) -> Option<Turn> {
    let until = session.clock.elapsed().saturating_add(LONGEST);
    let mut told = false;
    loop {
        let turn = session.host.turn(thing);
        if turn.is_some() || is_over() || session.clock.elapsed() >= until {
            return turn;
        }
        if !std::mem::replace(&mut told, true) {
            session.working(format!("Waiting for another foundry that works on {what}"));
        }
        session.clock.sleep(TRY_EVERY);
    }
}
