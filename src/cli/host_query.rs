//! Queries the host for names while the user is typing: for completion and for `init`. Whatever does not answer within
//! a second is left out.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::Global;
use super::connect::libvirt_uri;
use super::output::parse_duration;
use foundry_engine::{Cancel, Context, Settings, SystemClock};
use foundry_host::{CallTimeouts, Libvirt};

/// The default of `FOUNDRY_COMPLETION_TIMEOUT`, which helps if the host is far away.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_VARIABLE: &str = "FOUNDRY_COMPLETION_TIMEOUT";

/// Returns what `look` finds within the timeout. A daemon that does not answer must not block a prompt: the waiting
/// thread ends with this process.
pub(super) fn within_timeout<T: Send + 'static>(
    look: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let (answer, answered) = channel();
    thread::spawn(move || answer.send(look()));
    answered.recv_timeout(completion_timeout()).ok().flatten()
}

/// Queries the configured host over a read-only connection.
pub(super) fn query_host<T>(global: &Global, look: impl FnOnce(&Context) -> Option<T>) -> Option<T> {
    // With a wrong configuration these would be the names of another host.
    global.resolved().check_errors().ok()?;
    let settings: Settings = global.engine_settings().ok()?;
    let host = Libvirt::connect_read_only(
        &without_prompt(libvirt_uri(global)),
        Arc::new(()),
        CallTimeouts::of(completion_timeout()),
    )
    .ok()?;
    look(&Context {
        host: Arc::new(host),
        settings: Arc::new(settings),
        progress: Arc::new(()),
        clock: Arc::new(SystemClock::default()),
        cancel: Cancel::default(),
        lease: Arc::default(),
    })
}

fn completion_timeout() -> Duration {
    let set = std::env::var(PATIENCE_VARIABLE).ok().and_then(|text| parse_duration(&text).ok());
    set.unwrap_or(PATIENCE)
}

/// Keeps ssh from asking for a password in the middle of the command line (libvirt's page "Remote support").
fn without_prompt(uri: String) -> String {
    if !uri.split("://").next().is_some_and(|scheme| scheme.ends_with("+ssh")) {
        return uri;
    }
    let sign = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{sign}no_tty=1")
}
