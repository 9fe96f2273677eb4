//! Domain events: the differences between the state before and after a call.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use uuid::Uuid;

use super::calls::Call;
use super::{HostState, MemoryHost};
use crate::{DomainChange, DomainEvent, DomainState, DomainWatch, Events, Result};

impl Events for MemoryHost {
    fn watch_domains(&self) -> Result<Option<Box<dyn DomainWatch>>> {
        if !self.has_events {
            return Ok(None);
        }
        self.call(&Call::about_host("watch_domains", "watch the domains"), |state| {
            let (sender, events) = channel();
            state.watchers.push(sender);
            Ok(Some(Box::new(MemoryWatch(events)) as Box<dyn DomainWatch>))
        })
    }
}

/// In memory no time passes, so no event comes while waiting.
struct MemoryWatch(Receiver<DomainEvent>);

impl DomainWatch for MemoryWatch {
    fn next(&mut self, _: Duration) -> Option<DomainEvent> {
        self.0.try_recv().ok()
    }
}

/// The properties of a domain that events are about.
pub(super) struct Snapshot {
    name: String,
    definition: Option<String>,
    state: DomainState,
    disks: usize,
}

impl HostState {
    /// The properties of all domains; `None` if nobody watches.
    pub(super) fn snapshot(&self) -> Option<BTreeMap<Uuid, Snapshot>> {
        if self.watchers.is_empty() {
            return None;
        }
        let of = |machine: &super::MemoryDomain| Snapshot {
            name: machine.name.clone(),
            definition: machine.definition.clone(),
            state: machine.state(),
            disks: machine.live.as_ref().map_or(0, |live| live.xml.matches("<disk ").count()),
        };
        Some(self.machines.iter().map(|(uuid, machine)| (*uuid, of(machine))).collect())
    }

    /// Sends the changes since `before` to the watchers. One that came with this call learns of later ones.
    pub(super) fn send_events(&mut self, before: Option<&BTreeMap<Uuid, Snapshot>>) {
        let (Some(before), Some(after)) = (before, self.snapshot()) else { return };
        let all = before.keys().chain(after.keys().filter(|uuid| !before.contains_key(uuid)));
        for uuid in all {
            let (old, new) = (before.get(uuid), after.get(uuid));
            let Some(name) = new.or(old).map(|snapshot| snapshot.name.clone()) else { continue };
            for change in changes(old, new) {
                let event = DomainEvent { domain: *uuid, name: name.clone(), change };
                self.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
            }
        }
    }
}

/// In libvirt's order.
fn changes(old: Option<&Snapshot>, new: Option<&Snapshot>) -> Vec<DomainChange> {
    use DomainState::{Paused, Running, ShutOff};
    let state = |snapshot: Option<&Snapshot>| snapshot.map_or(ShutOff, |snapshot| snapshot.state);
    let definition = |snapshot: Option<&Snapshot>| snapshot.and_then(|snapshot| snapshot.definition.clone());
    let (was, is) = (definition(old), definition(new));
    let defined = (is.is_some() && is != was).then_some(DomainChange::Defined);
    let undefined = (was.is_some() && is.is_none()).then_some(DomainChange::Undefined);
    let moved = match (state(old), state(new)) {
        (ShutOff, Paused | Running) => Some(DomainChange::Started),
        (before, ShutOff) if before != ShutOff => Some(DomainChange::Stopped),
        (Running, Paused) => Some(DomainChange::Paused),
        (Paused, Running) => Some(DomainChange::Resumed),
        _ => None,
    };
    let disks = |snapshot: Option<&Snapshot>| snapshot.map_or(0, |snapshot| snapshot.disks);
    let unplugged = state(new) != ShutOff && disks(new) < disks(old);
    let unplugged = unplugged.then_some(DomainChange::DeviceRemoved);
    [defined, moved, unplugged, undefined].into_iter().flatten().collect()
}
