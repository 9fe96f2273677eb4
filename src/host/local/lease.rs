//! The life of an operation.
//!
//! A record names the operation that works on it. The operation has a lease: a lock that it holds until it ends, whether
//! it succeeds or not, and that the kernel releases if the process is killed. Otherwise, an operation that was given up
//! would look like work in progress until its process ends, which may take months.

use std::sync::OnceLock;

use uuid::Uuid;

use super::lock::{HostLock, LockDirectories, LockDirectory};
use super::process::{check_process, this_process};
use foundry_core::record::{Liveness, Maker, Operation};

/// The lease of one operation. Dropping it ends the operation.
///
/// The lock is taken just before the first record names the operation, so an operation that changes nothing creates no
/// file.
#[derive(Debug, Default)]
pub struct Lease(OnceLock<Option<(Operation, HostLock)>>);

impl Lease {
    /// Describes this process and this operation, for a record. Without a directory for locks, only the process.
    pub fn maker(&self) -> Maker {
        let operation = self.0.get_or_init(take_lock).as_ref().map(|(operation, _)| operation.clone());
        Maker { operation, ..this_process() }
    }
}

/// How many names to try: a file that is new, and not locked yet, looks like a leftover to another process.
const TRIES: usize = 8;

/// How the lock files of operations begin.
const FILE_PREFIX: &str = "operation-";

fn take_lock() -> Option<(Operation, HostLock)> {
    let place = LockDirectories::of_all().open().ok()??;
    // Nobody else removes what a killed process left, if its record is gone, too.
    place.files_named(FILE_PREFIX).iter().for_each(|name| remove_if_free(&place, name));
    (0..TRIES).find_map(|_| {
        let operation = Operation { id: Uuid::new_v4(), directory: place.identity() };
        let lock = HostLock::take_file(&place, &file_name(&operation)).ok()?;
        Some((operation, lock))
    })
}

fn file_name(operation: &Operation) -> String {
    format!("{FILE_PREFIX}{}", operation.id)
}

/// Removes a lock file that nobody holds: dropping the lock deletes it.
fn remove_if_free(place: &LockDirectory, name: &str) {
    drop(HostLock::take_file(place, name));
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
    place.is_some_and(|place| !place.has_file(&file_name(operation)))
}

/// Deletes the lock file that a killed process left.
fn remove_leftover(operation: &Operation) {
    let Some(place) = LockDirectories::of_all().find(&operation.directory) else { return };
    let name = file_name(operation);
    if place.has_file(&name) {
        remove_if_free(&place, &name);
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
        assert_eq!(check_liveness(&maker), Liveness::Dead);
        assert!(!place.has_file(&file_name(&operation)));
    }

    #[test]
    fn the_next_operation_removes_what_a_killed_one_left() {
        let (killed, alive) = (Lease::default(), Lease::default());
        let (left, held) = (killed.maker().operation.unwrap(), alive.maker().operation.unwrap());
        let place = LockDirectories::of_all().find(&left.directory).unwrap();
        killed.0.into_inner().unwrap().unwrap().1.leave();
        let next = Lease::default();
        let _ = next.maker();
        assert!(!place.has_file(&file_name(&left)));
        assert!(place.has_file(&file_name(&held)), "it is still at work");
    }
}
