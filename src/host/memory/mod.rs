//! A host in memory, with state and injected faults, for tests of order and errors.
//!
//! [`MemoryHost`] is no record of calls with canned answers: it keeps domains, pools, files and
//! networks, and says yes and no where libvirt 11.3 does. A domain may be defined before its
//! volumes exist and then does not start; undefining a running one leaves it running; a file that
//! libvirt has not seen is no volume and still in the way. `tests/pure/host_contract.rs` asks the same
//! of it and of the real thing.
//!
//! What goes wrong is data ([`Effect`]), given for the n-th call or for calls of a name:
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
mod transfers;
mod volumes;
mod xml;

#[cfg(test)]
mod tests;

pub use calls::Effect;
pub use fingerprint::Fingerprint;
pub use guest::{Guest, OnShutdown, OnUnplug};

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
use backend::PoolBackend;
use calls::{Call, Calls};
use image::File;

/// The URI of a host in memory, for messages.
const URI: &str = "memory:///";

/// A virtualization host in memory; see the module. A clone is the same host.
#[derive(Clone)]
pub struct MemoryHost {
    capabilities: Capabilities,
    machine: Machine,
    guest_machine: GuestMachine,
    local: bool,
    /// Whether another foundry holds every lock.
    busy: Arc<AtomicBool>,
    /// Whether it tells what happens to its domains.
    has_events: Arc<AtomicBool>,
    /// Where their lock files are, if rivals are foundries of one machine.
    locks: Option<Arc<TempDir>>,
    inside: Arc<Mutex<Shared>>,
}

/// One lock for everything, so that each call is as atomic as a libvirt call.
struct Shared {
    state: State,
    calls: Calls,
}

/// Everything that is on the host.
#[derive(Default)]
struct State {
    machines: BTreeMap<Uuid, MemoryDomain>,
    /// How guests behave, by the name of their domain; it may not exist yet.
    guests: BTreeMap<String, Guest>,
    pools: BTreeMap<String, PoolCell>,
    /// The files of the host by path. Pools are views of them: a file stays when its pool goes.
    files: BTreeMap<String, File>,
    directories: BTreeSet<String>,
    networks: BTreeMap<String, bool>,
    /// What is known of some of them besides.
    known_networks: BTreeMap<String, Network>,
    /// Interfaces and addresses of its machine; `None` if unknown.
    neighbourhood: Option<Neighbourhood>,
    /// `None`: it is unknown, and every bridge is there.
    bridges: Option<Vec<Bridge>>,
    /// Size of the one file system that all pools are on.
    space: u64,
    /// Whether there is no room for definitions; deleting any volume makes some.
    no_room_for_definitions: bool,
    /// What others have on it, whom libvirt knows nothing of.
    others: u64,
    /// Who is told what happens to domains.
    watchers: Vec<Sender<DomainEvent>>,
    /// How many disks can still be plugged into running domains; `None` is no limit.
    slots: Option<usize>,
}

/// A domain.
struct MemoryDomain {
    name: String,
    /// Its definition; a transient domain has none.
    definition: Option<String>,
    /// What runs; `None` while it is off.
    live: Option<Live>,
    autostart: bool,
    /// Whether a file with its EFI variables was made, which only undefining removes.
    nvram: bool,
    /// What its saved memory is restored with.
    saved: Option<String>,
    /// Why it went off.
    why_off: StateReason,
    /// Its snapshots: their names, and the definition that each was made of.
    snapshots: Vec<(String, String)>,
}

/// The active part of a domain.
struct Live {
    xml: String,
    state: DomainState,
    why: StateReason,
    /// How many more looks find it running after it was asked to shut down.
    looks_left: Option<usize>,
    address_looks: usize,
    agent_looks: usize,
    /// The disks that the guest was asked to let go of, and how many more looks still find each.
    unplugging: BTreeMap<String, OnUnplug>,
    /// The disks that a block job works on.
    block_jobs: BTreeSet<String>,
    /// Whether a libvirt job keeps everybody else from it.
    has_job: bool,
}

/// A pool.
struct PoolCell {
    kind: PoolBackend,
    /// Below which path its volumes are.
    target: String,
    source: PoolSource,
    active: bool,
    autostart: bool,
    /// The files that libvirt has seen in its target.
    known: BTreeSet<String>,
    /// What others had on the file system when libvirt looked last.
    others_seen: u64,
}

/// Why an effect did not come about.
enum Failure {
    /// libvirt would say this.
    Refused(String),
    /// Something else works on the domain.
    Busy(String),
    /// The local side of a transfer failed.
    Transfer { cause: String, interrupted: bool },
    /// libvirt ended, and its client says this.
    Lost(String),
}

/// What the parts of the state answer; the call around it says what was asked.
type StateResult<T> = std::result::Result<T, Failure>;

impl<T: Into<String>> From<T> for Failure {
    fn from(libvirt: T) -> Self {
        Self::Refused(libvirt.into())
    }
}

/// What cannot be read was given by the caller, so it is a refusal.
fn to_failure(error: &HostError) -> Failure {
    Failure::Refused(format!("XML error: {}", error.cause().unwrap_or_default()))
}

impl MemoryHost {
    fn lock_inside(&self) -> MutexGuard<'_, Shared> {
        // A test that panicked inside of a call has failed; the others may still look.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call on a domain, under the name that it has now.
    fn on(&self, method: &str, verb: &str, domain: Uuid) -> Call {
        Call::about_domain(method, verb, &self.lock_inside().state.machine_name(domain))
    }

    /// Makes one call: counts it, lets its hook run, and has the fault that is due come before or
    /// after its effect.
    fn call<T>(&self, call: &Call, act: impl FnOnce(&mut State) -> StateResult<T>) -> Result<T> {
        self.run_hook();
        let Shared { state, calls } = &mut *self.lock_inside();
        let effect = calls.record_call(call);
        if let Some(effect) = effect.filter(|e| e.comes_before()) {
            return Err(call.injected_error(effect));
        }
        let before = state.snapshot();
        let answer = act(state);
        state.send_events(&before);
        let answer = answer.map_err(|failure| call.to_error(failure))?;
        effect.map_or(Ok(answer), |effect| Err(call.injected_error(effect)))
    }

    /// Runs without the lock, so that the hook can act on the host itself.
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
