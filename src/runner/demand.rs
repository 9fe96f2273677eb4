//! What a pool is asked to do from outside: by jobs that wait, and by users.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::JobEvent;
use crate::manifest::ForgePlan;
use crate::view::{PoolWish, RunnerWish};

/// What a pool is asked to do in one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolDemand {
    /// Jobs that wait for a runner of the pool.
    pub queued: usize,
    /// What the user wants of the pool.
    pub wish: PoolWish,
    /// Runners on which a job began, as the forge reported it, and has not ended.
    pub at_work: BTreeSet<String>,
    /// What a user wants of single runners.
    pub runner_wishes: BTreeMap<String, RunnerWish>,
}

/// How the labels of a job choose a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelMatch {
    /// The job asks for all labels of the pool, and for no other.
    #[default]
    Exact,
    /// The pool has all labels that the job asks for.
    Superset,
}

/// What decides whether a job is a pool's.
#[derive(Debug, Clone, Copy)]
pub struct PoolOffer<'a> {
    /// Name of the pool.
    pub pool: &'a str,
    /// Labels of its runners.
    pub labels: &'a [String],
    /// How they are compared.
    pub label_match: LabelMatch,
    /// Its forge.
    pub forge: &'a ForgePlan,
    /// Whether it makes VMs: it is neither paused nor at its end.
    pub serves: bool,
}

/// Chooses the pool of a job: of those that match, one that makes VMs, with the fewest labels, and by name among equals. A
/// job counts for one pool only, or several would each make a VM for it.
pub fn choose_pool<'a>(offers: &[PoolOffer<'a>], job: &JobEvent) -> Option<&'a str> {
    let wanted = comparable(&job.labels);
    let matching = offers.iter().filter(|offer| offer.takes(job, &wanted));
    matching.min_by_key(|offer| (!offer.serves, offer.labels.len(), offer.pool)).map(|offer| offer.pool)
}

impl PoolOffer<'_> {
    fn takes(&self, job: &JobEvent, wanted: &BTreeSet<String>) -> bool {
        let own = comparable(self.labels);
        let is_match = match self.label_match {
            LabelMatch::Exact => own == *wanted,
            LabelMatch::Superset => wanted.is_subset(&own),
        };
        is_match && self.forge.covers(&job.repository)
    }
}

/// Labels as they are compared: without regard to case and order. Every runner of one's own is `self-hosted`, so that
/// label tells nothing.
fn comparable(labels: &[String]) -> BTreeSet<String> {
    labels.iter().map(|label| label.trim().to_lowercase()).filter(|label| label != "self-hosted").collect()
}
