//! Waits between retries, and stops on cancellation.

use std::time::Duration;

use super::error::TransferError;

/// Lets the caller of a transfer interrupt it, and wait in its own way.
pub trait RetryControl {
    /// Whether the transfer should stop.
    fn should_stop(&self) -> bool;

    /// Waits. Long waits are split into short parts, with [`should_stop`](Self::should_stop) between them.
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Is called with a sentence before a failed request is tried again.
    fn on_retry(&self, what: &str) {
        let _ = what;
    }
}

/// Never stops.
impl RetryControl for () {
    fn should_stop(&self) -> bool {
        false
    }
}

/// Interval between two checks for an interruption.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Waits, unless the transfer should stop.
pub(super) fn wait_unless_stopped(control: &dyn RetryControl, time: Duration) -> Result<(), TransferError> {
    let mut left = time;
    while !left.is_zero() {
        if control.should_stop() {
            return Err(TransferError::interrupted());
        }
        let part = left.min(TICK);
        control.sleep(part);
        left -= part;
    }
    Ok(())
}
