//! A job of a forge, as its events tell of it.

use std::fmt;

use crate::EpochSeconds;

/// What an event says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEvent {
    /// Host of the forge.
    pub forge: String,
    /// The forge's id of the job.
    pub id: String,
    /// The repository: owner and name.
    pub repository: String,
    /// Name of the workflow, empty if there is none.
    pub workflow: String,
    /// Name of the job.
    pub name: String,
    /// Where a browser shows it, empty if nowhere.
    pub url: String,
    /// Labels that its runner must have.
    pub labels: Vec<String>,
    /// How far it is.
    pub state: JobState,
    /// Name of its runner, once it has one.
    pub runner: Option<String>,
    /// How it ended, in the forge's word.
    pub result: Option<String>,
    /// When it began to wait.
    pub queued: EpochSeconds,
    /// When it began to run.
    pub started: Option<EpochSeconds>,
    /// When it ended.
    pub ended: Option<EpochSeconds>,
    /// Whether it may be waiting again after its end: some forges run a job again under its old id.
    pub reopens: bool,
}

/// How far a job is. It only goes forward: events come twice, late, and in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// It waits for a runner.
    Queued,
    /// A runner works on it.
    Running,
    /// It has ended, or was cancelled.
    Completed,
}

impl JobState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Running, Self::Completed];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
