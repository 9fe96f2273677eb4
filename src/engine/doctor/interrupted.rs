//! Checks whether commands were interrupted, and left something half done.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::error::{Advice, Verb};
use foundry_core::record::{Liveness, Maker, Record, RecordState, RepaveStage};
use foundry_host::Domain;
use foundry_host::local::check_liveness;

const NAME: &str = "interrupted";

/// The VMs whose records name a process that has ended before its work was done.
pub(super) fn find_interrupted(domains: &[Domain]) -> Vec<String> {
    let is_interrupted = |domain: &&Domain| {
        let record = domain.own_record();
        record
            .is_some_and(|record| working_makers(&record).iter().any(|m| check_liveness(m) == Liveness::Dead))
    };
    domains.iter().filter(is_interrupted).map(|domain| domain.name.clone()).collect()
}

/// The processes that a record names as at work.
fn working_makers(record: &Record) -> Vec<&Maker> {
    let half = (record.state != RecordState::Created).then_some(&record.maker);
    let repave = record.repave.as_ref().filter(|note| note.stage != RepaveStage::Kept);
    let of_volumes = record.volumes.iter().flat_map(|v| {
        let overlay = v.overlay_of.as_ref().and_then(|mark| mark.maker.as_ref());
        v.attaching.iter().chain(overlay)
    });
    half.into_iter().chain(repave.map(|note| &note.maker)).chain(of_volumes).collect()
}

pub(super) fn check_interrupted(facts: &HostFacts) -> Vec<HostCheck> {
    if facts.interrupted.is_empty() {
        return Vec::new();
    }
    let found = format!("a command was interrupted before it was done with {}", facts.interrupted.join(", "));
    let advice = Advice::from(Verb::GcDryRun).text(" shows what was left");
    vec![HostCheck::warning(NAME, found).add_advice(advice)]
}
