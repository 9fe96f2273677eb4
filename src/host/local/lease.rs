//! The life of an operation.
//!
//! A record names the operation that works on it. The operation has a lease: a lock that it holds until it ends, whether
//! well or not, and that the kernel takes back if its process is killed. So what a process gave up is not taken for
//! work in progress for as long as that process lives, which may be months.

use std::sync::OnceLock;

use uuid::Uuid;

use super::lock::{HostLock, LockDirectories};
use super::process::{check_process, this_process};
use foundry_core::record::{Liveness, Maker, Operation};

/// The lease of one operation. Dropped, the operation has ended.
///
/// The lock is taken when the first record is to name the operation: one that changes nothing leaves no file.
#[derive(Debug, Default)]
pub struct Lease(OnceLock<Option<(Operation, HostLock)>>);

impl Lease {
    /// This process at this operation, for records. Without a directory for locks, the process alone.
    pub fn maker(&self) -> Maker {
        let operation = self.0.get_or_init(take_lock).as_ref().map(|(operation, _)| operation.clone());
        Maker { operation, ..this_process() }
    }
}

fn take_lock() -> Option<(Operation, HostLock)> {
    let place = LockDirectories::of_all().open().ok()??;
    let operation = Operation { id: Uuid::new_v4(), directory: place.identity() };
    let lock = HostLock::take_in(&place, &lock_name(&operation)).ok()?;
    Some((operation, lock))
}

fn lock_name(operation: &Operation) -> String {
    format!("operation {}", operation.id)
}

/// Whether a maker still works: its process is running and has not given the operation up.
pub fn check_liveness(maker: &Maker) -> Liveness {
    let process = check_process(maker);
    match (process, &maker.operation) {
        (Liveness::Alive, Some(operation)) if is_given_up(operation) => Liveness::Dead,
        (Liveness::Dead, Some(operation)) => {
            remove_leftover(operation);
            Liveness::Dead
        }
        _ => process,
    }
}

/// Whether the lock of an operation no longer exists in its directory. Unknown, and so false, if this process cannot
/// reach the directory.
fn is_given_up(operation: &Operation) -> bool {
    let place = LockDirectories::of_all().find(&operation.directory);
    place.is_some_and(|place| !HostLock::exists_in(&place, &lock_name(operation)))
}

/// Deletes the lock file that a killed process left.
fn remove_leftover(operation: &Operation) {
    let Some(place) = LockDirectories::of_all().find(&operation.directory) else { return };
    let name = lock_name(operation);
    if HostLock::exists_in(&place, &name) {
        // Dropping the lock deletes its file.
        drop(HostLock::take_in(&place, &name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_alive_until_its_lease_is_dropped() {
        let (one, other) = (Lease::default(), Lease::default());
        let (first, second) = (one.maker(), other.maker());
        assert_eq!(first, one.maker(), "it is the same one each time");
        assert_ne!(first.operation, second.operation);
        assert_eq!(check_liveness(&first), Liveness::Alive);
        drop(one);
        assert_eq!(
            check_liveness(&first),
            Liveness::Dead,
            "this process goes on, and the operation does not"
        );
        assert_eq!(check_liveness(&second), Liveness::Alive);
    }

    #[test]
    fn a_lock_in_a_directory_out_of_reach_tells_nothing() {
        let lease = Lease::default();
        let mut maker = lease.maker();
        if let Some(operation) = &mut maker.operation {
            operation.directory = "1:2".into();
        }
        drop(lease);
        assert_eq!(check_liveness(&maker), Liveness::Alive, "the process runs");
    }

    #[test]
    fn the_lock_of_a_killed_process_is_removed_when_that_is_seen() {
        let lease = Lease::default();
        let maker = Maker { started: 1, ..lease.maker() };
        let operation = maker.operation.clone().unwrap();
        let place = LockDirectories::of_all().find(&operation.directory).unwrap();
        // Like a process that is killed and cannot clean up.
        let (_, lock) = lease.0.into_inner().unwrap().unwrap();
        lock.leave();
        assert!(HostLock::exists_in(&place, &lock_name(&operation)));
        assert_eq!(check_liveness(&maker), Liveness::Dead);
        assert!(!HostLock::exists_in(&place, &lock_name(&operation)));
    }
}
