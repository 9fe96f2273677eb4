//! Waits for a lock on a resource that several foundry processes change.
//!
//! Nobody goes on without: the one that has the turn may be stopped right before it deletes what the other needs.

use std::time::Duration;

use uuid::Uuid;

use crate::Context;
use crate::poll::{Poll, Waited};
use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;
use foundry_host::local::ProcessStatus;
use foundry_host::{HostLock, LockError};

/// What is done in a turn takes a few calls; who keeps it longer hangs, or deletes from a slow pool.
const LONGEST: Duration = Duration::from_secs(10);

/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// The turn with a VM's record and volumes.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] where another foundry keeps it, or nobody can have one; [`foundry_core::error::Kind::Interrupted`] where the user
/// asks to stop during the wait. One who had asked before takes something back, and that only a second wish ends.
pub(super) fn lock_vm(context: &Context, domain: Uuid, name: &str) -> Result<HostLock, Error> {
    let undoes = context.cancel.is_requested();
    let is_over = || if undoes { context.cancel.is_insisted() } else { context.cancel.is_requested() };
    let what = format!("VM '{name}'");
    let taken = wait_for_lock(context, &vm_lock_name(domain), &what, is_over);
    taken.map_err(|none| lock_refused(context, Code::VmTurnTaken, &what, &none))
}

/// The turn of who takes back what it made of a VM. Without one, where another foundry keeps it, or the user asked twice
/// to stop: why.
pub(super) fn lock_for_rollback(context: &Context, domain: Uuid) -> Result<HostLock, String> {
    let taken = wait_for_lock(context, &vm_lock_name(domain), "the VM", || context.cancel.is_insisted());
    taken.map_err(|none| match none {
        LockError::Taken(holder) => {
            let who = holder.map(|pid| format!(": {}", describe_process(pid))).unwrap_or_default();
            format!("another foundry works on this VM{who}")
        }
        LockError::Unusable(why) => escape_unseen(&why),
    })
}

/// The turn with an image, to delete it or to say that a VM needs it.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] where another foundry keeps it; [`foundry_core::error::Kind::Vm`] where nobody can have one;
/// [`foundry_core::error::Kind::Interrupted`] where the user asked to stop.
pub(super) fn lock_image(context: &Context, pool: &str, name: &str) -> Result<HostLock, Error> {
    context.cancel.check()?;
    let what = format!("image '{name}' in pool '{pool}'");
    let thing = format!("volume {name} in pool {pool}");
    let taken = wait_for_lock(context, &thing, &what, || context.cancel.is_requested());
    taken.map_err(|none| lock_refused(context, Code::VolumeTurnTaken, &what, &none))
}

fn vm_lock_name(domain: Uuid) -> String {
    format!("domain {domain}")
}

fn lock_refused(context: &Context, code: Code, what: &str, none: &LockError) -> Error {
    let holder = match none {
        LockError::Unusable(why) => return locks_unusable(why),
        LockError::Taken(holder) => *holder,
    };
    if let Err(interrupted) = context.cancel.check() {
        return interrupted;
    }
    let error = Error::new(code, format!("another foundry works on {what}"));
    let waited = format!("it was waited for {} s", LONGEST.as_secs());
    match holder {
        Some(pid) => error.because(format!("{waited}; {} has the turn", describe_process(pid))).hint(format!(
            "ps -fp {pid} shows what it does; the same command again, when that one is done"
        )),
        None => error
            .because(format!("{waited}; which process has the turn does not show from here"))
            .hint("as root, lslocks shows who has a file in /run/foundry; the same command again, when that one is done"),
    }
}

fn locks_unusable(why: &str) -> Error {
    Error::new(Code::TurnsUnsafe, "foundries cannot take turns on this machine").because(escape_unseen(why)).hint(
        "root or you should have it, and nobody else put it there: move it away, and foundry makes it anew",
    )
}

/// The process that has the lock. A process chooses its name itself.
fn describe_process(pid: u32) -> String {
    let process = ProcessStatus::read(pid);
    let user = process.user.map(|user| format!(" of user '{user}'")).unwrap_or_default();
    let stopped = if process.is_stopped { ", which is stopped," } else { "" };
    format!("process {pid} ('{}'){user}{stopped}", process.name)
}

fn wait_for_lock(
    context: &Context,
    thing: &str,
    what: &str,
    is_over: impl Fn() -> bool,
) -> Result<HostLock, LockError> {
    let mut holder = None;
    let waited = Poll::new(context, TRY_EVERY)
        .within(LONGEST)
        .unless(is_over)
        .announce(format!("Waiting for another foundry that works on {what}"))
        .until(|| match context.host.lock(thing) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Taken(by)) => {
                holder = by;
                Ok(None)
            }
            Err(unusable) => Err(unusable),
        })?;
    match waited {
        Waited::Done(lock) => Ok(lock),
        Waited::TimeOver | Waited::Cancelled => Err(LockError::Taken(holder)),
    }
}
