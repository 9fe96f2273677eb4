//! A short look at the host for somebody who is typing: what it has is offered, and what it does not tell at once is not.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::Global;
use super::connect::libvirt_uri;
use super::output::parse_duration;
use foundry_engine::{Cancel, Context, Settings, SystemClock};
use foundry_host::{CallTimeouts, Libvirt};

/// Nobody waits longer for names, unless their host is far away and they say so.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_VARIABLE: &str = "FOUNDRY_COMPLETION_TIMEOUT";

/// What is found within that time. A daemon that does not answer must not hold up a prompt: who still waits for it ends
/// with this process.
pub(super) fn within_timeout<T: Send + 'static>(
    look: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let (answer, answered) = channel();
    thread::spawn(move || answer.send(look()));
    answered.recv_timeout(completion_timeout()).ok().flatten()
}

/// Looks at the host that is meant, over a connection that can change nothing.
pub(super) fn query_host<T>(global: &Global, look: impl FnOnce(&Context) -> Option<T>) -> Option<T> {
    // Names of another host would be worse than none.
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

/// An ssh that asks for a password would ask in the middle of the command line (libvirt's page "Remote support").
fn without_prompt(uri: String) -> String {
    if !uri.split("://").next().is_some_and(|scheme| scheme.ends_with("+ssh")) {
        return uri;
    }
    let sign = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{sign}no_tty=1")
}
