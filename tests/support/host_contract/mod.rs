//! The cases of the contract that every host keeps.

pub(crate) mod bench;
mod consoles;
mod disks;
mod domains;
mod events;
mod pools;
mod running;
mod snapshots;
mod transfers;
mod volumes;
mod warm;
