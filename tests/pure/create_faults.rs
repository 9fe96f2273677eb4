//! A creation that fails: at every call, in every way, during the rollback, by Ctrl-C, and beside another creation.

mod every_call;
mod rivals;
mod rollback;

use crate::support::bench::{Bench, GIB, bridge};
use crate::support::faults::shape;
use crate::support::manifests::{WEB, plan};
use crate::support::shown::Shown;
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];

/// A host on which the pool of VM disks has to be made first.
fn first_use() -> Bench {
    use foundry::host::memory::MemoryHost;
    let host = MemoryHost::new().with_image("foundry-images", "debian-12", "qcow2", GIB);
    Bench::on(host.with_bridges(&[bridge("br0", false)]))
}

/// Everything but pools and their directories, which stay once they are made.
fn without_pools(changes: Vec<String>) -> Vec<String> {
    changes
        .into_iter()
        .filter(|c| !c[2..].starts_with("pool ") && !c[2..].starts_with("directory "))
        .collect()
}

fn asked_for(fresh: &impl Fn() -> Bench) -> std::collections::BTreeSet<String> {
    let bench = fresh();
    bench.create(&plan(WEB)).unwrap();
    shape(&bench.host)
}

/// An error that says "nothing" or "everything is removed" must not leave anything, and one that says
/// that something is left is only right where it is, or where nobody can know.
fn assert_honest(left: &[String], error: &Error, label: &str) {
    let told = error.outcome_texts().join("\n");
    if !left.is_empty() {
        assert!(
            !told.contains("nothing was changed") && !told.contains("removed again"),
            "{label}: {told}\n{left:?}"
        );
    } else if told.contains("left behind") {
        assert!(told.contains("may exist") || error.kind() == Kind::Connection, "{label}: {told}");
    }
}
