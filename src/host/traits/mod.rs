//! The calls to a host, by topic.

mod consoles;
mod disks;
mod domains;
mod events;
mod guests;
mod info;
mod networks;
mod pools;
mod snapshots;
mod transfers;
mod volumes;
mod warm;

pub use self::consoles::{Console, ConsoleOutput, Consoles, Screenshot};
pub use self::disks::Disks;
pub use self::domains::Domains;
pub use self::events::{DomainChange, DomainEvent, DomainWatch, Events};
pub use self::guests::{AgentAnswer, Guests};
pub use self::info::HostInfo;
pub use self::networks::Networks;
pub use self::pools::Pools;
pub use self::snapshots::Snapshots;
pub use self::transfers::{Transfers, Zeros};
pub use self::volumes::Volumes;
pub use self::warm::WarmStarts;

/// All calls to a virtualization host. `&dyn Host` has each of them; for a concrete type, import the trait that has the
/// call.
///
/// Each implementation keeps the contract in `tests/pure/host_contract.rs`.
pub trait Host:
    HostInfo
    + Domains
    + Snapshots
    + Disks
    + Events
    + Guests
    + Consoles
    + Pools
    + Volumes
    + Transfers
    + Networks
    + WarmStarts
{
}

impl<
    T: HostInfo
        + Domains
        + Snapshots
        + Disks
        + Events
        + Guests
        + Consoles
        + Pools
        + Volumes
        + Transfers
        + Networks
        + WarmStarts,
> Host for T
{
}
