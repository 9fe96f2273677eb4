//! Connects to libvirt, and gives a command its context.

use std::sync::Arc;

use super::Global;
use super::ui::Ui;
use crate::config::{Key, Origin};
use foundry_core::error::Error;
use foundry_engine::{Cancel, Context, SystemClock};
use foundry_host::{CallTimeouts, Libvirt};

/// This program, whatever became of its file since it was started (proc_pid_exe(5)).
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Connects to the libvirt that the flags and the environment name, and returns what operations need.
pub(super) fn connect(global: &Global, ui: &Ui) -> Result<Context, Error> {
    let settings = global.settings()?;
    tell_overruled(global, ui);
    let timeouts = CallTimeouts::of(global.found().timeout(Key::CallTimeout));
    let host = Libvirt::connect_within(&uri(global), ui.observer(), timeouts)?;
    let host = host.with_socket_keeper(OWN_PROGRAM);
    Ok(Context {
        host: Arc::new(host),
        settings: Arc::new(settings),
        progress: Arc::new(ui.clone()),
        clock: Arc::new(SystemClock::default()),
        cancel: Cancel::default(),
    })
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
