//! A fault at every call, and what may be left then.

use super::shown::Shown;
use std::collections::BTreeSet;

use foundry::Error;
use foundry::host::memory::{Effect, MemoryHost};

use super::bench::{Bench, whole};

/// Runs `act` on a fresh bench with each effect at each call until no call is left to go wrong; `judge`
/// gets the bench healed, the error and a label for messages. How many faults there were.
pub(crate) fn each_fault<T>(
    fresh: impl Fn() -> Bench,
    act: impl Fn(&Bench) -> Result<T, Error>,
    judge: impl Fn(&mut Bench, Result<T, Error>, Effect, &str),
) -> usize {
    each_fault_if(|_, _| true, fresh, act, judge)
}

/// A fault at each call, and each fault at a sixth of the calls; all of [`each_fault`] in a full run.
pub(crate) fn each_due_fault<T>(
    fresh: impl Fn() -> Bench,
    act: impl Fn(&Bench) -> Result<T, Error>,
    judge: impl Fn(&mut Bench, Result<T, Error>, Effect, &str),
) -> usize {
    let is_full = std::env::var("FOUNDRY_TEST_FULL").as_deref() == Ok("1");
    let is_due = |n: usize, fault: usize| is_full || (n + fault).is_multiple_of(Effect::ALL.len());
    each_fault_if(is_due, fresh, act, judge)
}

fn each_fault_if<T>(
    is_due: impl Fn(usize, usize) -> bool,
    fresh: impl Fn() -> Bench,
    act: impl Fn(&Bench) -> Result<T, Error>,
    judge: impl Fn(&mut Bench, Result<T, Error>, Effect, &str),
) -> usize {
    let mut faults = 0;
    let fixture = fresh();
    for (fault, effect) in Effect::ALL.into_iter().enumerate() {
        for n in (0..).filter(|n| is_due(*n, fault)) {
            let mut bench = fixture.fork();
            bench.host.forget_calls();
            bench.host.fail_at(n, effect);
            let outcome = act(&bench);
            if !bench.host.fault_hit() {
                outcome.map(drop).unwrap_or_else(|e| panic!("fails without a fault: {e}"));
                break;
            }
            faults += 1;
            let label = format!("{effect:?} at call {n}, {}", bench.host.calls()[n]);
            bench.host.heal();
            judge(&mut bench, outcome, effect, &label);
        }
    }
    faults
}

/// Every difference must be named by the error, but for pools: those stay once they are made.
pub(crate) fn assert_named(changes: &[String], error: &Error, label: &str) {
    let told = error.outcome_texts().join("\n");
    for change in changes {
        let mut words = change[2..].split([' ', ':']);
        let (kind, name) = (words.next().unwrap(), words.next().unwrap());
        let name = match kind {
            "domain" => format!("'{name}'"),
            "file" => format!("'{}'", name.rsplit('/').next().unwrap()),
            "pool" | "directory" => continue,
            other => panic!("{label}: {other}"),
        };
        assert!(told.contains(&name), "{label}: {change}\nis not named in\n{}", whole(error));
    }
}

/// What is on a host, without what differs between two creations of the same VM.
pub(crate) fn shape(host: &MemoryHost) -> BTreeSet<String> {
    let shape_of = |line: &str| match line.split_once(' ') {
        Some(("domain", rest)) => {
            let (name, rest) = rest.split_once(' ').unwrap();
            let rest = rest.split_once(": ").unwrap().1;
            let told: Vec<_> =
                rest.split(", ").filter(|p| !p.starts_with("definition") && !p.starts_with("live")).collect();
            format!("domain {name}: {}", told.join(", "))
        }
        Some(("file", _)) => line.split(", content").next().unwrap().to_owned(),
        _ => line.to_owned(),
    };
    host.fingerprint().lines().map(shape_of).collect()
}
