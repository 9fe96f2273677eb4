//! `--watch`: repeats a listing until it is stopped.

use std::thread;
use std::time::Duration;

use super::Global;
use super::connect::connect_host;
use super::ui::Ui;
use foundry_core::error::{Error, Kind};
use foundry_engine::Context;

/// The pause between two listings, and between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Calls `look` until the reader of stdout closes it or a signal ends the process. If the connection breaks, it
/// reconnects; any other error ends it.
///
/// # Errors
/// If libvirt cannot be reached at the start, and those of `look`.
pub(super) fn watch_host(
    global: &Global,
    ui: &Ui,
    mut look: impl FnMut(&Context) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut context = connect_host(global, ui)?;
    while !ui.is_unread() {
        match look(&context) {
            Err(lost) if lost.kind() == Kind::Connection => {
                ui.show_note(&format!("connection lost, reconnecting: {lost}"));
                match reconnect_host(global, ui) {
                    Some(anew) => context = anew,
                    None => break,
                }
            }
            looked => looked?,
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Waits for a new connection; `None` if the reader of stdout closes it meanwhile.
fn reconnect_host(global: &Global, ui: &Ui) -> Option<Context> {
    while !ui.is_unread() {
        thread::sleep(PAUSE);
        if let Ok(context) = connect_host(global, ui) {
            ui.show_note("reconnected");
            return Some(context);
        }
    }
    None
}
