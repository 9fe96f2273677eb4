//! Waits for a lock on a resource that several foundry processes change.
//!
//! A process never goes on without the lock: the holder may be suspended right before it deletes what this one needs.

use std::time::Duration;

use uuid::Uuid;

use crate::poll::{Poll, Waited};
use crate::{Context, Step};
use foundry_core::error::{Code, Error};
use foundry_core::record::VolumeRef;
use foundry_core::text::escape_unseen;
use foundry_host::local::ProcessStatus;
use foundry_host::{HostLock, LockError};

/// How long to wait. A lock is held for a few calls only; a holder that keeps it longer hangs, or deletes from a slow pool.
const LONGEST: Duration = Duration::from_secs(10);

/// Time between two tries.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Locks a VM's record and volumes.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if another foundry holds the lock or locks are unusable;
/// [`foundry_core::error::Kind::Interrupted`] if the user interrupts the wait. If the user had interrupted before, this
/// is a rollback, and only a second interrupt ends the wait.
pub(super) fn lock_vm(context: &Context, domain: Uuid, name: &str) -> Result<HostLock, Error> {
    let undoes = context.cancel.is_requested();
    let is_over = || if undoes { context.cancel.is_insisted() } else { context.cancel.is_requested() };
    let what = format!("VM '{name}'");
    let taken = wait_for_lock(context, &vm_lock_name(domain), &what, is_over);
    taken.map_err(|none| lock_refused(context, Code::VmTurnTaken, &what, &none))
}

/// Locks a VM to roll back its creation. Fails with the reason if another foundry holds the lock, or the user interrupts
/// a second time.
pub(super) fn lock_for_rollback(context: &Context, domain: Uuid) -> Result<HostLock, String> {
    let taken = wait_for_lock(context, &vm_lock_name(domain), "the VM", || context.cancel.is_insisted());
    taken.map_err(|none| match none {
        LockError::Taken(holder) => {
            let who = holder.map(|pid| format!(": {}", describe_process(pid))).unwrap_or_default();
            format!("another foundry process is working on this VM{who}")
        }
        LockError::Unusable(why) => escape_unseen(&why),
    })
}

/// Locks an image, to delete it or to define a VM that uses it.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if another foundry holds the lock; [`foundry_core::error::Kind::Vm`] if locks are
/// unusable; [`foundry_core::error::Kind::Interrupted`] if the user interrupts.
pub(super) fn lock_image(context: &Context, image: &VolumeRef) -> Result<HostLock, Error> {
    lock_named_volume(context, image, &format!("image '{}' in pool '{}'", image.name, image.pool))
}

/// Locks a volume, to give it to a VM.
///
/// # Errors
/// As for [`lock_image`].
pub(super) fn lock_volume(context: &Context, volume: &VolumeRef) -> Result<HostLock, Error> {
    lock_named_volume(context, volume, &volume.to_string())
}

fn lock_named_volume(context: &Context, volume: &VolumeRef, what: &str) -> Result<HostLock, Error> {
    context.cancel.check()?;
    let VolumeRef { pool, name } = volume;
    let thing = format!("volume {name} in pool {pool}");
    let taken = wait_for_lock(context, &thing, what, || context.cancel.is_requested());
    taken.map_err(|none| lock_refused(context, Code::VolumeTurnTaken, what, &none))
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
    let error = Error::new(code, format!("another foundry process is working on {what}"));
    let waited = format!("waited {} s", LONGEST.as_secs());
    match holder {
        Some(pid) => error.because(format!("{waited}; {} holds the lock", describe_process(pid))).hint(format!(
            "ps -fp {pid} shows what it does; run the same command again when it has ended"
        )),
        None => error
            .because(format!("{waited}; the process that holds the lock cannot be seen from here"))
            .hint("as root, lslocks shows which process holds a file in /run/foundry; run the same command again when it has ended"),
    }
}

fn locks_unusable(why: &str) -> Error {
    Error::new(Code::TurnsUnsafe, "foundry cannot lock its resources on this machine")
        .because(escape_unseen(why))
        .hint("the directory must belong to root or to you; move it away, and foundry creates it again")
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
        .announce(Step::WaitForLock(what.to_owned()))
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
