//! Events of domains.

use std::time::Duration;

use uuid::Uuid;

use crate::Result;

/// Events of domains, as they happen.
pub trait Events: Send + Sync {
    /// Subscribes to the events of all domains. Events are queued from now on, so nothing is lost between a look at a
    /// domain and the wait for its next change. `None` if the host has no events.
    fn watch_domains(&self) -> Result<Option<Box<dyn DomainWatch>>>;
}

/// A subscription to the events of all domains of a host. Dropped, it ends.
pub trait DomainWatch: Send {
    /// Waits for the next event, at most that long.
    fn next(&mut self, within: Duration) -> Option<DomainEvent>;

    /// Waits for an event of one domain, at most that long, and returns whether there was one.
    fn wait_for(&mut self, domain: Uuid, within: Duration) -> bool {
        let begun = std::time::Instant::now();
        loop {
            match self.next(within.saturating_sub(begun.elapsed())) {
                Some(event) if event.domain == domain => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }
}

/// Something that happened to a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainEvent {
    /// The domain.
    pub domain: Uuid,
    /// Its name at that time.
    pub name: String,
    /// What happened.
    pub change: DomainChange,
}

/// What happened to a domain (libvirt's page "libvirt-domain", `virDomainEventType` and `virDomainEventID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DomainChange {
    /// Its definition was added or changed.
    Defined,
    /// Its definition was removed.
    Undefined,
    /// It started, was restored or came from another host.
    Started,
    /// It was paused.
    Paused,
    /// It goes on.
    Resumed,
    /// It is off.
    Stopped,
    /// The guest has powered off; QEMU is about to end.
    ShutDown,
    /// The guest put itself to sleep.
    Suspended,
    /// The guest crashed.
    Crashed,
    /// A device was removed from the running domain.
    DeviceRemoved,
    /// The guest agent connected.
    AgentConnected,
    /// The guest agent disconnected.
    AgentDisconnected,
}
