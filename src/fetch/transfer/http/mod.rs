//! HTTP(S) over ureq: one request at a time; distinguishes errors that can be retried from others.
//!
//! ```text
//!  Client ── one request ──▶ Stream ── bytes ──▶ Download   (resumes, counts, gives up)
//!                            (a thread, so that a user can stop what hangs)
//! ```

mod client;
mod download;
mod far;
mod headers;
mod look;
mod proxy;
mod stream;
mod validators;

pub use client::{Client, HttpSettings};
pub use download::{Download, RemoteFile};
pub use look::{FileFreshness, look};
pub use proxy::Proxies;
pub use validators::Validators;
