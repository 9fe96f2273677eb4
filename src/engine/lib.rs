//! What foundry does, over a [`Host`].
//!
//! ```text
//!   preflight ─▶ vm::create ─▶ vm::wait ─▶ vm::inspect ─▶ vm::destroy          gc finishes what was interrupted
//!       │           │ disk, image, storage: what VMs are made of                doctor looks at the host
//!       └───────────┴─ diagnose: why a call failed
//! ```
//!
//! None of it prints, asks or reads a clock by itself: what it needs of the world comes in a
//! [`Context`], so that a program other than the command line can use it.

pub mod diagnose;
pub mod disk;
pub mod doctor;
pub mod gc;
pub mod image;
pub mod preflight;
pub mod storage;
pub mod vm;

mod advice;
mod context;
mod interruptible;
mod kvm_device;
mod lock;
mod poll;

pub use context::{Cancel, Clock, Context, Event, Progress, Settings, SystemClock};

#[cfg(doc)]
use foundry_host::Host;
