//! `--watch`: lists repeatedly until somebody stops it.

use std::thread;
use std::time::Duration;

use super::Global;
use super::connect::{Connected, connect};
use super::ui::Ui;
use foundry_core::error::{Error, Kind};
use foundry_engine::Session;

/// Between two looks, and between two tries to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks until the reader of stdout has gone, or a signal ends the process. A connection that breaks is recreated; what
/// else fails ends it.
///
/// # Errors
/// Where libvirt cannot be reached in the beginning, and those of `look`.
pub(super) fn watch(
    global: &Global,
    ui: &Ui,
    mut look: impl FnMut(&Session<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut connected = connect(global, ui)?;
    while !ui.is_unread() {
        match look(&connected.session()) {
            Err(lost) if lost.kind() == Kind::Connection => {
                ui.note(&format!("the connection is lost, and tried again: {lost}"));
                match reconnected(global, ui) {
                    Some(anew) => connected = anew,
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
fn reconnected<'a>(global: &Global, ui: &'a Ui) -> Option<Connected<'a>> {
    while !ui.is_unread() {
        thread::sleep(PAUSE);
        if let Ok(connected) = connect(global, ui) {
            ui.note("connected again");
            return Some(connected);
        }
    }
    None
}
