//! Events of domains.

use std::time::Duration;

use uuid::Uuid;

use super::bench::{Bench, cases};
use foundry::host::{DomainChange, DomainWatch};

/// Far longer than a daemon takes to tell.
const PATIENCE: Duration = Duration::from_secs(30);

cases! {
    a_watch_tells_the_life_of_a_domain_in_order needs Events;
    two_watches_are_told_the_same_and_one_may_end needs Events;
    a_watch_waits_for_its_own_domain needs Events;
}

/// What a watch is told of a domain, up to that. What QEMU does besides is left out: it starts a domain paused, and
/// tells that it is about to end.
fn told_until(watch: &mut dyn DomainWatch, domain: Uuid, last: DomainChange) -> Vec<DomainChange> {
    let mut told = Vec::new();
    while told.last() != Some(&last) {
        let event = watch.next(PATIENCE).unwrap_or_else(|| panic!("no {last:?} after {told:?}"));
        let is_between =
            matches!(event.change, DomainChange::Resumed | DomainChange::Paused | DomainChange::ShutDown);
        if event.domain == domain && !is_between {
            told.push(event.change);
        }
    }
    told
}

fn a_watch_tells_the_life_of_a_domain_in_order(bench: &Bench<'_>) {
    let mut watch = bench.host().watch_domains().unwrap().unwrap();
    let name = bench.name("a");
    let uuid = bench.start(&name);
    bench.host().force_off(uuid).unwrap();
    bench.host().undefine(uuid).unwrap();
    let told = told_until(&mut *watch, uuid, DomainChange::Undefined);
    use DomainChange::{Defined, Started, Stopped, Undefined};
    assert_eq!(told, [Defined, Started, Stopped, Undefined]);
}

fn two_watches_are_told_the_same_and_one_may_end(bench: &Bench<'_>) {
    let mut first = bench.host().watch_domains().unwrap().unwrap();
    let mut second = bench.host().watch_domains().unwrap().unwrap();
    let uuid = bench.define(&bench.name("a"));
    for watch in [&mut first, &mut second] {
        assert_eq!(told_until(&mut **watch, uuid, DomainChange::Defined), [DomainChange::Defined]);
    }
    drop(first);
    bench.host().undefine(uuid).unwrap();
    assert_eq!(told_until(&mut *second, uuid, DomainChange::Undefined), [DomainChange::Undefined]);
}

fn a_watch_waits_for_its_own_domain(bench: &Bench<'_>) {
    let other = bench.define(&bench.name("b"));
    let mut watch = bench.host().watch_domains().unwrap().unwrap();
    let uuid = bench.define(&bench.name("a"));
    bench.host().undefine(other).unwrap();
    assert!(watch.wait_for(uuid, PATIENCE), "it was defined");
    assert!(!watch.wait_for(uuid, Duration::ZERO), "nothing since");
    assert!(!watch.wait_for(other, Duration::ZERO), "the events of others are passed over");
}
