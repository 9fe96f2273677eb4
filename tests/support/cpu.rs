//! How much of a processor's time something takes, which is the same beside whatever else the machine does.

use std::time::Duration;

/// A second of the kernel's clock for processes (its USER_HZ).
const TICKS: u64 = 100;

/// What this thread has taken so far, to a hundredth of a second.
fn taken() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The name before these may hold anything, and ends with the last parenthesis.
    let (_, numbers) = stat.rsplit_once(") ").unwrap();
    let ticks = |field: usize| -> u64 { numbers.split(' ').nth(field).unwrap().parse().unwrap() };
    // utime and stime, fields 14 and 15 of proc_pid_stat(5); the state is field 3.
    Duration::from_millis((ticks(11) + ticks(12)) * 1000 / TICKS)
}

/// Runs something in this thread, and says how long it ran, without what it waited.
pub(crate) fn time<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begun = taken();
    let done = act();
    (done, taken().saturating_sub(begun))
}
