//! Which libvirt, and what a command has of it.

use std::env;

use super::Global;
use super::ui::Ui;
use crate::error::Error;
use crate::host::{Libvirt, Patience, run_event_loop};
use crate::operations::{Cancel, Session, Settings, SystemClock, is_root};

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
    run_event_loop();
    let patience = Patience::of(global.call_timeout);
    let host = Libvirt::connect_within(&uri(global), ui.observer(), patience)?;
    Ok(Connected { host, settings, clock: SystemClock::default(), ui, cancel: Cancel::default() })
}

/// `--connect` and `FOUNDRY_CONNECT` (clap joins them), then libvirt's own variable, then the choice
/// that suits who asks.
pub(super) fn uri(global: &Global) -> String {
    let set = |text: &String| !text.is_empty();
    let named =
        global.connect.clone().filter(set).or_else(|| env::var("LIBVIRT_DEFAULT_URI").ok().filter(set));
    named.unwrap_or_else(|| if is_root() { "qemu:///system".into() } else { "qemu:///session".into() })
}
