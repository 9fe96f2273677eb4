//! Pools of throw-away VMs that run CI jobs.
//!
//! ```text
//!  VMs with their notes ─┐
//!  the forge's list ─────┼─▶ RunnerPoolView ─▶ decide ─▶ Action… ─▶ controller ─▶ RunnerHost, Forge
//!  demand ───────────────┘               (pure)              note ▸ act ▸ note
//! ```
//!
//! Truth lives in two places: the notes in libvirt's records of the VMs, and the forge. Nothing else has to survive a
//! restart. A round looks at both, decides, and acts; whatever interrupts it, the next round goes on from what it finds.
//!
//! No job is killed. A runner that is not wanted any more is fenced off first (its link goes down, so no job can come),
//! its guest is looked at, the forge is asked to forget it and may refuse, and only then it is deleted. The forge's word
//! "not busy" alone is never enough: it comes late.

mod action;
mod arithmetic;
mod breaker;
mod controller;
mod decide;
mod demand;
mod forge;
mod job;
mod manifest;
mod rules;
mod runner_host;
mod runner_step;
mod view;

pub use action::Action;
pub use breaker::Breaker;
pub use controller::{ActionFailure, PoolController, RoundReport};
pub use decide::decide;
pub use demand::{LabelMatch, PoolDemand, PoolOffer, choose_pool};
pub use forge::{Forge, ForgeError, ForgeFailure, RegisteredRunner, Registration, Removal};
pub use job::{JobEvent, JobState};
pub use manifest::{
    CommandSpec, DemandPlan, ForgePlan, GiteaPlan, GiteaScope, GithubApp, GithubLogin, GithubPlan,
    GithubScope, RUNNER_POOL_KIND, RunnerGuestPlan, RunnerPool, RunnerPoolPlan, TRIAL_POOL,
    load_runner_pools,
};
pub use rules::{PoolRules, PoolTimeouts, RetryRules};
pub use runner_host::{HostedRunner, RunnerHost};
pub use view::{DomainFact, GuestFact, PoolWish, RunnerPoolView, RunnerView, RunnerWish, StartGate};

/// Seconds since 1970. Notes outlive processes and boots, so they have wall time.
pub type EpochSeconds = u64;
