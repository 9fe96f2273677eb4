//! `--watch`: lists repeatedly until somebody stops it.

use std::thread;
use std::time::Duration;

use super::Global;
use super::connect::connect_host;
use super::ui::Ui;
use foundry_core::error::{Error, Kind};
use foundry_engine::Context;

/// Between two looks, and between two tries to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks until the reader of stdout has gone, or a signal ends the process. A connection that breaks is recreated; what
/// else fails ends it.
///
/// # Errors
/// Where libvirt cannot be reached in the beginning, and those of `look`.
pub(super) fn watch_host(
    global: &Global,
    ui: &Ui,
    mut look: impl FnMut(&Context) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut context = connect_host(global, ui)?;
    while !ui.is_unread() {
        match look(&context) {
            Err(lost) if lost.kind() == Kind::Connection => {
                ui.show_note(&format!("the connection is lost, and tried again: {lost}"));
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

/// A connection, as soon as there is one; `None` where nobody reads any more.
fn reconnect_host(global: &Global, ui: &Ui) -> Option<Context> {
    while !ui.is_unread() {
        thread::sleep(PAUSE);
        if let Ok(context) = connect_host(global, ui) {
            ui.show_note("connected again");
            return Some(context);
        }
    }
    None
}
