//! Several foundries that want the same thing at the same moment: one gets it, each other says why not, nothing is
//! left and nobody else is touched.
//!
//! It runs on a libvirtd of its own, so that what is on the host is known exactly. A plain run plays a few rounds of
//! each scenario; `FOUNDRY_TEST_FULL=1`, as `scripts/test.sh --full` sets it, 245 in all. The processes of a round
//! start within moments of each other, by a seed that is printed and that `FOUNDRY_TEST_SEED` sets.

use std::time::Instant;

use crate::support::arena::{Arena, inside, is_full};
use crate::support::rivals;
use crate::support::rivals::Scenario;

/// Each scenario with the rounds of a plain run and of a full one.
const SCENARIOS: [(&str, Scenario, usize, usize); 10] = [
    ("eight creations of the same name", rivals::same_name, 2, 35),
    ("eight creations with the same address", rivals::same_address, 2, 50),
    ("creations that make the default pool", rivals::first_use_of_a_pool, 1, 15),
    ("creations and destructions of one VM", rivals::create_and_destroy, 2, 35),
    ("deletions of an image and creations from it", rivals::delete_of_an_image, 2, 35),
    ("disks attached to one VM", rivals::attach, 1, 15),
    ("the same disk attached to one VM", rivals::attach_the_same, 1, 15),
    ("manifests applied to one VM", rivals::apply_and_apply, 1, 15),
    ("repaves and destructions of one VM", rivals::repave_and_destroy, 1, 15),
    ("snapshots and resizes of one VM", rivals::snapshot_and_resize, 1, 15),
];

#[test]
fn one_of_several_that_want_the_same_has_it() {
    inside(module_path!(), "one_of_several_that_want_the_same_has_it", play);
}

fn play(arena: &Arena) {
    let only = std::env::var("FOUNDRY_RIVALS_ONLY").unwrap_or_default();
    for (name, scenario, few, many) in SCENARIOS.into_iter().filter(|(name, ..)| name.contains(&only)) {
        let (rounds, begun) = (if is_full() { many } else { few }, Instant::now());
        for round in 0..rounds {
            arena.round(&format!("{name}, round {round}"), scenario);
        }
        println!("{name}: {rounds} rounds in {:.1} s", begun.elapsed().as_secs_f32());
    }
}
