//! HTTP(S) over ureq: one request at a time; distinguishes errors that can be retried from others.
//!
//! ```text
//!  Client ── one request ──▶ ResponseStream ── bytes ──▶ Download   (resumes, counts, gives up)
//!                            (a thread, so a stalled one can be interrupted)
//! ```

mod client;
mod download;
mod freshness;
mod headers;
mod proxy;
mod remote_resolver;
mod stream;
mod validators;

pub use client::{Client, HttpSettings};
pub use download::Download;
pub use freshness::{FileFreshness, check_freshness};
pub use proxy::Proxies;
pub use validators::{RemoteFile, Validators};
