//! The operations of foundry on a [`Host`].
//!
//! ```text
//!   preflight ─▶ vm::create ─▶ vm::wait ─▶ vm::inspect ─▶ vm::destroy          gc finishes what was interrupted
//!       │           │ disk, image, storage: what VMs are made of                doctor looks at the host
//!       └───────────┴─ diagnose: why a call failed
//! ```
//!
//! Nothing here prints, asks the user or reads a clock by itself. Everything from outside comes in a [`Context`], so other
//! programs than the command line can use it.

pub mod change;
pub mod diagnose;
pub mod disk;
pub mod doctor;
pub mod gc;
pub mod image;
pub mod network;
pub mod preflight;
pub mod runner;
pub mod snapshot;
pub mod storage;
pub mod uninstall;
pub mod vm;
pub mod warm;

mod advice;
mod context;
mod interruptible;
mod kvm_device;
mod lock;
mod poll;
mod step;

pub use context::{Cancel, Clock, Context, Progress, Settings, SystemClock};
pub use poll::wait_until;
pub use step::{Cleanup, Event, Step, Task};

#[cfg(doc)]
use foundry_host::Host;
