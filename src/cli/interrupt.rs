//! Signals: the first stops an operation and has it undone, the second stops the undoing.
//!
//! A command that only looks is ended at once. One that changes something says so with [`guard`]; from
//! then on a signal raises the operation's [`Cancel`] and the operation ends itself.

use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Kind};
use crate::operations::Cancel;

/// The signal after which nothing is waited for any more.
const LAST: usize = 3;

/// Has signals raise `cancel` from here on.
///
/// # Errors
/// Where the system refuses a signal handler.
pub(super) fn guard(cancel: &Cancel) -> Result<(), Error> {
    let failed = |e: std::io::Error| {
        Error::new(Kind::Configuration, "cannot listen to signals").because(e.to_string())
    };
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let cancel = cancel.clone();
    thread::spawn(move || {
        for (count, _) in (1..).zip(signals.forever()) {
            cancel.request();
            if count >= LAST {
                process::exit(i32::from(Kind::Interrupted.exit_code()));
            }
        }
    });
    Ok(())
}
