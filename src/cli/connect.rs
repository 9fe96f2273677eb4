//! Connects to libvirt, and gives a command its session.

use super::Global;
use super::ui::Ui;
use crate::config::{Key, Origin};
use foundry_core::error::Error;
use foundry_engine::{Cancel, Session, Settings, SystemClock};
use foundry_host::{CallTimeouts, Libvirt, run_event_loop};

/// A connection with everything that an operation needs.
pub(super) struct Connected<'a> {
    host: Libvirt,
    settings: Settings,
    clock: SystemClock,
    ui: &'a Ui,
    /// Raised by signals, once a command says that it changes something.
    pub(super) cancel: Cancel,
}

impl Connected<'_> {
    /// What operations take.
    pub(super) fn session(&self) -> Session<'_> {
        Session {
            host: &self.host,
            settings: &self.settings,
            progress: self.ui,
            clock: &self.clock,
            cancel: &self.cancel,
        }
    }
}

/// Connects to the libvirt that the flags and the environment name.
pub(super) fn connect<'a>(global: &Global, ui: &'a Ui) -> Result<Connected<'a>, Error> {
    let settings = global.settings()?;
    tell_overruled(global, ui);
    run_event_loop();
    let patience = CallTimeouts::of(global.found().timeout(Key::CallTimeout));
    let host = Libvirt::connect_within(&uri(global), ui.observer(), patience)?;
    Ok(Connected { host, settings, clock: SystemClock::default(), ui, cancel: Cancel::default() })
}

/// The URI of that libvirt.
pub(super) fn uri(global: &Global) -> String {
    global.found().uri()
}

/// Who names a context and has libvirt's URI in a variable would be surprised by where the command goes.
fn tell_overruled(global: &Global, ui: &Ui) {
    let (context, connect) = (global.config().context(), global.config().get(Key::Connect));
    if let (Some(context), Some(connect)) = (context, connect)
        && matches!((&context.origin, &connect.origin), (Origin::Flag(_), Origin::Variable(_)))
    {
        ui.warn(&format!(
            "--context {} names no connection here: {} goes before it",
            context.text, connect.origin
        ));
    }
}
