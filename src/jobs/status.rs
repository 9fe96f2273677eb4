//! Pools, runners and jobs as commands and the API show them.

use std::collections::BTreeMap;

use foundry_core::error::{Code, Error};
use foundry_core::record::RunnerState;
use foundry_core::units::format_epoch;
use foundry_runner::EpochSeconds;
use schemars::JsonSchema;
use serde::Serialize;

use crate::database::JobDatabase;
use crate::job_rows::JobRow;
use crate::runner_rows::RunnerHistory;

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunnerPoolStatus {
    /// Its name.
    pub name: String,
    /// What it does: serve, pause, drain.
    pub mode: &'static str,
    /// How many runners wait for jobs.
    pub min_idle: usize,
    /// The most runners.
    pub max: usize,
    /// Labels of its runners.
    pub labels: Vec<String>,
    /// Its VMs by what they do.
    pub runners: RunnerCounts,
    /// Jobs that wait for one of its runners.
    pub queued: usize,
    /// Why it does not work as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When the forge answered last (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forge_answered: Option<String>,
    /// When the controller looked last (RFC 3339).
    pub seen: String,
    /// The same, as a number.
    #[serde(skip)]
    pub seen_epoch: EpochSeconds,
    /// When the forge answered last, as a number.
    #[serde(skip)]
    pub forge_answered_epoch: Option<EpochSeconds>,
}

/// VMs of a pool by what they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunnerCounts {
    /// On their way.
    pub starting: usize,
    /// Waiting for a job.
    pub idle: usize,
    /// Working on a job.
    pub busy: usize,
    /// Ending.
    pub ending: usize,
    /// Not come up, and kept.
    pub failed: usize,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// The forge's id.
    pub id: String,
    /// Host of the forge.
    pub forge: String,
    /// The repository: owner and name.
    pub repository: String,
    /// Name of the workflow.
    pub workflow: String,
    /// Name of the job.
    pub name: String,
    /// Where a browser shows it.
    pub url: String,
    /// Labels that its runner must have.
    pub labels: Vec<String>,
    /// The pool that it counts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// queued, running or completed.
    pub state: &'static str,
    /// Its runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// How it ended: the forge's word, lost (its runner is gone, and no end was reported), or expired (it waited too long).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// When it began to wait (RFC 3339).
    pub queued: String,
    /// When it began to run (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// When it ended (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A runner over time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunnerStatus {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// creating, booting, registering, starting, idle, busy, draining, deleting, failed, or gone.
    pub state: String,
    /// When it came into this state (RFC 3339).
    pub since: String,
    /// When its VM was asked for (RFC 3339).
    pub made: String,
    /// When it was online at the forge (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// When its job was seen first (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    /// When its VM was gone (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RunnerCounts {
    /// The numbers with their words.
    pub fn by_state(&self) -> [(&'static str, usize); 5] {
        [
            ("starting", self.starting),
            ("idle", self.idle),
            ("busy", self.busy),
            ("ending", self.ending),
            ("failed", self.failed),
        ]
    }

    fn count(&mut self, state: &str) {
        let found = RunnerState::ALL.into_iter().find(|one| one.as_str() == state);
        *match found {
            Some(RunnerState::Idle) => &mut self.idle,
            Some(RunnerState::Busy) => &mut self.busy,
            Some(RunnerState::Draining | RunnerState::Deleting) => &mut self.ending,
            Some(RunnerState::Failed) => &mut self.failed,
            _ => &mut self.starting,
        } += 1;
    }
}

impl JobDatabase {
    /// What all pools are like, by name.
    ///
    /// # Errors
    /// [`Code::JobDatabaseUnusable`].
    pub fn pool_statuses(&self) -> Result<Vec<RunnerPoolStatus>, Error> {
        let queued = self.count_queued()?;
        let mut counts: BTreeMap<String, RunnerCounts> = BTreeMap::new();
        for one in self.list_present_runners(None)? {
            counts.entry(one.pool).or_default().count(&one.state);
        }
        let all = self.list_pools()?.into_iter();
        Ok(all
            .map(|pool| RunnerPoolStatus {
                mode: pool.mode.as_str(),
                min_idle: pool.min_idle,
                max: pool.max,
                labels: pool.labels,
                runners: counts.get(&pool.name).copied().unwrap_or_default(),
                queued: queued.get(&pool.name).copied().unwrap_or_default(),
                trouble: pool.trouble,
                forge_answered: pool.forge_answered.map(format_epoch),
                seen: format_epoch(pool.seen),
                seen_epoch: pool.seen,
                forge_answered_epoch: pool.forge_answered,
                name: pool.name,
            })
            .collect())
    }

    /// What one pool is like.
    ///
    /// # Errors
    /// [`Code::RunnerPoolUnknown`] with the names of those that are known.
    pub fn pool_status(&self, name: &str) -> Result<RunnerPoolStatus, Error> {
        let all = self.pool_statuses()?;
        let known: Vec<&str> = all.iter().map(|pool| pool.name.as_str()).collect();
        let error = Error::new(Code::RunnerPoolUnknown, format!("no controller has served a pool '{name}'"))
            .because(if known.is_empty() {
                "it has served none yet".to_owned()
            } else {
                format!("it has served {}", known.join(", "))
            })
            .unchanged();
        all.into_iter().find(|pool| pool.name == name).ok_or(error)
    }

    /// What one runner is like, also if it is gone.
    ///
    /// # Errors
    /// [`Code::RunnerUnknown`].
    pub fn runner_status(&self, name: &str) -> Result<RunnerStatus, Error> {
        let found = self.find_runner(name)?;
        found.map(RunnerStatus::from).ok_or_else(|| {
            Error::new(Code::RunnerUnknown, format!("there is no runner '{name}'")).unchanged()
        })
    }
}

impl From<RunnerHistory> for RunnerStatus {
    fn from(one: RunnerHistory) -> Self {
        Self {
            name: one.name,
            pool: one.pool,
            state: one.state,
            since: format_epoch(one.since),
            made: format_epoch(one.made),
            ready: one.ready.map(format_epoch),
            busy: one.busy.map(format_epoch),
            gone: one.gone.map(format_epoch),
            reason: one.reason,
        }
    }
}

impl From<JobRow> for JobStatus {
    fn from(JobRow { event, pool }: JobRow) -> Self {
        Self {
            id: event.id,
            forge: event.forge,
            repository: event.repository,
            workflow: event.workflow,
            name: event.name,
            url: event.url,
            labels: event.labels,
            pool,
            state: event.state.as_str(),
            runner: event.runner,
            result: event.result,
            queued: format_epoch(event.queued),
            started: event.started.map(format_epoch),
            ended: event.ended.map(format_epoch),
        }
    }
}
