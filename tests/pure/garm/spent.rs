//! Which VMs have done their work, and are deleted; on a host in memory.

use foundry::host::{DomainState, StateReason};
use foundry::operations::vm::labelled::{LabelledVm, find_labelled};

use crate::support::bench::{Bench, neighbours_alone};

fn web(bench: &Bench) -> LabelledVm {
    let role =
        |labels: &std::collections::BTreeMap<String, String>| labels.get("role").is_some_and(|r| r == "web");
    let mut found = find_labelled(&bench.context(), role).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
fn a_vm_is_spent_when_its_guest_has_ended() {
    let bench = Bench::with_web();
    bench.bury_maker("web");
    assert!(!web(&bench).is_spent(), "it runs");
    for (why, is_spent) in [
        (StateReason::ShutDown, true),
        (StateReason::Crashed, true),
        (StateReason::NotSaid, true),
        (StateReason::Destroyed, false),
        (StateReason::Saved, false),
        (StateReason::Migrated, false),
        (StateReason::FromSnapshot, false),
    ] {
        bench.host.set_state_because("web", DomainState::ShutOff, why);
        assert_eq!(web(&bench).is_spent(), is_spent, "{why:?}");
    }
    for state in [DomainState::Paused, DomainState::Crashed, DomainState::ShuttingDown] {
        bench.host.set_state_because("web", state, StateReason::ShutDown);
        assert!(!web(&bench).is_spent(), "{state:?}");
    }
}

#[test]
fn a_vm_that_is_being_made_or_deleted_is_not_spent() {
    let bench = Bench::with_web();
    // Its maker, this process, lives: the VM may be between its mark and its start.
    bench.host.set_state_because("web", DomainState::ShutOff, StateReason::NotSaid);
    assert!(!web(&bench).is_spent());
    bench.bury_maker("web");
    assert!(web(&bench).is_spent());
    for state in ["creating", "destroying"] {
        bench.edit_record("web", |record| record["state"] = state.into());
        assert!(!web(&bench).is_spent(), "{state}");
    }
}

#[test]
fn only_the_domain_that_was_found_is_destroyed() {
    let bench = Bench::with_web();
    bench.bury_maker("web");
    let found = web(&bench);
    bench.host.rename("web", "older");
    // The name is gone: so is the work.
    found.destroy(&bench.context()).unwrap();
    assert!(bench.host.uuid_of("older").is_some());
    bench.host.rename("older", "web");
    web(&bench).destroy(&bench.context()).unwrap();
    assert!(bench.host.uuid_of("web").is_none());
    assert_eq!(bench.host.changes_since(neighbours_alone()), Vec::<String>::new());
}
