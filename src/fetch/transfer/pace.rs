//! Waits between retries, and stops on cancellation.

use std::time::Duration;

use super::error::TransferError;

/// What a transfer must know of its caller: whether to stop, and how to wait.
pub trait RetryControl {
    /// Whether somebody asked to stop.
    fn stopped(&self) -> bool;

    /// Waits. Long waits are asked for in short pieces, with [`stopped`](Self::stopped) in between.
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Is told that the connection broke or was refused and that the transfer goes on after a while: a sentence.
    fn again(&self, what: &str) {
        let _ = what;
    }
}

/// Nobody stops it.
impl RetryControl for () {
    fn stopped(&self) -> bool {
        false
    }
}

/// How often a user's wish to stop is looked for.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Waits unless cancelled.
pub(super) fn wait(pace: &dyn RetryControl, time: Duration) -> Result<(), TransferError> {
    let mut left = time;
    while !left.is_zero() {
        if pace.stopped() {
            return Err(TransferError::stopped());
        }
        let step = left.min(TICK);
        pace.sleep(step);
        left -= step;
    }
    Ok(())
}
