//! One virtualization host, in foundry's terms.
//!
//! [`Host`] is all that foundry asks of libvirt. Absence is `Ok(None)` and never an error, domains
//! are named by UUID once they are found (a name can be redefined under our hands, a UUID cannot),
//! and each refusal says what was asked of which object. Two things implement it: `Libvirt`, the
//! only code that knows the bindings, and `memory::MemoryHost`, a host with state and refusals for
//! tests of order and faults.

pub mod diagnosis;
mod error;
mod libvirt;
pub mod libvirt_xml;
pub mod local;
mod lock;
mod machine;
#[cfg(feature = "testing")]
pub mod memory;
mod objects;
mod state;
mod storage;
mod traits;
mod uri;
mod why;

pub use error::{HostError, Stopped};
pub use libvirt::{CallObserver, CallTimeouts, Libvirt, SOCKET_KEEPER, run_socket_keeper};
pub use lock::{HostLock, LockError};
pub use machine::{GuestMachine, Machine, SecurityModel};
pub use objects::{
    AddressSource, Affect, Bridge, Capabilities, Domain, GuestAddress, KeptOnUndefine, LinkAddress,
    Neighbour, Neighbourhood, Network, StateNow, Subnet, View, command_name, is_up, shell_name,
};
pub use state::DomainState;
pub use storage::{Pool, PoolSource, Volume};
pub use traits::{
    Disks, DomainChange, DomainEvent, DomainWatch, Domains, Events, Guests, Host, HostInfo, Networks, Pools,
    Transfers, Volumes, Zeros,
};
pub use uri::is_local_uri;
pub use why::Why;

/// The result of asking the host for something.
pub type Result<T> = std::result::Result<T, HostError>;
