//! The next step of one runner, whatever the others do.
//!
//! Each state has a time after which something happens, so no runner waits for an event for ever. A forge that cannot be
//! asked holds up what needs its word, and nothing is destroyed for its silence.

use foundry_core::record::{RetireReason, RunnerState};

use crate::EpochSeconds;
use crate::action::Action;
use crate::forge::Registration;
use crate::rules::PoolRules;
use crate::view::{DomainFact, GuestFact, RunnerView, RunnerWish};

/// How often a registration is tried again before the runner counts as failed.
const MAX_ATTEMPTS: u32 = 3;

/// How long a link is down before the guest's word counts, in seconds: a job that came just before may not have its
/// process yet.
const FENCE_SETTLES: u64 = 5;

/// How long a forge's list may lag behind its own answers, in seconds.
const LIST_LAG: u64 = 60;

/// Decides the next step of a runner; `None` if there is nothing to do but wait.
pub(crate) fn next_step(
    rules: &PoolRules,
    runner: &RunnerView,
    forge: Option<&[Registration]>,
    now: EpochSeconds,
) -> Option<Action> {
    match runner.domain {
        DomainFact::BeingMade => return None,
        // There is no whole record to note anything in; a registration that it had is swept.
        DomainFact::HalfMade => return Some(Action::Destroy { name: runner.name.clone() }),
        DomainFact::Running | DomainFact::Paused | DomainFact::Ended => {}
    }
    let step = StepContext { rules, runner, forge, now };
    match runner.note.state {
        RunnerState::Creating => step.creating(),
        RunnerState::Booting => step.booting(),
        RunnerState::Registering => step.registering(),
        RunnerState::Starting => step.starting(),
        RunnerState::Idle => step.idle(),
        RunnerState::Busy => step.busy(),
        RunnerState::Draining => step.draining(),
        RunnerState::Deleting => step.deleting(),
        RunnerState::Failed => step.failed(),
    }
}

/// What the forge says of one runner.
enum ForgeWord<'a> {
    /// It could not be asked.
    Unknown,
    /// It does not know the runner.
    Absent,
    /// It lists it.
    Listed(&'a Registration),
}

struct StepContext<'a> {
    rules: &'a PoolRules,
    runner: &'a RunnerView,
    forge: Option<&'a [Registration]>,
    now: EpochSeconds,
}

impl<'a> StepContext<'a> {
    fn forge_word(&self) -> ForgeWord<'a> {
        match self.forge.map(|list| self.runner.registration(list)) {
            None => ForgeWord::Unknown,
            Some(None) => ForgeWord::Absent,
            Some(Some(found)) => ForgeWord::Listed(found),
        }
    }

    /// Whether the forge says that it works, in its list or by an event, or the guest does.
    fn works(&self) -> bool {
        let is_busy = matches!(self.forge_word(), ForgeWord::Listed(found) if found.busy);
        is_busy || self.runner.guest == GuestFact::Working || self.runner.has_job
    }

    fn has_ended(&self) -> bool {
        self.runner.domain == DomainFact::Ended
    }

    /// Whether no job can be on it any more, or what is on it does not count.
    fn is_over(&self) -> bool {
        self.has_ended() || self.runner.note.reason.is_some_and(RetireReason::ends_job)
    }

    fn is_to_be_killed(&self) -> bool {
        self.runner.wish == Some(RunnerWish::Kill)
    }

    fn kill(&self) -> Option<Action> {
        self.move_to(RunnerState::Draining, Some(RetireReason::Killed))
    }

    fn has_passed(&self, seconds: u64) -> bool {
        self.runner.note.seconds_in_state(self.now) >= seconds
    }

    fn name(&self) -> String {
        self.runner.name.clone()
    }

    fn move_to(&self, to: RunnerState, reason: Option<RetireReason>) -> Option<Action> {
        Some(Action::Move { name: self.name(), to, reason })
    }

    fn fail(&self, reason: RetireReason) -> Option<Action> {
        self.move_to(RunnerState::Failed, Some(reason))
    }

    fn delete(&self, reason: RetireReason) -> Option<Action> {
        self.move_to(RunnerState::Deleting, Some(reason))
    }

    fn unregister(&self, found: &Registration, then: RunnerState) -> Option<Action> {
        Some(Action::Unregister { name: self.name(), id: found.id.clone(), then })
    }

    fn creating(&self) -> Option<Action> {
        if self.has_ended() {
            self.delete(RetireReason::Interrupted)
        } else {
            self.move_to(RunnerState::Booting, None)
        }
    }

    fn booting(&self) -> Option<Action> {
        if self.has_ended() {
            return self.fail(RetireReason::GuestEnded);
        }
        if self.runner.guest != GuestFact::Silent {
            // Without the forge, the guest waits; its time begins with the registration.
            return self.forge.is_some().then(|| Action::Register { name: self.name() });
        }
        if self.has_passed(self.rules.timeouts.start) { self.fail(RetireReason::StartTimeout) } else { None }
    }

    /// A registration was asked for, and its answer is lost: one that was made is removed, because its configuration
    /// cannot be had again.
    fn registering(&self) -> Option<Action> {
        if self.has_ended() {
            return self.fail(RetireReason::GuestEnded);
        }
        match self.forge_word() {
            ForgeWord::Unknown => None,
            ForgeWord::Listed(found) => self.unregister(found, RunnerState::Registering),
            ForgeWord::Absent if self.runner.note.attempts < MAX_ATTEMPTS => {
                Some(Action::Register { name: self.name() })
            }
            ForgeWord::Absent => self.fail(RetireReason::NotRegistered),
        }
    }

    fn starting(&self) -> Option<Action> {
        if self.is_to_be_killed() {
            return self.kill();
        }
        if self.works() {
            return self.move_to(RunnerState::Busy, None);
        }
        if self.has_ended() {
            // A short job may have come and gone between two looks.
            return self.delete(RetireReason::GuestEnded);
        }
        match self.forge_word() {
            ForgeWord::Listed(found) if found.online => self.move_to(RunnerState::Idle, None),
            ForgeWord::Listed(found) if !self.runner.note.handed_over => {
                if self.runner.note.attempts < MAX_ATTEMPTS {
                    self.unregister(found, RunnerState::Registering)
                } else {
                    self.fail(RetireReason::NotRegistered)
                }
            }
            _ if !self.has_passed(self.rules.timeouts.handover) => None,
            // It is listed, but does not connect: what the guest got may be stale.
            ForgeWord::Listed(_) => self.fail(RetireReason::StartTimeout),
            // A registration for one job goes with its job.
            ForgeWord::Absent if self.has_passed(LIST_LAG) => self.delete(RetireReason::Forgotten),
            ForgeWord::Absent | ForgeWord::Unknown => None,
        }
    }

    fn idle(&self) -> Option<Action> {
        if self.has_ended() {
            return self.delete(RetireReason::Done);
        }
        if self.is_to_be_killed() {
            return self.kill();
        }
        if self.works() {
            return self.move_to(RunnerState::Busy, None);
        }
        match self.forge_word() {
            // Not at once, because the list can lag; and not for a guest that cannot say that it is free.
            ForgeWord::Absent if self.has_passed(LIST_LAG) && self.runner.guest.is_free() => {
                self.delete(RetireReason::Forgotten)
            }
            _ => None,
        }
    }

    /// A job ends with its guest, or with the runner's process in it. That the forge does not call it busy is no end.
    fn busy(&self) -> Option<Action> {
        if self.has_ended() {
            return self.delete(RetireReason::Done);
        }
        if self.is_to_be_killed() {
            return self.kill();
        }
        if self.has_passed(self.rules.timeouts.job) {
            return self.move_to(RunnerState::Draining, Some(RetireReason::JobTimeout));
        }
        let is_listed_busy = matches!(self.forge_word(), ForgeWord::Listed(found) if found.busy);
        let is_over = self.runner.guest == GuestFact::WithoutRunner && !is_listed_busy;
        // The first seconds belong to the runner, which starts the process of the job.
        if is_over && self.has_passed(LIST_LAG) { self.delete(RetireReason::Done) } else { None }
    }

    fn draining(&self) -> Option<Action> {
        if self.is_over() {
            return self.move_to(RunnerState::Deleting, self.runner.note.reason);
        }
        if self.is_to_be_killed() {
            return self.delete(RetireReason::Killed);
        }
        let unfence = |then| Some(Action::Unfence { name: self.name(), then });
        if self.works() {
            return unfence(RunnerState::Busy);
        }
        if !self.runner.note.fenced {
            return Some(Action::Fence { name: self.name() });
        }
        if !self.has_passed(FENCE_SETTLES) {
            return None;
        }
        if self.runner.guest == GuestFact::Silent && !self.has_passed(self.rules.timeouts.drain) {
            return None;
        }
        match self.forge_word() {
            // It may have to wait for long; until then it can as well do its work.
            ForgeWord::Unknown => unfence(RunnerState::Idle),
            ForgeWord::Listed(found) => self.unregister(found, RunnerState::Deleting),
            ForgeWord::Absent => self.move_to(RunnerState::Deleting, self.runner.note.reason),
        }
    }

    fn deleting(&self) -> Option<Action> {
        let is_over = self.is_over();
        match self.forge_word() {
            // It has a job after all: the forge gave it one before it was asked to forget the runner.
            ForgeWord::Listed(found) if found.busy && !is_over => {
                Some(Action::Unfence { name: self.name(), then: RunnerState::Busy })
            }
            // A busy one is not forgotten; once its guest is gone, the forge notices that by itself.
            ForgeWord::Listed(found) if !found.busy => self.unregister(found, RunnerState::Deleting),
            ForgeWord::Unknown if !is_over => None,
            _ => Some(Action::Destroy { name: self.name() }),
        }
    }

    /// A VM that failed must not get a job; and if it has one, it has not failed.
    fn failed(&self) -> Option<Action> {
        let over = || self.move_to(RunnerState::Deleting, self.runner.note.reason);
        match self.forge_word() {
            ForgeWord::Listed(found) if !found.busy || !self.has_ended() => {
                self.unregister(found, RunnerState::Failed)
            }
            ForgeWord::Unknown if !self.has_ended() => None,
            _ if self.has_passed(self.rules.keep_failed_for) => over(),
            _ => None,
        }
    }
}
