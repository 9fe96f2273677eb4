//! Bytes from elsewhere: a server that misbehaves, files with holes, packed data, checksum files, the cache.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop where it stands"
)]

#[path = "transfer/cache.rs"]
mod cache;
#[path = "transfer/checksums.rs"]
mod checksums;
#[path = "common/deadline.rs"]
mod deadline;
#[path = "transfer/download.rs"]
mod download;
#[path = "common/http.rs"]
mod http;
#[path = "transfer/resume.rs"]
mod resume;
#[path = "transfer/sparse.rs"]
mod sparse;
#[path = "transfer/support.rs"]
mod support;
#[path = "transfer/unpack.rs"]
mod unpack;
