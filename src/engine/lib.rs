//! The verbs, one file each, over a [`Host`].
//!
//! None of them prints, asks or reads a clock by itself: what they need of the world comes in a
//! [`Session`], so that a program other than the command line can use them.

pub mod console;
pub mod create;
pub mod destroy;
pub mod disks;
pub mod doctor;
pub mod gc;
pub mod images;
pub mod inspect;
pub mod pools;
pub mod preflight;
pub mod seed;
pub mod storage;
pub mod wait;

mod ages;
mod bridge_helper;
mod chain;
mod cloud_init_log;
mod creation;
mod evidence;
mod findings;
mod held;
mod image_preflight;
mod interruptible;
mod kvm_device;
mod link_preflight;
mod lookup;
mod medium;
mod neighbours;
mod own_disk;
mod ownership;
mod rights;
mod rivals;
mod session;
mod settling;
mod stale;
mod stop;
mod storage_preflight;
mod survey;
mod turn;
mod undoing;
mod usage;
mod volumes;

pub use medium::Medium;

pub use session::{Cancel, Clock, Event, Progress, Session, Settings, SystemClock, is_root, own_status};
pub use storage_preflight::{PlannedVolume, planned_volumes};

#[cfg(doc)]
use foundry_host::Host;
