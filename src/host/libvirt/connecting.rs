//! Opens a connection to libvirt.

use std::fs::File;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::error::{Error as VirtError, clear_error_callback};

use super::events::Subscriptions;
use super::info::CapabilityCache;
use super::sockets::Sockets;
use super::watchdog::Watchdog;
use super::{CallObserver, CallTimeouts, Libvirt, event_loop, keepalive};
use crate::{HostError, Result};
use foundry_core::text::describe_io_error;

/// A call that opens a connection.
type Way = fn(Option<&str>) -> std::result::Result<Connect, VirtError>;

impl Libvirt {
    /// Connects with the default timeouts. `uri` is a libvirt URI (its page "Connection URIs"); if it is empty, libvirt
    /// chooses one.
    ///
    /// # Errors
    /// [`HostError::Connect`] with libvirt's reason.
    pub fn connect(uri: &str, observer: Arc<dyn CallObserver>) -> Result<Self> {
        Self::connect_within(uri, observer, CallTimeouts::default())
    }

    /// Connects. A call that is not answered in time fails and ends the connection.
    ///
    /// # Errors
    /// [`HostError::Connect`] with libvirt's reason.
    pub fn connect_within(
        uri: &str,
        observer: Arc<dyn CallObserver>,
        timeouts: CallTimeouts,
    ) -> Result<Self> {
        Self::connect_by(("virConnectOpen", Connect::open), uri, observer, timeouts)
    }

    /// Connects read-only. libvirt then asks for no credentials (its page "Connection authentication") and refuses
    /// every change.
    ///
    /// # Errors
    /// As [`Self::connect_within`].
    pub fn connect_read_only(
        uri: &str,
        observer: Arc<dyn CallObserver>,
        timeouts: CallTimeouts,
    ) -> Result<Self> {
        Self::connect_by(("virConnectOpenReadOnly", Connect::open_read_only), uri, observer, timeouts)
    }

    fn connect_by(
        (function, way): (&str, Way),
        uri: &str,
        observer: Arc<dyn CallObserver>,
        timeouts: CallTimeouts,
    ) -> Result<Self> {
        // Otherwise the library writes each error to stderr, including the expected ones.
        clear_error_callback();
        let failed = |libvirt: String| HostError::Connect { uri: uri.to_owned(), libvirt };
        if uri.contains(char::is_control) {
            // The bindings panic on a NUL byte in an optional string.
            return Err(failed("the URI holds control characters".into()));
        }
        if let Some(cause) = missing_file(uri) {
            return Err(failed(cause));
        }
        let begun = Instant::now();
        let opened = open(way, uri, timeouts.limit());
        let error = opened.as_ref().err().cloned();
        observer.called(function, &format!("connect to {uri}"), begun.elapsed(), error.as_deref());
        let (connection, sockets) = opened.map_err(failed)?;
        keepalive::keep_alive(&connection, timeouts);
        // Only after the connection is open: `open` has a time limit of its own.
        let watchdog = Watchdog::start(sockets.clone());
        let (uri, unanswered) = (uri.to_owned(), OnceLock::new());
        Ok(Self {
            connection,
            uri,
            observer,
            streams_only: false,
            socket_keeper: None,
            sockets,
            timeouts,
            watchdog,
            unanswered,
            capability_cache: CapabilityCache::default(),
            subscriptions: Subscriptions::default(),
            is_here: OnceLock::new(),
            name: OnceLock::new(),
        })
    }
}

/// Why the file of libvirt's test driver cannot be read (its page "Test driver"). libvirt reads it in this process with
/// libxml2, which writes to stderr if the file is missing.
fn missing_file(uri: &str) -> Option<String> {
    let path = uri.strip_prefix("test://")?.split(['?', '#']).next()?;
    if matches!(path, "" | "/" | "/default") {
        return None;
    }
    let opened = File::open(path).and_then(|file| file.metadata());
    match opened {
        Ok(file) if file.is_file() => None,
        Ok(_) => Some(format!("{path} is not a file")),
        Err(e) => Some(format!("cannot open {path}: {}", describe_io_error(&e))),
    }
}

/// Opens the connection in its own thread. If there is no answer in time, the socket is shut down and the thread is
/// abandoned. If it waits for a name server or for the network, it ends when that wait ends.
fn open(way: Way, uri: &str, limit: Option<Duration>) -> std::result::Result<(Connect, Sockets), String> {
    // First of all: a connection adds its sockets to the loop that is registered when it opens.
    event_loop::start();
    let sockets = Sockets::default();
    let (sender, answer) = sync_channel(1);
    let (own_uri, own_sockets) = (uri.to_owned(), sockets.clone());
    let opening = move || {
        let opened = event_loop::collect_sockets(&own_sockets, || way(Some(&own_uri)));
        // If the receiver has given up, the connection is closed again.
        let _ = sender.send(opened);
    };
    thread::Builder::new().name("libvirt-connect".into()).spawn(opening).map_err(|e| e.to_string())?;
    let opened = match limit {
        Some(limit) => answer.recv_timeout(limit),
        None => answer.recv().map_err(RecvTimeoutError::from),
    };
    match opened {
        Ok(Ok(connection)) => Ok((connection, sockets)),
        Ok(Err(error)) => Err(error.message().to_owned()),
        Err(RecvTimeoutError::Timeout) => {
            sockets.cut();
            Err(format!("no answer within {} s", limit.unwrap_or_default().as_secs_f32()))
        }
        Err(RecvTimeoutError::Disconnected) => Err("the bindings panicked".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foundry_core::error::Kind;

    #[test]
    fn a_refused_connection_says_which_and_why() {
        let Err(error) = Libvirt::connect("qemu+unix:///system?socket=/nonexistent/sock", Arc::new(()))
        else {
            panic!("connected to a socket that does not exist");
        };
        assert_eq!(error.kind(), Kind::Connection);
        assert!(error.cause().is_some_and(|c| c.contains("/nonexistent/sock")), "{error:?}");
        assert!(format!("{:?}", error.advice()).contains("libvirtd"));
    }

    #[test]
    fn a_nul_byte_in_a_uri_is_an_error_and_no_panic() {
        assert!(matches!(Libvirt::connect("a\0b", Arc::new(())), Err(HostError::Connect { .. })));
    }

    #[test]
    fn a_missing_test_host_is_named_without_an_error_number() {
        let cause = missing_file("test:///nowhere/host.xml");
        assert_eq!(cause.as_deref(), Some("cannot open /nowhere/host.xml: no such file"));
        assert_eq!(missing_file("test:///default"), None);
    }
}
