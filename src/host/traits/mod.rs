//! What foundry asks of a host, by what it is about.

mod disks;
mod domains;
mod events;
mod guests;
mod info;
mod networks;
mod pools;
mod transfers;
mod volumes;

pub use self::disks::Disks;
pub use self::domains::Domains;
pub use self::events::{DomainChange, DomainEvent, DomainWatch, Events};
pub use self::guests::Guests;
pub use self::info::HostInfo;
pub use self::networks::Networks;
pub use self::pools::Pools;
pub use self::transfers::{Transfers, Zeros};
pub use self::volumes::Volumes;

/// What foundry asks of a virtualization host: all of it. Through `&dyn Host` each call is at hand; of a host whose
/// type is known, the part that has the call must be imported.
///
/// The contract that each implementation keeps is `tests/pure/host_contract.rs`.
pub trait Host:
    HostInfo + Domains + Disks + Events + Guests + Pools + Volumes + Transfers + Networks
{
}

impl<T: HostInfo + Domains + Disks + Events + Guests + Pools + Volumes + Transfers + Networks> Host for T {}
