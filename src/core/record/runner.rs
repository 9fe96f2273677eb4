//! The part of a record about a CI runner: how far the VM of a pool is in its life.
//!
//! ```text
//!              started    agent answers      registered         online       a job
//! creating ──▶ booting ──▶ registering ──▶ starting ──▶ idle ─────────▶ busy
//!     │           │             │              │          │  no longer    │ its guest ended
//!     └───────────┴──── failed ◀┴──────────────┘          │  wanted       │
//!                         │                               ▼               ▼
//!                         └───────────────────────▶ draining ──────▶ deleting ──▶ (gone)
//! ```
//!
//! It is written before what it tells of is done, so a process that is killed at any point leaves a VM from which another
//! can go on. It has no secret: a registration's configuration is only ever in the guest's memory.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What foundry notes about the runner of a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunnerNote {
    /// The pool.
    pub pool: String,
    /// How far it is.
    pub state: RunnerState,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// When the VM was asked for, in seconds since 1970.
    pub made: u64,
    /// Digest of what the pool said of its VMs then.
    pub template: String,
    /// How often it was registered at the forge.
    #[serde(default)]
    pub attempts: u32,
    /// The forge's id of its registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<String>,
    /// Whether the guest has the registration's configuration.
    #[serde(default)]
    pub handed_over: bool,
    /// Whether its link is down, so that no new job can come.
    #[serde(default)]
    pub fenced: bool,
    /// Why it ends, once it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RetireReason>,
}

/// How far a runner is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunnerState {
    /// Its VM is being made.
    Creating,
    /// Its guest boots.
    Booting,
    /// The forge is asked for a registration.
    Registering,
    /// It has a registration, and is not online at the forge yet.
    Starting,
    /// It waits for a job.
    Idle,
    /// It works on a job.
    Busy,
    /// It gets no more jobs; whether it works on one is being found out.
    Draining,
    /// Its registration and its VM are being deleted.
    Deleting,
    /// It did not come up. The VM is kept for a while, so that somebody can look at it.
    Failed,
}

impl RunnerState {
    /// All states, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Creating,
        Self::Booting,
        Self::Registering,
        Self::Starting,
        Self::Idle,
        Self::Busy,
        Self::Draining,
        Self::Deleting,
        Self::Failed,
    ];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Booting => "booting",
            Self::Registering => "registering",
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Deleting => "deleting",
            Self::Failed => "failed",
        }
    }

    /// Whether it is on its way to be idle.
    pub fn is_coming_up(self) -> bool {
        self < Self::Idle
    }

    /// Whether it counts as one of the pool's runners: it is on its way, idle or busy.
    pub fn is_live(self) -> bool {
        self <= Self::Busy
    }
}

impl fmt::Display for RunnerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a runner ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetireReason {
    /// It has run its job.
    Done,
    /// It was idle for longer than the pool wants.
    Surplus,
    /// It is older than the pool wants.
    Age,
    /// The pool describes its VMs differently by now.
    Outdated,
    /// A user wants it, or the whole pool, to end.
    Asked,
    /// Its job took longer than the pool allows.
    JobTimeout,
    /// A user wants it to end at once, whatever it works on.
    Killed,
    /// It did not come up in time.
    StartTimeout,
    /// Its guest ended before it had a job.
    GuestEnded,
    /// The forge gave it no registration.
    NotRegistered,
    /// The forge does not know it any more.
    Forgotten,
    /// The process that made it was interrupted.
    Interrupted,
}

impl RetireReason {
    /// Whether a job that is still on the runner ends with it.
    pub fn ends_job(self) -> bool {
        matches!(self, Self::JobTimeout | Self::Killed)
    }

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Surplus => "surplus",
            Self::Age => "age",
            Self::Outdated => "outdated",
            Self::Asked => "asked",
            Self::JobTimeout => "job-timeout",
            Self::Killed => "killed",
            Self::StartTimeout => "start-timeout",
            Self::GuestEnded => "guest-ended",
            Self::NotRegistered => "not-registered",
            Self::Forgotten => "forgotten",
            Self::Interrupted => "interrupted",
        }
    }
}

impl RunnerNote {
    /// The note of a VM that is about to be made.
    pub fn new(pool: &str, template: &str, now: u64) -> Self {
        Self {
            pool: pool.to_owned(),
            state: RunnerState::Creating,
            since: now,
            made: now,
            template: template.to_owned(),
            attempts: 0,
            registration: None,
            handed_over: false,
            fenced: false,
            reason: None,
        }
    }

    /// The note in another state. The time begins anew, also in the same state.
    #[must_use]
    pub fn moved(&self, state: RunnerState, now: u64) -> Self {
        Self { state, since: now, ..self.clone() }
    }

    /// Seconds in the present state. A clock that was set back counts as none.
    pub fn seconds_in_state(&self, now: u64) -> u64 {
        now.saturating_sub(self.since)
    }
}
