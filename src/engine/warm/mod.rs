//! Warm images: a guest that was booted once and saved with its memory, and VMs that start from it in seconds.
//!
//! ```text
//!   image warm:  create VM ▸ wait for cloud-init ▸ unplug seed and network ▸ save memory ▸ note, memory and disk into
//!                the image pool ▸ note that they are complete ▸ delete VM
//!   create:      define ▸ overlay on the disk ▸ copy of the memory ▸ this VM's description into its header ▸ restore ▸
//!                network with its link down ▸ identity, by the agent ▸ link up ▸ delete the copy ▸ mark created
//! ```
//!
//! Until its end, both a VM whose memory is to be saved and one that starts from memory have the state "creating" and a
//! volume for the memory in their record. So whatever interrupts them, `gc` and `destroy` delete them, also while they
//! run: nobody uses them yet.

mod guest_identity;
mod leftover;
mod prepare;
mod start;
mod store;
mod view;

pub use prepare::{WarmRequest, warm_image};
pub use view::{WarmView, warm_view};

pub(crate) use leftover::{WarmLeftover, delete_warm_leftover, find_warm_leftover};
pub(crate) use start::start_from_memory;
pub(crate) use store::{delete_companions, memory_of, read_note, warm_companion_of};
