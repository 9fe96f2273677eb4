//! A pool that is being served.

use foundry_core::error::{Code, Error};
use foundry_engine::Context;
use foundry_engine::runner::{PoolHost, random_name};
use foundry_forge::{CommandForge, ForgejoForge, GiteaForge, GithubForge};
use foundry_host::{HostLock, LockError};
use foundry_runner::{
    Action, Breaker, Forge, ForgePlan, PoolController, PoolDemand, RoundReport, RunnerPoolPlan, StartGate,
};

use super::controller::{RoundNews, epoch_now};
use crate::ui::Ui;

/// A pool with its host, its forge, and the lock that keeps another foundry from serving it.
pub(super) struct ServedPool {
    plan: RunnerPoolPlan,
    host: PoolHost,
    forge: Box<dyn Forge + Send>,
    breaker: Breaker,
    /// What was said last about the forge, so that it is said once.
    said: Option<String>,
    _lock: HostLock,
}

impl ServedPool {
    /// Takes a pool over.
    ///
    /// # Errors
    /// If another foundry process serves it.
    pub(super) fn begin(plan: &RunnerPoolPlan, context: &Context) -> Result<Self, Error> {
        Self::begin_with(plan, context, make_forge(plan))
    }

    /// The same with a forge that the plan does not name.
    ///
    /// # Errors
    /// If another foundry process serves it.
    pub(super) fn begin_with(
        plan: &RunnerPoolPlan,
        context: &Context,
        forge: Box<dyn Forge + Send>,
    ) -> Result<Self, Error> {
        let name = &plan.rules.name;
        let lock = context.host.lock(&format!("runner pool {name}")).map_err(|taken| {
            let error = Error::new(Code::VmTurnTaken, format!("pool '{name}' is not taken over")).unchanged();
            match taken {
                LockError::Taken(Some(pid)) => error.because(format!("process {pid} serves it")),
                LockError::Taken(None) => error.because("another process serves it"),
                LockError::Unusable(why) => error.because(why),
            }
        })?;
        Ok(Self {
            plan: plan.clone(),
            host: pool_host(plan, context),
            forge,
            breaker: Breaker::default(),
            said: None,
            _lock: lock,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.plan.rules.name
    }

    /// Replaces the plan if it has changed.
    pub(super) fn set_plan(&mut self, plan: &RunnerPoolPlan) {
        if self.plan != *plan {
            // A forge keeps what it has learned, such as a token, while it is the same.
            if (&self.plan.forge, &self.plan.labels) != (&plan.forge, &plan.labels) {
                self.forge = make_forge(plan);
            }
            self.plan = plan.clone();
            self.host = pool_host(plan, &self.host.context);
        }
    }

    /// Replaces the connection.
    pub(super) fn set_context(&mut self, context: &Context) {
        self.host.context = context.clone();
    }

    /// Runs one round and says what it did.
    ///
    /// # Errors
    /// If the host's VMs cannot be listed.
    pub(super) fn run_round(&mut self, demand: &PoolDemand, ui: &Ui) -> Result<RoundNews, Error> {
        let name = self.plan.rules.name.clone();
        let new_name = || random_name(&name);
        let mut controller = PoolController {
            rules: &self.plan.rules,
            host: &self.host,
            forge: self.forge.as_ref(),
            new_name: &new_name,
            clock: &epoch_now,
            breaker: &mut self.breaker,
        };
        let report = controller.run_round(demand)?;
        self.tell(&report, ui);
        Ok(self.news_of(report))
    }

    fn news_of(&self, report: RoundReport) -> RoundNews {
        let is_held = self.breaker.gate(&self.plan.rules.retry, epoch_now()) != StartGate::Open;
        let forge = report.forge_failure.as_ref().map(|why| format!("the forge cannot be asked: {why}"));
        let held = || is_held.then(|| "VMs did not come up; new ones are held back".to_owned());
        let failed =
            || report.failed.first().map(|(action, why)| format!("{} failed: {why}", describe(action)));
        RoundNews {
            has_acted: !report.done.is_empty(),
            has_forge: report.forge_failure.is_none(),
            trouble: forge.or_else(failed).or_else(held),
            failures: report.failed.len(),
            runners: report.runners,
        }
    }

    fn tell(&mut self, report: &RoundReport, ui: &Ui) {
        let pool = &self.plan.rules.name;
        for action in &report.done {
            ui.show_note(&format!("pool {pool}: {}", describe(action)));
        }
        for (action, why) in &report.failed {
            ui.show_note(&format!("pool {pool}: {} failed: {why}", describe(action)));
        }
        let now = report.forge_failure.as_ref().map(ToString::to_string);
        if now != self.said {
            match &now {
                Some(why) => ui.show_note(&format!("pool {pool}: the forge cannot be asked: {why}")),
                None => ui.show_note(&format!("pool {pool}: the forge answers again")),
            }
            self.said = now;
        }
    }
}

fn pool_host(plan: &RunnerPoolPlan, context: &Context) -> PoolHost {
    PoolHost {
        context: context.clone(),
        pool: plan.rules.name.clone(),
        template: plan.template.clone(),
        defaults: context.settings.defaults(None),
        guest: plan.guest.clone(),
    }
}

pub(super) fn make_forge(plan: &RunnerPoolPlan) -> Box<dyn Forge + Send> {
    let mut labels = plan.labels.clone();
    labels.push(plan.rules.owner_label.clone());
    match &plan.forge {
        ForgePlan::Github(github) => Box::new(GithubForge::new(github, &labels)),
        ForgePlan::Forgejo(forgejo) => {
            Box::new(ForgejoForge::new(forgejo, &plan.labels, &plan.rules.owner_label))
        }
        ForgePlan::Gitea(gitea) => Box::new(GiteaForge::new(gitea, &labels)),
        ForgePlan::Command(programs) => {
            Box::new(CommandForge::new(programs.clone(), &plan.rules.name, &labels))
        }
    }
}

/// An action in words.
fn describe(action: &Action) -> String {
    match action {
        Action::Create => "make a VM".to_owned(),
        Action::Move { name, to, reason: Some(reason) } => format!("{name} is {to}: {}", reason.as_str()),
        Action::Move { name, to, reason: None } => format!("{name} is {to}"),
        Action::Register { name } => format!("register {name}"),
        Action::Unregister { name, .. } => format!("remove the registration of {name}"),
        Action::Fence { name } => format!("take the link of {name} down"),
        Action::Unfence { name, .. } => format!("bring the link of {name} up"),
        Action::Destroy { name } => format!("destroy {name}"),
        Action::Sweep { id } => format!("remove registration {id}, which has no VM"),
    }
}
