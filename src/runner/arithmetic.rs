//! How many runners a pool has, wants and may start.

use foundry_core::record::{RunnerNote, RunnerState};

use crate::rules::PoolRules;
use crate::view::{PoolWish, RunnerPoolView, StartGate};

/// The runners of a pool by what they count for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PoolCounts {
    /// On their way to be idle.
    pub(crate) coming: usize,
    /// Waiting for a job.
    pub(crate) idle: usize,
    /// Working on a job.
    pub(crate) busy: usize,
    /// Ending: draining or being deleted.
    pub(crate) ending: usize,
    /// Failed and kept.
    pub(crate) failed: usize,
    /// Of the ending and failed ones, those that the forge may still know: each may prove busy, and is live again then.
    pub(crate) returning: usize,
}

impl PoolCounts {
    /// Runners that count against the pool's maximum.
    pub(crate) fn live(self) -> usize {
        self.coming + self.idle + self.busy
    }
}

/// Counts the runners of a pool.
pub(crate) fn count_runners<'a>(notes: impl Iterator<Item = &'a RunnerNote>) -> PoolCounts {
    let mut counts = PoolCounts::default();
    for note in notes {
        counts.returning += usize::from(!note.state.is_live() && note.registration.is_some());
        let place = match note.state {
            RunnerState::Idle => &mut counts.idle,
            RunnerState::Busy => &mut counts.busy,
            RunnerState::Draining | RunnerState::Deleting => &mut counts.ending,
            RunnerState::Failed => &mut counts.failed,
            _ => &mut counts.coming,
        };
        *place += 1;
    }
    counts
}

/// How many live runners the pool should have: those that work, one for each job that waits, and the idle ones.
pub(crate) fn wanted_runners(rules: &PoolRules, view: &RunnerPoolView, counts: PoolCounts) -> usize {
    match view.wish {
        PoolWish::Drain => 0,
        PoolWish::Serve | PoolWish::Pause => {
            rules.max.min(counts.busy.saturating_add(view.queued).saturating_add(rules.min_idle))
        }
    }
}

/// How many VMs to make now.
pub(crate) fn starts_now(rules: &PoolRules, view: &RunnerPoolView, counts: PoolCounts) -> usize {
    let at_once = match view.gate {
        StartGate::Open => rules.max_starting,
        StartGate::Trial => 1,
        StartGate::Held => 0,
    };
    // Without the forge, a new VM could not be registered, and the demand may be gone.
    if view.wish != PoolWish::Serve || view.registrations.is_none() {
        return 0;
    }
    let missing = wanted_runners(rules, view, counts).saturating_sub(counts.live());
    let below_max = rules.max.saturating_sub(counts.live() + counts.returning);
    let room = view.room.unwrap_or(usize::MAX);
    missing.min(below_max).min(at_once.saturating_sub(counts.coming)).min(room)
}

/// How many idle runners the pool has beyond what it wants.
pub(crate) fn surplus_idle(rules: &PoolRules, view: &RunnerPoolView, counts: PoolCounts) -> usize {
    let free = counts.coming + counts.idle;
    let wanted_free = wanted_runners(rules, view, counts).saturating_sub(counts.busy);
    free.saturating_sub(wanted_free).min(counts.idle)
}
