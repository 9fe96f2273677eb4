//! One virtualization host, in foundry's terms.
//!
//! [`Host`] is everything that foundry needs from libvirt. Absence is `Ok(None)` and never an error. Domains are
//! identified by UUID once they are found, because a name can be redefined meanwhile. Each refusal names the operation
//! and its object. There are two implementations: `Libvirt`, the only code that uses the bindings, and
//! `memory::MemoryHost`, a host with state and injected faults for tests.

pub mod diagnosis;
mod error;
mod libvirt;
pub mod libvirt_xml;
pub mod local;
mod machine;
#[cfg(feature = "testing")]
pub mod memory;
mod objects;
mod remote_log;
mod state;
mod state_reason;
mod storage;
mod traits;
mod uri;

pub use error::{HostError, Stopped};
pub use libvirt::{CallObserver, CallTimeouts, Libvirt, SOCKET_KEEPER, run_socket_keeper};
pub use local::{HostLock, LockError};
pub use machine::{GuestMachine, Machine, SecurityModel};
pub use objects::{
    AddressSource, Affect, Bridge, Capabilities, Domain, DomainSample, GuestAddress, KeptOnUndefine,
    LinkAddress, Neighbour, Neighbourhood, Network, StateNow, Subnet, View, command_name, is_up, shell_name,
};
pub use remote_log::{RemoteLog, RemoteLogContent};
pub use state::DomainState;
pub use state_reason::StateReason;
pub use storage::{Pool, PoolSource, Volume};
pub use traits::{
    AgentAnswer, Console, ConsoleOutput, Consoles, Disks, DomainChange, DomainEvent, DomainWatch, Domains,
    Events, Guests, Host, HostInfo, Networks, Pools, Screenshot, Snapshots, Transfers, Volumes, WarmStarts,
    Zeros,
};
pub use uri::{is_local_uri, ssh_host_of};

/// The result of a call to a host.
pub type Result<T> = std::result::Result<T, HostError>;
