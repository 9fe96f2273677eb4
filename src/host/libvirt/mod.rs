//! A host behind libvirt: the only code that knows the bindings.
//!
//! Each libvirt call goes through [`Libvirt::call`], which times it for whoever watches, ends it when it has no answer,
//! and turns libvirt's error into one that names what was asked. Lookups are not cached: a handle is fetched where it
//! is used, so that what foundry acts on is what is there now. What the host can do is asked once for each connection:
//! where libvirt looks at QEMU anew for each such answer, each takes seconds.

mod call_timeouts;
mod calling;
mod connecting;
mod direct;
mod disks;
mod domains;
mod event_loop;
mod events;
mod guests;
mod info;
mod keepalive;
mod listing;
mod networks;
mod pools;
mod sending;
mod socket_keeper;
mod sockets;
mod streams;
mod sys;
mod volumes;
mod watchdog;
mod why;
mod write_behind;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use virt::connect::Connect;

pub use self::call_timeouts::CallTimeouts;
use self::calling::{Asked, Unanswered, storage, vm};
use self::events::Subscriptions;
use self::info::CapabilityCache;
pub use self::socket_keeper::{SOCKET_KEEPER, run_socket_keeper};
use self::sockets::Sockets;
use self::watchdog::Watchdog;
use super::libvirt_xml;

/// Receives each libvirt call.
pub trait CallObserver: Send + Sync {
    /// `function` is libvirt's name of the call, `operation` what foundry wants with it.
    fn called(&self, function: &str, operation: &str, took: Duration, error: Option<&str>);
}

/// Watches nothing.
impl CallObserver for () {
    fn called(&self, _: &str, _: &str, _: Duration, _: Option<&str>) {}
}

/// A connection to libvirt.
pub struct Libvirt {
    connection: Connect,
    uri: String,
    observer: Arc<dyn CallObserver>,
    streams_only: bool,
    /// What keeps the socket open when this process is killed in the middle of a transfer.
    socket_keeper: Option<PathBuf>,
    sockets: Sockets,
    timeouts: CallTimeouts,
    watchdog: Watchdog,
    /// The call that ended the connection by having no answer.
    unanswered: OnceLock<Unanswered>,
    told: CapabilityCache,
    subscriptions: Subscriptions,
    /// Whether the host is this machine, once somebody asked.
    is_here: OnceLock<bool>,
    /// The host's name, once somebody asked.
    name: OnceLock<String>,
}

impl Libvirt {
    /// Sends what is uploaded through libvirt's streams only, as to another machine, also where the volume's file
    /// is within reach.
    #[must_use]
    pub fn through_streams_only(self) -> Self {
        Self { streams_only: true, ..self }
    }

    /// Protects libvirtd while data flow through streams, by a process that runs `program` with
    /// [`SOCKET_KEEPER`] as its first argument: there the program calls [`run_socket_keeper`] and nothing else.
    #[must_use]
    pub fn with_socket_keeper(self, program: impl Into<PathBuf>) -> Self {
        Self { socket_keeper: Some(program.into()), ..self }
    }
}
