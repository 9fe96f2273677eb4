//! Pools of each type that this machine has, on a real libvirtd.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panic, and says aloud what it skips"
)]

#[path = "common/live/mod.rs"]
mod live;

use live::{Bed, SmallPool, files_in, program};

/// The other tests take this for granted.
#[test]
fn a_small_pool_is_as_small_as_it_says_and_goes_again() {
    let Some(bed) = Bed::new("smallpool") else { return };
    let pool = SmallPool::new(&bed, "small", 16);
    let free = pool.available();
    assert!((8 << 20..16 << 20).contains(&free), "{free}");
    bed.virsh().does(&["vol-create-as", &pool.name, "a", "4M", "--allocation", "4M"]);
    let refused = bed.virsh().tries(&["vol-create-as", &pool.name, "b", "16M", "--allocation", "16M"]);
    assert!(refused.stderr.contains("No space left on device"), "{refused:?}");
    pool.take("others", pool.available() - (64 << 10));
    assert!(pool.available() <= 64 << 10);
    drop(pool);
    assert_eq!(files_in(bed.storage().join("small"), ""), Vec::<String>::new(), "it is unmounted");
    assert!(!program("losetup", &["--list"]).stdout.contains("smallpool"));
}
