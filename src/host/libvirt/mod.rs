//! A host reached through libvirt. Only this folder uses the bindings.
//!
//! Each libvirt call goes through [`Libvirt::call`], which measures its time, ends it after a timeout, and turns
//! libvirt's error into one that names the operation. Lookups are not cached: a handle is looked up where it is used,
//! so that foundry always acts on the current object. Capabilities are queried once for each connection, because
//! libvirt may probe QEMU again for each such answer, which takes seconds.

mod call_timeouts;
mod calling;
mod connecting;
mod consoles;
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
mod snapshots;
mod socket_keeper;
mod sockets;
mod streams;
mod sys;
mod volumes;
mod warm;
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

/// Is notified of each libvirt call.
pub trait CallObserver: Send + Sync {
    /// Called after each call. `function` is libvirt's name for it, `operation` is its purpose.
    fn called(&self, function: &str, operation: &str, took: Duration, error: Option<&str>);
}

/// Ignores all calls.
impl CallObserver for () {
    fn called(&self, _: &str, _: &str, _: Duration, _: Option<&str>) {}
}

/// A connection to libvirt.
pub struct Libvirt {
    connection: Connect,
    uri: String,
    observer: Arc<dyn CallObserver>,
    streams_only: bool,
    /// The program that keeps the socket open if this process is killed during a transfer.
    socket_keeper: Option<PathBuf>,
    sockets: Sockets,
    timeouts: CallTimeouts,
    watchdog: Watchdog,
    /// The call whose timeout ended the connection.
    unanswered: OnceLock<Unanswered>,
    capability_cache: CapabilityCache,
    subscriptions: Subscriptions,
    /// Whether the host is this machine; computed on first use.
    is_here: OnceLock<bool>,
    /// The host's name; queried on first use.
    name: OnceLock<String>,
}

impl Libvirt {
    /// Always uploads through libvirt's streams, as to another machine, even if the volume's file is accessible.
    #[must_use]
    pub fn through_streams_only(self) -> Self {
        Self { streams_only: true, ..self }
    }

    /// Protects libvirtd during stream transfers with a process that runs `program` with [`SOCKET_KEEPER`] as its first
    /// argument. In that process the program must call [`run_socket_keeper`] and nothing else.
    #[must_use]
    pub fn with_socket_keeper(self, program: impl Into<PathBuf>) -> Self {
        Self { socket_keeper: Some(program.into()), ..self }
    }
}
