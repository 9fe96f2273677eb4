//! Waits between retries, and stops on cancellation.

use std::time::Duration;

use super::error::TransferError;

/// What a transfer must know of its caller: whether to stop, and how to wait.
pub trait RetryControl {
    /// Whether somebody asked to stop.
    fn should_stop(&self) -> bool;

    /// Waits. Long waits are asked for in short pieces, with [`stopped`](Self::stopped) in between.
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// Is told that the connection broke or was refused and that the transfer goes on after a while: a sentence.
    fn on_retry(&self, what: &str) {
        let _ = what;
    }
}

/// Nobody stops it.
impl RetryControl for () {
    fn should_stop(&self) -> bool {
        false
    }
}

/// How often a user's wish to stop is looked for.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Waits unless cancelled.
pub(super) fn wait_unless_stopped(control: &dyn RetryControl, time: Duration) -> Result<(), TransferError> {
    let mut left = time;
    while !left.is_zero() {
        if control.should_stop() {
            return Err(TransferError::interrupted());
        }
        let step = left.min(TICK);
        control.sleep(step);
        left -= step;
    }
    Ok(())
}
