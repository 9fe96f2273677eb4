//! What a pool does next.

use std::cmp::Reverse;

use foundry_core::record::{RetireReason, RunnerState};

use crate::EpochSeconds;
use crate::action::Action;
use crate::arithmetic::{PoolCounts, count_runners, starts_now, surplus_idle};
use crate::forge::Registration;
use crate::rules::PoolRules;
use crate::runner_step::next_step;
use crate::view::{PoolWish, RunnerPoolView, RunnerView, RunnerWish};

/// Decides what to do in one round: at most one step for each runner, the VMs to make, the registrations to sweep. Pure:
/// the same view gives the same actions.
pub fn decide(rules: &PoolRules, view: &RunnerPoolView, now: EpochSeconds) -> Vec<Action> {
    let forge = view.registrations.as_deref();
    let counts = count_runners(view.runners.iter().map(|runner| &runner.note));
    let mut actions = Vec::new();
    let mut at_rest = Vec::new();
    for runner in &view.runners {
        match next_step(rules, runner, forge, now) {
            Some(action) => actions.push(action),
            None => at_rest.push(runner),
        }
    }
    actions.extend(retire_idle(rules, view, counts, &at_rest, now));
    actions.extend(drop_failed(rules, &at_rest));
    actions.extend(stop_coming(view, &at_rest));
    actions.extend(forge.into_iter().flat_map(|list| sweep_registrations(rules, view, list)));
    let starts = starts_now(rules, view, counts);
    actions.extend(std::iter::repeat_n(Action::Create, starts));
    actions
}

/// Chooses idle runners that end: those that are not needed, one that is outdated, one that is old.
fn retire_idle(
    rules: &PoolRules,
    view: &RunnerPoolView,
    counts: PoolCounts,
    at_rest: &[&RunnerView],
    now: EpochSeconds,
) -> Vec<Action> {
    // While the forge cannot be asked, nothing idle ends: its silence must not empty the pool.
    if view.registrations.is_none() {
        return Vec::new();
    }
    let mut idle: Vec<&RunnerView> =
        at_rest.iter().copied().filter(|runner| runner.note.state == RunnerState::Idle).collect();
    idle.sort_by_key(|runner| (runner.note.since, runner.name.clone()));
    let drain = |runner: &RunnerView, reason| Action::Move {
        name: runner.name.clone(),
        to: RunnerState::Draining,
        reason: Some(reason),
    };
    if view.wish == PoolWish::Drain {
        return idle.into_iter().map(|runner| drain(runner, RetireReason::Asked)).collect();
    }
    let surplus = surplus_idle(rules, view, counts);
    let is_long_idle = |runner: &&RunnerView| runner.note.seconds_in_state(now) >= rules.timeouts.idle;
    // Half of them at a time: the demand may come back.
    let at_once = surplus.min((surplus / 2).max(1));
    let is_asked = |runner: &&RunnerView| runner.wish == Some(RunnerWish::Leave);
    let mut actions: Vec<Action> =
        idle.iter().copied().filter(is_asked).map(|runner| drain(runner, RetireReason::Asked)).collect();
    if !actions.is_empty() {
        return actions;
    }
    actions = idle
        .iter()
        .copied()
        .filter(is_long_idle)
        .take(at_once)
        .map(|runner| drain(runner, RetireReason::Surplus))
        .collect();
    // One at a time is replaced, so the pool keeps its readiness.
    if actions.is_empty() && counts.ending == 0 && view.wish == PoolWish::Serve {
        let is_outdated = |runner: &&&RunnerView| {
            runner.note.template != rules.template || runner.wish == Some(RunnerWish::Replace)
        };
        let is_old =
            |runner: &&&RunnerView| now.saturating_sub(runner.note.made) >= aged_after(rules, &runner.name);
        let outdated = idle.iter().find(is_outdated).map(|runner| drain(runner, RetireReason::Outdated));
        let old = || idle.iter().find(is_old).map(|runner| drain(runner, RetireReason::Age));
        actions.extend(outdated.or_else(old));
    }
    actions
}

/// The age at which a runner is replaced: the pool's, less up to a tenth of it by its name, so that runners made together
/// do not end together.
fn aged_after(rules: &PoolRules, name: &str) -> u64 {
    let spread =
        name.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))) % 100;
    let max_age = rules.timeouts.max_age;
    max_age.saturating_sub(max_age / 1000 * spread)
}

/// Ends the oldest failed VMs if there are more than the pool keeps.
fn drop_failed(rules: &PoolRules, at_rest: &[&RunnerView]) -> Vec<Action> {
    let mut failed: Vec<&&RunnerView> =
        at_rest.iter().filter(|runner| runner.note.state == RunnerState::Failed).collect();
    failed.sort_by_key(|runner| Reverse((runner.note.since, runner.name.clone())));
    let beyond = failed.into_iter().skip(rules.keep_failed);
    beyond
        .map(|runner| Action::Move {
            name: runner.name.clone(),
            to: RunnerState::Deleting,
            reason: runner.note.reason,
        })
        .collect()
}

/// Ends the runners that are on their way, and the failed ones, when they or the whole pool come to their end.
fn stop_coming(view: &RunnerPoolView, at_rest: &[&RunnerView]) -> Vec<Action> {
    let ends = |runner: &&&RunnerView| {
        let is_asked =
            view.wish == PoolWish::Drain || runner.wish.is_some_and(|wish| wish >= RunnerWish::Leave);
        is_asked && matches!(runner.note.state, RunnerState::Booting | RunnerState::Failed)
    };
    at_rest
        .iter()
        .filter(ends)
        .map(|runner| Action::Move {
            name: runner.name.clone(),
            to: RunnerState::Deleting,
            reason: Some(RetireReason::Asked),
        })
        .collect()
}

/// Finds the registrations of this controller that have no VM. A registration is its own if it has the pool's form of a
/// name and the controller's label: another controller may serve a pool of the same name.
fn sweep_registrations(rules: &PoolRules, view: &RunnerPoolView, list: &[Registration]) -> Vec<Action> {
    let has_vm = |one: &Registration| {
        view.runners.iter().any(|r| r.name == one.name || r.note.registration.as_ref() == Some(&one.id))
    };
    let is_own = |one: &&Registration| rules.gives_name(&one.name) && one.labels.contains(&rules.owner_label);
    let ghosts = list.iter().filter(is_own).filter(|one| !one.online && !one.busy && !has_vm(one));
    ghosts.map(|one| Action::Sweep { id: one.id.clone() }).collect()
}
