//! The checks, which are the tests' own.
#![allow(dead_code, reason = "each target takes one of them")]

#[path = "../../../tests/support/fuzzed.rs"]
pub(crate) mod fuzzed;
#[path = "../../../tests/support/rendered.rs"]
mod rendered;
