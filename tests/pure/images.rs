//! Images and their pool: what is imported, under which name, and how it is found again.

mod import_checks;
mod import_faults;
mod names;

use crate::support::bench::Bench;
use crate::support::images::Image;
use foundry::Error;
use foundry::host::Volume;

const NOTHING: [&str; 0] = [];

fn import(bench: &Bench, name: &str, bytes: &[u8]) -> Result<Volume, Error> {
    Image::dense(bytes, bytes.len() as u64).import(bench, name)
}
