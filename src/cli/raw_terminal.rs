//! The terminal's raw mode, in which each key goes to the program, and its end.

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The mode before the raw one; `None` if the terminal is in its own mode. It is global because a signal can end the
/// process from another thread.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The raw mode of the terminal on stdin. Dropped, also by a panic, it restores the mode before.
#[must_use]
pub(crate) struct RawTerminal(());

impl RawTerminal {
    /// Turns the raw mode on (termios(3), cfmakeraw): no echo, no signals by keys, no translation of line ends.
    ///
    /// # Errors
    /// If stdin is no terminal, or refuses.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let entered = Self(());
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(entered)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Restores the mode before the raw one, if it is on. What ends the process without unwinding calls it.
pub(crate) fn restore_terminal() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that has closed needs no mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
