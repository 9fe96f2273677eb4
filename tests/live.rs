//! All tests on a real libvirtd, as one program: foundry is linked once.
//!
//! `cargo test --test live create::` runs those of `tests/live/create.rs`. What they need is said in
//! `tests/support/live/mod.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panic, and says aloud what it skips"
)]

/// What they share.
#[path = "support"]
mod support {
    pub(crate) mod again;
    pub(crate) mod arena;
    pub(crate) mod codes;
    pub(crate) mod daemon;
    pub(crate) mod deadline;
    pub(crate) mod documents;
    pub(crate) mod fault;
    pub(crate) mod http;
    pub(crate) mod live;
    pub(crate) mod private_host;
    pub(crate) mod rivals;
    pub(crate) mod signals;
    pub(crate) mod webhooks;
}

#[path = "live"]
mod live {
    mod adopt;
    mod causes;
    mod changes;
    mod clone;
    mod completion;
    mod connections;
    mod console;
    mod cost;
    mod create;
    mod daemon;
    mod debian;
    mod destroy;
    mod disks;
    mod docs;
    mod doctor;
    mod faults;
    mod foreign;
    mod garm;
    mod gc;
    mod gitlab;
    mod images;
    mod inventory;
    mod just;
    mod kill;
    mod neighbours;
    mod network;
    mod network_fields;
    mod pools;
    mod power;
    mod pull;
    mod recording;
    mod refusals;
    mod rename;
    mod repave;
    mod rivals;
    mod runner;
    mod runner_forgejo;
    mod secrets;
    mod signals;
    mod snapshot;
    mod socket_keeper;
    mod ssh;
    mod storage;
    mod turns;
    mod uninstall;
    mod usage;
    mod views;
    mod warm;
    mod watch;
    mod whois;
    mod xml_patch;
}
