//! Ends calls that libvirt does not answer in time.
//!
//! libvirt's calls have no timeout, and a waiting call cannot be cancelled. But if the connection's sockets are shut
//! down, libvirt's client sees the end of its connection, and every call over it returns an error. As after any broken
//! connection, it is unknown whether the operation took place.
//!
//! One thread watches all calls of a connection. A new call wakes it only if the call's deadline is before the thread's
//! next check. That happens about once in each timeout, so it costs a call almost nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::sockets::Sockets;

/// How long the thread sleeps if no call is running.
const LONGEST_NAP: Duration = Duration::from_secs(24 * 60 * 60);

/// Watches the calls of one connection. Its thread ends when this is dropped.
pub(super) struct Watchdog(Arc<CallWatch>);

struct CallWatch {
    sockets: Sockets,
    state: Mutex<PendingCalls>,
    changed: Condvar,
}

#[derive(Default)]
struct PendingCalls {
    /// The deadlines of the running calls, by an internal number.
    due: BTreeMap<u64, Instant>,
    next: u64,
    /// The time of the thread's next check.
    looks_at: Option<Instant>,
    ended: bool,
}

impl Watchdog {
    pub(super) fn start(sockets: Sockets) -> Self {
        let shared = Arc::new(CallWatch { sockets, state: Mutex::default(), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        // Without a thread, calls have no timeout, as with every other libvirt client.
        let _ = thread::Builder::new().name("libvirt-calls".into()).spawn(move || own.watch());
        Self(shared)
    }

    /// Makes a call. Returns its answer, and whether it was given up.
    pub(super) fn run_call<T>(&self, limit: Option<Duration>, call: impl FnOnce() -> T) -> (T, bool) {
        let Some(due) = limit.and_then(|limit| Instant::now().checked_add(limit)) else {
            return (call(), false);
        };
        let number = self.add_deadline(due);
        // The watching thread removes an expired deadline, so a deadline that is still there was met.
        let answer = call();
        let in_time = self.0.state().due.remove(&number).is_some();
        (answer, !in_time)
    }

    fn add_deadline(&self, due: Instant) -> u64 {
        let mut state = self.0.state();
        state.next += 1;
        let number = state.next;
        state.due.insert(number, due);
        if state.looks_at.is_none_or(|at| due < at) {
            state.looks_at = Some(due);
            self.0.changed.notify_one();
        }
        number
    }
}

impl CallWatch {
    fn state(&self) -> MutexGuard<'_, PendingCalls> {
        // Each change is one statement, so a panic cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut state = self.state();
        while !state.ended {
            let now = Instant::now();
            let all = state.due.len();
            state.due.retain(|_, due| *due > now);
            if state.due.len() < all {
                // This ends every call over the connection, because libvirt cannot end a single one.
                self.sockets.cut();
            }
            state.looks_at = state.due.values().min().copied();
            let nap = state.looks_at.map_or(LONGEST_NAP, |at| at - now);
            let woken = self.changed.wait_timeout(state, nap);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream, Watchdog) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let sockets = Sockets::default();
        sockets.add(ours.as_raw_fd());
        (ours, theirs, Watchdog::start(sockets))
    }

    #[test]
    fn a_call_without_an_answer_is_given_up() {
        let (mut ours, _theirs, watchdog) = pair();
        let limit = Duration::from_millis(50);
        let (read, given_up) = watchdog.run_call(Some(limit), || ours.read(&mut [0]));
        assert!(given_up);
        assert_eq!(read.unwrap(), 0, "the socket was shut down");
    }

    #[test]
    fn a_call_behind_a_longer_one_has_its_own_time() {
        let (mut ours, _theirs, watchdog) = pair();
        let (long, short) = (Duration::from_secs(3600), Duration::from_millis(50));
        let (inner, outer) = watchdog.run_call(Some(long), || {
            // The thread now sleeps for an hour, so the second call must wake it.
            watchdog.run_call(Some(short), || ours.read(&mut [0]))
        });
        assert!(inner.1, "this one is late");
        assert!(!outer, "that one is not");
    }

    #[test]
    fn calls_in_time_and_without_a_limit_are_left_alone() {
        let (ours, theirs, watchdog) = pair();
        assert_eq!(watchdog.run_call(Some(Duration::from_secs(3600)), || 1), (1, false));
        assert_eq!(watchdog.run_call(None, || 2), (2, false));
        std::io::Write::write_all(&mut &ours, b"x").unwrap();
        (&theirs).read_exact(&mut [0]).unwrap();
    }
}
