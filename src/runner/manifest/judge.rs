//! Judges the manifest of a pool: all problems together.

use foundry_core::error::Code;
use foundry_core::manifest::VirtualMachine;
use foundry_core::plan::{Defaults, Problems};
use foundry_core::record::digest_of;

use super::RunnerPool;
use super::judge_demand::DemandPlan;
use super::judge_forge::ForgePlan;
use super::judge_template::RunnerGuestPlan;
use super::pool_judge::PoolJudge;
use super::usual_runner::UsualRunner;
use crate::demand::LabelMatch;
use crate::rules::PoolRules;
use crate::view::PoolWish;

/// How long a waiting job counts by itself, in seconds: GitHub cancels one after 24 hours, too.
const QUEUED_FOR: u64 = 86_400;

/// A valid pool.
#[derive(Debug, Clone, PartialEq)]
pub struct RunnerPoolPlan {
    /// The numbers.
    pub rules: PoolRules,
    /// What the user wants.
    pub wish: PoolWish,
    /// Labels of the runners at the forge, without the controller's.
    pub labels: Vec<String>,
    /// How a job's labels choose the pool.
    pub label_match: LabelMatch,
    /// How the pool learns of jobs that wait.
    pub demand: DemandPlan,
    /// How long a waiting job counts that is not heard of again, in seconds.
    pub queued_for: u64,
    /// The forge.
    pub forge: ForgePlan,
    /// The runner in the guest.
    pub guest: RunnerGuestPlan,
    /// The manifest of the VMs, without a name.
    pub template: VirtualMachine,
}

impl RunnerPoolPlan {
    /// Judges a pool. `owner_label` is the label by which this controller knows its own registrations.
    ///
    /// # Errors
    /// All problems, each with its path.
    pub fn from_manifest(
        pool: &RunnerPool,
        defaults: &Defaults,
        owner_label: &str,
    ) -> Result<Self, Problems> {
        let mut judge = PoolJudge { problems: Vec::new() };
        let spec = &pool.spec;
        let name = judge.judge_name(pool.metadata.name.as_deref());
        let labels = judge.judge_labels(&spec.labels);
        let forge = judge.judge_forge(&spec.forge, &spec.labels);
        let wish = judge.judge_mode(spec.mode.as_deref());
        let timeouts = judge.judge_timeouts(pool);
        let retry = judge.judge_retry(pool);
        let queued = spec.timeouts.queued.as_deref();
        let queued_for = judge.judge_time("spec.timeouts.queued", queued, QUEUED_FOR, 60);
        let size = &spec.size;
        let max = judge.judge_number("spec.size.max", size.max, 1..=500, None);
        let demand = judge.judge_demand(&spec.demand, &name);
        if forge.as_ref().is_some_and(|forge| matches!(forge, ForgePlan::Forgejo(_)))
            && demand != DemandPlan::Static
        {
            let message = "is not possible: Forgejo reports no jobs by webhooks";
            judge.reject(Code::Contradiction, "spec.demand.webhook", None, message);
        }
        let label_match = judge.judge_label_match(spec.label_match.as_deref());
        // Nobody would ever make the first runner of a static pool without one.
        let least_idle = u64::from(demand == DemandPlan::Static);
        let min_idle = judge.judge_number("spec.size.minIdle", size.min_idle, least_idle..=500, Some(1));
        let starts =
            judge.judge_number("spec.size.maxConcurrentStarts", size.max_concurrent_starts, 1..=32, Some(2));
        if min_idle > max && max > 0 {
            judge.reject(
                Code::Contradiction,
                "spec.size.minIdle",
                Some(&min_idle.to_string()),
                "is more than max",
            );
        }
        let keep = judge.judge_number("spec.onFailure.keep", spec.on_failure.keep, 0..=100, Some(1));
        let keep_for =
            judge.judge_time("spec.onFailure.keepFor", spec.on_failure.keep_for.as_deref(), 3600, 0);
        let guest = judge.judge_guest(&spec.guest, UsualRunner::of(&spec.forge));
        let template = judge.judge_template(pool, &name, defaults);
        if !judge.problems.is_empty() {
            let subject = pool.metadata.name.clone().unwrap_or_else(|| "the pool".to_owned());
            return Err(Problems { subject, list: judge.problems });
        }
        let described = serde_json::to_string(&(&spec.template, &labels, &spec.guest)).unwrap_or_default();
        let rules = PoolRules {
            name,
            min_idle: to_usize(min_idle),
            max: to_usize(max),
            max_starting: to_usize(starts),
            template: digest_of(&described),
            owner_label: owner_label.to_owned(),
            timeouts,
            retry,
            keep_failed: to_usize(keep),
            keep_failed_for: keep_for,
        };
        // Without a problem, there is a forge.
        let Some(forge) = forge else { return Err(Problems { subject: rules.name, list: Vec::new() }) };
        Ok(Self { rules, wish, labels, label_match, demand, queued_for, forge, guest, template })
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
