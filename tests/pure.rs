//! All tests that need no virtual machine, as one program: foundry is linked once.
//!
//! `cargo test --test pure catalog::` runs those of `tests/pure/catalog.rs`.
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
    pub(crate) mod agent;
    pub(crate) mod bench;
    pub(crate) mod codes;
    pub(crate) mod command;
    pub(crate) mod cpu;
    pub(crate) mod deadline;
    pub(crate) mod documents;
    pub(crate) mod faults;
    pub(crate) mod fuzzed;
    pub(crate) mod host_contract;
    pub(crate) mod http;
    pub(crate) mod images;
    pub(crate) mod manifests;
    pub(crate) mod rendered;
    pub(crate) mod shown;
    pub(crate) mod sources;
    pub(crate) mod stray;
    pub(crate) mod webhooks;
    pub(crate) mod words;
}

#[path = "pure"]
mod pure {
    mod adopt;
    mod advice;
    mod calls;
    mod catalog;
    mod changes;
    mod cli;
    mod cli_terminal;
    mod clone;
    mod cloud_init;
    mod codes;
    mod completion;
    mod config;
    mod console;
    mod convert;
    mod create;
    mod create_faults;
    mod destroy;
    mod destroy_faults;
    mod destroy_users;
    mod destroy_volumes;
    mod disk_faults;
    mod disk_image;
    mod disks;
    mod docs;
    mod doctor;
    mod examples;
    mod foreign_values;
    mod forged_records;
    mod fuzz;
    mod garm;
    mod gc;
    mod gitlab;
    mod guest_agent;
    mod help;
    mod host_contract;
    mod hostile_manifests;
    mod hostile_records;
    mod image_commands;
    mod image_notes;
    mod image_users;
    mod images;
    mod imports;
    mod init;
    mod inspect;
    mod interrupted;
    mod invalid;
    mod inventory;
    mod layout;
    mod logs;
    mod manifest_limits;
    mod meanwhile;
    mod names_as_typed;
    mod networks;
    mod next_ip;
    mod output;
    mod own_disks;
    mod planning;
    mod pool_media;
    mod pool_sources;
    mod pools;
    mod power;
    mod preflight;
    mod progress;
    mod reading;
    mod rename;
    mod render;
    mod repave;
    mod room;
    mod runner;
    mod same_address;
    mod saved;
    mod schema;
    mod screenshot;
    mod scripts;
    mod secrets;
    mod seed;
    mod snapshot;
    mod snapshot_faults;
    mod snapshot_gc;
    mod ssh;
    mod storage;
    mod top;
    mod transfer;
    mod turns;
    mod uninstall;
    mod users;
    mod wait;
    mod wait_state;
    mod warm;
    mod whois;
    mod xml_patch;
}
