//! Waiting for one's turn with a thing that several foundries change at the same time.

use std::time::Duration;

use uuid::Uuid;

use super::Session;
use crate::host::Turn;

/// Nobody keeps a turn that long; who does, hangs, and then it goes on as on two machines.
const LONGEST: Duration = Duration::from_secs(10);

/// Time between two tries; what is done in a turn takes a few calls.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// The turn with a VM's record and volumes.
pub(super) fn with_vm(session: &Session<'_>, domain: Uuid) -> Turn {
    take(session, &format!("domain {domain}"))
}

/// The turn with an image, to delete it or to say that a VM needs it.
pub(super) fn with_image(session: &Session<'_>, pool: &str, name: &str) -> Turn {
    take(session, &format!("volume {name} in pool {pool}"))
}

fn take(session: &Session<'_>, thing: &str) -> Turn {
    let until = session.clock.elapsed().saturating_add(LONGEST);
    loop {
        match session.host.turn(thing) {
            Some(turn) => return turn,
            None if session.clock.elapsed() >= until => return Turn::free(),
            None => session.clock.sleep(TRY_EVERY),
        }
    }
}
