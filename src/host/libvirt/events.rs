//! Domain events from libvirt.
//!
//! libvirt's event loop calls back in its thread, and each watch has a channel. A connection subscribes with its first
//! watch, one call for each kind of event, because libvirt accepts a callback only once for each connection and kind.
//! It unsubscribes when it ends, because libvirt keeps a connection open while it has subscriptions.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::sys as c;

use super::sys::{self, DomainEventId, RawEvent, Watchers};
use super::{Libvirt, vm};
use crate::{DomainChange, DomainEvent, DomainWatch, Events, Result};

const KINDS: [DomainEventId; 3] =
    [DomainEventId::Lifecycle, DomainEventId::DeviceRemoved, DomainEventId::Agent];

/// The subscriptions of a connection, created with its first watch.
#[derive(Default)]
pub(super) struct Subscriptions(Mutex<Option<Subscribed>>);

/// Ended when this is dropped.
struct Subscribed {
    connection: Connect,
    numbers: Vec<i32>,
    watchers: Arc<Watchers>,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        for number in &self.numbers {
            // On a lost connection, the subscriptions no longer exist, so a failure does not matter.
            let _ = sys::unsubscribe(&self.connection, *number);
        }
    }
}

struct Watch(Receiver<RawEvent>);

impl Events for Libvirt {
    fn watch_domains(&self) -> Result<Option<Box<dyn DomainWatch>>> {
        let mut subscriptions = self.subscriptions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let subscribed = match &*subscriptions {
            Some(subscribed) => subscribed,
            None => match self.subscribe() {
                Ok(new) => subscriptions.insert(new),
                Err(error) if error.code().is(ErrorNumber::NoSupport) => return Ok(None),
                Err(error) => return Err(self.failed(&vm("watch the domains"), &error)),
            },
        };
        let (sender, events) = channel();
        subscribed.watchers.add(sender);
        Ok(Some(Box::new(Watch(events))))
    }
}

impl Libvirt {
    fn subscribe(&self) -> std::result::Result<Subscribed, VirtError> {
        let watchers = Arc::<Watchers>::default();
        let connection = self.connection.clone();
        // Complete before the first call: if a later kind fails, dropping this ends the earlier ones.
        let mut subscribed = Subscribed { connection, numbers: Vec::new(), watchers };
        for kind in KINDS {
            let asked = vm(format!("watch the domains for {kind:?} events"));
            let number = self.raw("virConnectDomainEventRegisterAny", &asked, || {
                sys::subscribe(&self.connection, kind, Arc::clone(&subscribed.watchers))
            })?;
            subscribed.numbers.push(number);
        }
        Ok(subscribed)
    }
}

impl DomainWatch for Watch {
    fn next(&mut self, within: Duration) -> Option<DomainEvent> {
        let begun = Instant::now();
        loop {
            let event = self.0.recv_timeout(within.saturating_sub(begun.elapsed())).ok()?;
            if let Some(change) = change_of(&event) {
                return Some(DomainEvent { domain: event.domain, name: event.name, change });
            }
        }
    }
}

/// `None` for a number of a newer libvirt that this table does not have.
fn change_of(event: &RawEvent) -> Option<DomainChange> {
    let detail = event.detail.cast_unsigned();
    Some(match event.id {
        c::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED => DomainChange::DeviceRemoved,
        c::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE => match detail {
            c::VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED => DomainChange::AgentConnected,
            c::VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_DISCONNECTED => DomainChange::AgentDisconnected,
            _ => return None,
        },
        _ => match detail {
            c::VIR_DOMAIN_EVENT_DEFINED => DomainChange::Defined,
            c::VIR_DOMAIN_EVENT_UNDEFINED => DomainChange::Undefined,
            c::VIR_DOMAIN_EVENT_STARTED => DomainChange::Started,
            c::VIR_DOMAIN_EVENT_SUSPENDED => DomainChange::Paused,
            c::VIR_DOMAIN_EVENT_RESUMED => DomainChange::Resumed,
            c::VIR_DOMAIN_EVENT_STOPPED => DomainChange::Stopped,
            c::VIR_DOMAIN_EVENT_SHUTDOWN => DomainChange::ShutDown,
            c::VIR_DOMAIN_EVENT_PMSUSPENDED => DomainChange::Suspended,
            c::VIR_DOMAIN_EVENT_CRASHED => DomainChange::Crashed,
            _ => return None,
        },
    })
}
