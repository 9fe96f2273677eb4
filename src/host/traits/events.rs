//! Events of domains.

use std::time::Duration;

use uuid::Uuid;

use crate::Result;

/// Events of domains: what happens to them, told as it happens.
pub trait Events: Send + Sync {
    /// Watches the domains from now on. Each call of the watch returns what happened since the last one, so nothing is
    /// lost between a look at a domain and the wait for its next change. `None` on a host without events.
    fn watch_domains(&self) -> Result<Option<Box<dyn DomainWatch>>>;
}

/// A subscription to the events of all domains of a host. Dropped, it ends.
pub trait DomainWatch: Send {
    /// The next event, waited for at most so long.
    fn next(&mut self, within: Duration) -> Option<DomainEvent>;

    /// Waits until something happens to a domain, at most so long; returns whether something did.
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
