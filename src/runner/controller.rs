//! Looks, decides, and acts.

use std::collections::BTreeMap;

use foundry_core::error::Error;
use foundry_core::record::{RunnerNote, RunnerState};

use crate::EpochSeconds;
use crate::action::Action;
use crate::breaker::Breaker;
use crate::decide::decide;
use crate::demand::PoolDemand;
use crate::forge::{Forge, ForgeError, ForgeFailure, Removal};
use crate::rules::PoolRules;
use crate::runner_host::{HostedRunner, RunnerHost};
use crate::view::{DomainFact, GuestFact, RunnerPoolView, RunnerView};

/// The controller of one pool, for a round.
pub struct PoolController<'a> {
    /// The rules of the pool.
    pub rules: &'a PoolRules,
    /// The host of its VMs.
    pub host: &'a dyn RunnerHost,
    /// Where its runners are registered.
    pub forge: &'a dyn Forge,
    /// Makes a name for a VM that no VM has.
    pub new_name: &'a dyn Fn() -> Result<String, Error>,
    /// The time.
    pub clock: &'a dyn Fn() -> EpochSeconds,
    /// What is kept between rounds; it may be lost.
    pub breaker: &'a mut Breaker,
}

/// What a round did.
#[derive(Debug, Default)]
pub struct RoundReport {
    /// The VMs that the round found, with their notes then.
    pub runners: Vec<(String, RunnerNote)>,
    /// What was done.
    pub done: Vec<Action>,
    /// What failed, and why. The next round finds out what is left to do.
    pub failed: Vec<(Action, ActionFailure)>,
    /// Why the forge could not be asked.
    pub forge_failure: Option<ForgeError>,
}

/// Why an action failed.
#[derive(Debug, Clone)]
pub enum ActionFailure {
    /// The host refused.
    Host(Box<Error>),
    /// The forge refused, or could not be asked.
    Forge(ForgeError),
}

impl From<Error> for ActionFailure {
    fn from(error: Error) -> Self {
        Self::Host(Box::new(error))
    }
}

impl From<ForgeError> for ActionFailure {
    fn from(error: ForgeError) -> Self {
        Self::Forge(error)
    }
}

impl std::fmt::Display for ActionFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(error) => error.fmt(f),
            Self::Forge(error) => error.fmt(f),
        }
    }
}

/// Whether a guest's word matters.
fn is_asked(hosted: &HostedRunner) -> bool {
    let matters = matches!(
        hosted.note.state,
        RunnerState::Booting
            | RunnerState::Starting
            | RunnerState::Idle
            | RunnerState::Busy
            | RunnerState::Draining
    );
    matters && hosted.domain == DomainFact::Running
}

impl PoolController<'_> {
    /// Runs one round.
    ///
    /// # Errors
    /// If the host's VMs could not be listed; then nothing was done.
    pub fn run_round(&mut self, demand: &PoolDemand) -> Result<RoundReport, Error> {
        let (view, forge_failure) = self.look(demand)?;
        let runners = view.runners.iter().map(|runner| (runner.name.clone(), runner.note.clone())).collect();
        let mut report = RoundReport { runners, forge_failure, ..RoundReport::default() };
        for action in decide(self.rules, &view, (self.clock)()) {
            match self.act(&action, &view) {
                Ok(()) => report.done.push(action),
                Err(error) => report.failed.push((action, error)),
            }
        }
        Ok(report)
    }

    /// Looks at the VMs first: a registration that is made later is not in the list, and so not taken for one without a
    /// VM.
    fn look(&self, demand: &PoolDemand) -> Result<(RunnerPoolView, Option<ForgeError>), Error> {
        let hosted = self.host.list_runners()?;
        let (registrations, failure) = match self.forge.list_registrations() {
            Ok(list) => (Some(list), None),
            Err(failure) => (None, Some(failure)),
        };
        let runners = self.look_closely(hosted, demand);
        let gate = self.breaker.gate(&self.rules.retry, (self.clock)());
        let (queued, wish) = (demand.queued, demand.wish);
        Ok((RunnerPoolView { runners, registrations, queued, wish, room: None, gate }, failure))
    }

    fn look_closely(&self, hosted: Vec<HostedRunner>, demand: &PoolDemand) -> Vec<RunnerView> {
        let asked: Vec<&str> =
            hosted.iter().filter(|one| is_asked(one)).map(|one| one.name.as_str()).collect();
        let facts: Vec<GuestFact> = self.host.look_at_guests(&asked);
        let facts: BTreeMap<String, GuestFact> = asked.into_iter().map(str::to_owned).zip(facts).collect();
        let view = |HostedRunner { name, note, domain }| {
            let guest = facts.get(&name).copied().unwrap_or(GuestFact::Silent);
            let has_job = demand.at_work.contains(&name);
            let wish = demand.runner_wishes.get(&name).copied();
            RunnerView { name, note, domain, guest, has_job, wish }
        };
        hosted.into_iter().map(view).collect()
    }

    fn act(&mut self, action: &Action, view: &RunnerPoolView) -> Result<(), ActionFailure> {
        let note_of = |name: &str| view.runners.iter().find(|runner| runner.name == name).map(|r| &r.note);
        match action {
            Action::Create => self.create(),
            Action::Move { name, to, reason } => {
                let Some(note) = note_of(name) else { return Ok(()) };
                self.count_outcome(*to, note.state);
                let reason = reason.or(note.reason);
                self.write(name, RunnerNote { reason, ..note.moved(*to, self.now()) })
            }
            Action::Register { name } => note_of(name).map_or(Ok(()), |note| self.register(name, note)),
            Action::Unregister { name, id, then } => {
                note_of(name).map_or(Ok(()), |note| self.unregister(name, note, id, *then))
            }
            Action::Fence { name } => note_of(name).map_or(Ok(()), |note| self.fence(name, note)),
            Action::Unfence { name, then } => {
                note_of(name).map_or(Ok(()), |note| self.unfence(name, note, *then))
            }
            Action::Destroy { name } => Ok(self.host.destroy_runner(name)?),
            Action::Sweep { id } => {
                // One that is busy by now stays.
                self.forge.remove_registration(id)?;
                Ok(())
            }
        }
    }

    fn now(&self) -> EpochSeconds {
        (self.clock)()
    }

    fn write(&self, name: &str, note: RunnerNote) -> Result<(), ActionFailure> {
        Ok(self.host.write_note(name, &note)?)
    }

    /// Counts a runner that came up, or did not.
    fn count_outcome(&mut self, to: RunnerState, from: RunnerState) {
        match to {
            RunnerState::Failed => self.breaker.note_failure(self.now()),
            // Without that, a runner that ends at once would be made anew for ever.
            RunnerState::Deleting if from == RunnerState::Starting => self.breaker.note_failure(self.now()),
            RunnerState::Idle | RunnerState::Busy if from == RunnerState::Starting => {
                self.breaker.note_success()
            }
            _ => {}
        }
    }

    fn create(&mut self) -> Result<(), ActionFailure> {
        let name = (self.new_name)()?;
        let note = RunnerNote::new(&self.rules.name, &self.rules.template, self.now());
        if let Err(error) = self.host.create_runner(&name, &note) {
            self.breaker.note_failure(self.now());
            return Err(error.into());
        }
        self.write(&name, note.moved(RunnerState::Booting, self.now()))
    }

    /// The note says first that a registration is asked for. If the answer is lost, the next round removes what was made,
    /// because its configuration cannot be had again.
    fn register(&self, name: &str, note: &RunnerNote) -> Result<(), ActionFailure> {
        let mut note = RunnerNote {
            attempts: note.attempts + 1,
            registration: None,
            handed_over: false,
            ..note.moved(RunnerState::Registering, self.now())
        };
        self.host.write_note(name, &note)?;
        let registered = match self.forge.register_runner(name) {
            Ok(registered) => registered,
            // It is this VM's own: nobody else gives this name. The next round finds it in the list.
            Err(ForgeError { failure: ForgeFailure::NameTaken, .. }) => return Ok(()),
            Err(failure) => return Err(failure.into()),
        };
        note =
            RunnerNote { registration: Some(registered.id), ..note.moved(RunnerState::Starting, self.now()) };
        self.host.write_note(name, &note)?;
        self.host.hand_over(name, &registered.configuration)?;
        self.write(name, RunnerNote { handed_over: true, ..note })
    }

    fn unregister(
        &self,
        name: &str,
        note: &RunnerNote,
        id: &str,
        then: RunnerState,
    ) -> Result<(), ActionFailure> {
        match self.forge.remove_registration(id)? {
            Removal::Removed => {
                let registration = None;
                self.write(
                    name,
                    RunnerNote { registration, handed_over: false, ..note.moved(then, self.now()) },
                )
            }
            Removal::Busy => self.unfence(name, note, RunnerState::Busy),
        }
    }

    /// The link first: a note about a link that is still up would let the runner take a job while it is deleted.
    fn fence(&self, name: &str, note: &RunnerNote) -> Result<(), ActionFailure> {
        self.host.set_link(name, false)?;
        self.write(name, RunnerNote { fenced: true, ..note.moved(note.state, self.now()) })
    }

    /// The note first, for the same reason; and the state last, so that an interrupted one is tried again.
    fn unfence(&self, name: &str, note: &RunnerNote, then: RunnerState) -> Result<(), ActionFailure> {
        let note = RunnerNote { fenced: false, ..note.clone() };
        if note.state == RunnerState::Draining {
            self.host.write_note(name, &note)?;
        }
        self.host.set_link(name, true)?;
        self.write(name, RunnerNote { reason: None, ..note.moved(then, self.now()) })
    }
}
