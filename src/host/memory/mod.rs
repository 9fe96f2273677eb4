//! A host in memory, with state and injected faults, for tests of order and errors.
//!
//! [`MemoryHost`] is not a mock with canned answers: it keeps domains, pools, files and networks, and accepts and
//! refuses what libvirt 11.3 does. A domain may be defined before its volumes exist, and then does not start;
//! undefining a running one leaves it running; a file that libvirt has not seen is no volume and still in the way.
//! `tests/pure/host_contract.rs` runs the same checks on it and on a real host.
//!
//! Faults are data ([`Effect`]), set for the n-th call or for calls of a name:
//!
//! ```
//! # use foundry_host::{Pools, memory::{Effect, MemoryHost}};
//! let host = MemoryHost::new().with_pool("vms", "/pool/vms");
//! let before = host.fingerprint();
//! host.fail_at(0, Effect::LostAfterEffect);
//! host.stop_pool("vms").unwrap_err();
//! assert_eq!(host.changes_since(&before).len(), 2, "it was stopped all the same");
//! ```

mod backend;
mod calls;
mod consoles;
mod described;
mod disks;
mod domains;
mod events;
mod fingerprint;
mod guest;
mod image;
mod info;
mod machine;
mod networks;
mod pools;
mod setup;
mod snapshots;
mod transfers;
mod volumes;
mod warm;
mod xml;

#[cfg(test)]
mod tests;

pub use calls::Effect;
pub use fingerprint::Fingerprint;
pub use guest::{Guest, OnFreeze, OnShutdown, OnUnplug};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use uuid::Uuid;

use super::{
    Bridge, Capabilities, DomainEvent, DomainState, GuestMachine, HostError, Machine, Neighbourhood, Network,
    PoolSource, Result, StateReason,
};
use backend::MemoryBackend;
use calls::{Call, Calls};
use image::File;

/// The URI of a host in memory, as messages show it.
const URI: &str = "memory:///";

/// A virtualization host in memory. Clones share its state, [forks](Self::fork) do not.
#[derive(Clone)]
pub struct MemoryHost {
    capabilities: Capabilities,
    machine: Machine,
    guest_machine: GuestMachine,
    local: bool,
    /// Whether another foundry holds every lock.
    busy: Arc<AtomicBool>,
    /// Whether it sends domain events.
    has_events: bool,
    /// The directory of lock files, if concurrent foundry processes are on one machine.
    locks: Option<Arc<TempDir>>,
    inside: Arc<Mutex<SharedState>>,
}

/// One mutex for the whole state, so each call is as atomic as in libvirt.
struct SharedState {
    state: HostState,
    calls: Calls,
}

/// The state of the host.
#[derive(Clone, Default)]
struct HostState {
    machines: BTreeMap<Uuid, MemoryDomain>,
    /// The behaviour of guests, by domain name; the domain may not exist yet.
    guests: BTreeMap<String, Guest>,
    pools: BTreeMap<String, PoolCell>,
    /// The files of the host by path. Pools are views of them: a file remains when its pool is deleted.
    files: BTreeMap<String, File>,
    directories: BTreeSet<String>,
    networks: BTreeMap<String, bool>,
    /// More details of some networks.
    known_networks: BTreeMap<String, Network>,
    /// Interfaces and addresses of its machine; `None` if unknown.
    neighbourhood: Option<Neighbourhood>,
    /// The bridges; `None` if unknown, and then every bridge exists.
    bridges: Option<Vec<Bridge>>,
    /// The size of the file system that all pools share.
    space: u64,
    /// Whether there is no space for definitions; deleting any volume makes some.
    no_room_for_definitions: bool,
    /// Space used by others, which libvirt does not know.
    others: u64,
    /// The receivers of domain events.
    watchers: Vec<Sender<DomainEvent>>,
    /// How many disks can still be hot-plugged; `None` is no limit.
    slots: Option<usize>,
    /// The number of console sessions so far.
    console_sessions: u64,
}

/// A domain, defined or transient.
#[derive(Clone)]
struct MemoryDomain {
    name: String,
    /// Its definition; `None` for a transient domain.
    definition: Option<String>,
    /// The running domain; `None` while it is off.
    live: Option<Live>,
    autostart: bool,
    /// Whether it has a file with EFI variables, which only undefining deletes.
    nvram: bool,
    /// The definition of its saved memory.
    saved: Option<String>,
    /// Why it went off.
    why_off: StateReason,
    /// Its snapshots, parents first.
    snapshots: Vec<MemorySnapshot>,
}

/// A snapshot of a domain.
#[derive(Clone)]
struct MemorySnapshot {
    name: String,
    /// The `<domainsnapshot>`.
    xml: String,
}

/// The active part of a domain.
#[derive(Clone)]
struct Live {
    xml: String,
    state: DomainState,
    why: StateReason,
    /// How many more queries find it running after a shutdown request.
    looks_left: Option<usize>,
    address_looks: usize,
    agent_looks: usize,
    /// The disks that the guest was asked to release, and how many more queries find each.
    unplugging: BTreeMap<String, OnUnplug>,
    /// The disks that a block job works on.
    block_jobs: BTreeSet<String>,
    /// Whether the file systems of its guest are frozen.
    frozen: bool,
    /// Whether a libvirt job blocks it.
    has_job: bool,
    /// The session of its console, as a number; 0 for none.
    console_session: u64,
    /// What its guest has written to the console and nobody has read.
    console_output: Vec<u8>,
}

/// A storage pool, active or not.
#[derive(Clone)]
struct PoolCell {
    kind: MemoryBackend,
    /// The directory of its volumes.
    target: String,
    source: PoolSource,
    active: bool,
    autostart: bool,
    /// The files that libvirt has seen in its target.
    known: BTreeSet<String>,
    /// Space used by others at libvirt's last refresh.
    others_seen: u64,
}

/// The reason why a call had no effect.
enum Failure {
    /// libvirt's error message.
    Refused(String),
    /// Another job holds the domain.
    Busy(String),
    /// The local side of a transfer failed.
    Transfer { cause: String, interrupted: bool },
    /// libvirtd exited; the client's error message.
    Lost(String),
}

/// The result of a change of the state. The call around it adds the operation.
type StateResult<T> = std::result::Result<T, Failure>;

impl<T: Into<String>> From<T> for Failure {
    fn from(libvirt: T) -> Self {
        Self::Refused(libvirt.into())
    }
}

/// Unreadable XML came from the caller, so it is a refusal.
fn to_failure(error: &HostError) -> Failure {
    Failure::Refused(format!("XML error: {}", error.cause().unwrap_or_default()))
}

impl MemoryHost {
    fn lock_inside(&self) -> MutexGuard<'_, SharedState> {
        // A test that panicked during a call has failed already; others may continue.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call on a domain, with its current name.
    fn on(&self, method: &str, verb: &str, domain: Uuid) -> Call {
        Call::about_domain(method, verb, &self.lock_inside().state.machine_name(domain))
    }

    /// Makes one call: counts it, runs its hook, and injects the fault that is due before or after its effect.
    fn call<T>(&self, call: &Call, act: impl FnOnce(&mut HostState) -> StateResult<T>) -> Result<T> {
        self.run_hook();
        let SharedState { state, calls } = &mut *self.lock_inside();
        let effect = calls.record_call(call);
        if let Some(effect) = effect.filter(|e| e.comes_before()) {
            return Err(call.injected_error(effect));
        }
        let before = state.snapshot();
        let answer = act(state);
        state.send_events(before.as_ref());
        let answer = answer.map_err(|failure| call.to_error(failure))?;
        effect.map_or(Ok(answer), |effect| Err(call.injected_error(effect)))
    }

    /// Runs without the mutex, so that the hook can use the host.
    fn run_hook(&self) {
        let due = self.lock_inside().calls.take_hook();
        if let Some(hook) = due {
            hook(self);
            self.lock_inside().calls.hook_ended();
        }
    }
}

impl fmt::Debug for MemoryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().fmt(f)
    }
}
