//! What live tests stand on: a real libvirtd, the real binary, guests that boot.
//!
//! A test begins with a [`Bed`]; without the environment it prints why it is skipped and ends, and with
//! `FOUNDRY_TEST_REQUIRE=1` it fails instead. What it takes from the environment:
//!
//! * `FOUNDRY_TEST_URI`: the libvirtd;
//! * `FOUNDRY_TEST_BRIDGE`: a bridge with 10.77.0.1/24, on which tests use .10 to .99;
//! * `FOUNDRY_TEST_TINY`, `FOUNDRY_TEST_DEBIAN`: guest images, the first up in seconds and without
//!   cloud-init, the second with it;
//! * `FOUNDRY_TEST_SSH_KEY`: a private key, its public half beside it.

mod bed;
mod guest;
mod manifest;
mod ran;
mod small_pool;
mod virsh;

pub(crate) use bed::{Bed, Trace};
pub(crate) use guest::Guest;
pub(crate) use manifest::Manifest;
pub(crate) use ran::{Foundry, Ran, Started, program};
pub(crate) use small_pool::{LoopDisk, SmallPool};
pub(crate) use virsh::files_in;

/// A variable of the test environment; where it is missing the test is skipped or fails.
pub(crate) fn environment(name: &str) -> Option<String> {
    let found = std::env::var(name).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        let required = std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() == Ok("1");
        assert!(!required, "{name} is not set, and FOUNDRY_TEST_REQUIRE=1");
        println!("skipped: {name} is not set");
    }
    found
}
