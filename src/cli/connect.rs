//! Connects to libvirt, and gives a command its context.

use std::sync::Arc;

use super::Global;
use super::ui::Ui;
use crate::config::{SettingKey, SettingOrigin};
use foundry_core::error::Error;
use foundry_engine::{Cancel, Context, Settings, SystemClock};
use foundry_host::{CallTimeouts, Libvirt};

/// This program, whatever became of its file since it was started (proc_pid_exe(5)).
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Connects to the libvirt that the flags and the environment name, and returns what operations need.
pub(super) fn connect_host(global: &Global, ui: &Ui) -> Result<Context, Error> {
    warn_overridden_context(global, ui);
    connect_as(&libvirt_uri(global), global.engine_settings()?, global, ui)
}

/// Connects to a libvirt with settings of the caller's.
pub(super) fn connect_as(uri: &str, settings: Settings, global: &Global, ui: &Ui) -> Result<Context, Error> {
    let timeouts = CallTimeouts::of(global.resolved().timeout_for(SettingKey::CallTimeout));
    let host = Libvirt::connect_within(uri, ui.call_observer(), timeouts)?;
    let host = host.with_socket_keeper(OWN_PROGRAM);
    Ok(Context {
        host: Arc::new(host),
        settings: Arc::new(settings),
        progress: Arc::new(ui.clone()),
        clock: Arc::new(SystemClock::default()),
        cancel: Cancel::default(),
        lease: Arc::default(),
    })
}

/// The URI of the libvirt to connect to.
pub(super) fn libvirt_uri(global: &Global) -> String {
    global.resolved().libvirt_uri()
}

/// Warns if `--context` has no effect on the connection, because an environment variable overrides it.
fn warn_overridden_context(global: &Global, ui: &Ui) {
    let (context, connect) =
        (global.effective_config().current_context(), global.effective_config().get(SettingKey::Connect));
    if let (Some(context), Some(connect)) = (context, connect)
        && matches!((&context.origin, &connect.origin), (SettingOrigin::Flag(_), SettingOrigin::Variable(_)))
    {
        ui.show_warning(&format!(
            "--context {} does not set the connection: {} overrides it",
            context.text, connect.origin
        ));
    }
}
