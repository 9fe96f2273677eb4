//! The numbers for Prometheus. Labels are names of pools and words of foundry's own: never a job, a repository or a runner.

use foundry_jobs::RunnerPoolStatus;
use foundry_runner::{JobEvent, JobState};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of times, in seconds: from a warm start to a long job.
const TIMES: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 7200.0, 21_600.0];

/// The numbers of all pools.
#[derive(Debug)]
pub struct PoolMetrics {
    registry: Registry,
    runners: Family<StateLabels, Gauge>,
    min_idle: Family<PoolLabels, Gauge>,
    max: Family<PoolLabels, Gauge>,
    queued: Family<PoolLabels, Gauge>,
    is_healthy: Family<PoolLabels, Gauge>,
    forge_answered: Family<PoolLabels, Gauge>,
    retired: Family<ReasonLabels, Counter>,
    failures: Family<PoolLabels, Counter>,
    rounds: Family<PoolLabels, Counter>,
    webhooks: Family<WebhookLabels, Counter>,
    start: Family<PoolLabels, Histogram>,
    job_wait: Family<PoolLabels, Histogram>,
    job_run: Family<PoolLabels, Histogram>,
    jobs: Family<ResultLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    pool: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    pool: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    pool: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    outcome: &'static str,
}

fn new_times() -> Histogram {
    Histogram::new(TIMES)
}

impl Default for PoolMetrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("foundry_runner"),
            runners: Family::default(),
            min_idle: Family::default(),
            max: Family::default(),
            queued: Family::default(),
            is_healthy: Family::default(),
            forge_answered: Family::default(),
            retired: Family::default(),
            failures: Family::default(),
            rounds: Family::default(),
            webhooks: Family::default(),
            start: Family::new_with_constructor(new_times),
            job_wait: Family::new_with_constructor(new_times),
            job_run: Family::new_with_constructor(new_times),
            jobs: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl PoolMetrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("runners", "VMs of a pool by state", self.runners.clone());
        registry.register("min_idle", "Runners that are to wait for jobs", self.min_idle.clone());
        registry.register("max", "The most runners of a pool", self.max.clone());
        registry.register("jobs_queued", "Jobs that wait for a runner of a pool", self.queued.clone());
        registry.register("healthy", "1 if a pool works as it should", self.is_healthy.clone());
        let help = "When the forge of a pool answered last";
        registry.register("forge_answered_timestamp", help, self.forge_answered.clone());
        registry.register("retired", "VMs that are gone, by reason", self.retired.clone());
        registry.register("action_failures", "Actions that failed", self.failures.clone());
        registry.register("rounds", "Rounds of the controller", self.rounds.clone());
        registry.register("webhooks", "Deliveries of webhooks by outcome", self.webhooks.clone());
        registry.register("jobs", "Jobs that ended, by result", self.jobs.clone());
        let times = [
            ("start", "From asking for a VM until its runner is online", &self.start),
            ("job_queue", "From the job's creation until it runs", &self.job_wait),
            ("job_run", "How long jobs ran", &self.job_run),
        ];
        for (name, help, family) in times {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
    }

    /// The text that Prometheus reads (OpenMetrics).
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Shows what a pool is like after a round.
    pub fn show_pool(&self, pool: &RunnerPoolStatus) {
        let labels = || PoolLabels { pool: pool.name.clone() };
        for (state, count) in pool.runners.by_state() {
            let labels = StateLabels { pool: pool.name.clone(), state };
            self.runners.get_or_create(&labels).set(to_i64(count));
        }
        self.min_idle.get_or_create(&labels()).set(to_i64(pool.min_idle));
        self.max.get_or_create(&labels()).set(to_i64(pool.max));
        self.queued.get_or_create(&labels()).set(to_i64(pool.queued));
        self.is_healthy.get_or_create(&labels()).set(i64::from(pool.trouble.is_none()));
        if let Some(time) = pool.forge_answered_epoch {
            self.forge_answered.get_or_create(&labels()).set(i64::try_from(time).unwrap_or(i64::MAX));
        }
        self.rounds.get_or_create(&labels()).inc();
    }

    /// Forgets what a pool is like; its counters stay.
    pub fn forget_pool(&self, pool: &str) {
        let labels = PoolLabels { pool: pool.to_owned() };
        for gauge in [&self.min_idle, &self.max, &self.queued, &self.is_healthy, &self.forge_answered] {
            gauge.remove(&labels);
        }
        for (state, _) in foundry_jobs::RunnerCounts::default().by_state() {
            self.runners.remove(&StateLabels { pool: pool.to_owned(), state });
        }
    }

    /// Counts actions that failed.
    pub fn count_failures(&self, pool: &str, count: usize) {
        let labels = PoolLabels { pool: pool.to_owned() };
        self.failures.get_or_create(&labels).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Counts a VM that is gone.
    pub fn count_retired(&self, pool: &str, reason: &str) {
        self.retired.get_or_create(&ReasonLabels { pool: pool.to_owned(), reason: reason.to_owned() }).inc();
    }

    /// Notes how long a runner took to be online, in seconds.
    pub fn observe_start(&self, pool: &str, seconds: u64) {
        self.start.get_or_create(&PoolLabels { pool: pool.to_owned() }).observe(to_f64(seconds));
    }

    pub(crate) fn count_webhook(&self, outcome: &'static str) {
        self.webhooks.get_or_create(&WebhookLabels { outcome }).inc();
    }

    /// Notes a job that began or ended.
    pub(crate) fn observe_job(&self, pool: &str, event: &JobEvent) {
        let labels = PoolLabels { pool: pool.to_owned() };
        match (event.state, event.started) {
            (JobState::Running, Some(started)) => {
                self.job_wait.get_or_create(&labels).observe(to_f64(started.saturating_sub(event.queued)));
            }
            (JobState::Completed, Some(started)) => {
                let ended = event.ended.unwrap_or(started);
                self.job_run.get_or_create(&labels).observe(to_f64(ended.saturating_sub(started)));
            }
            _ => {}
        }
        if event.state == JobState::Completed {
            let result = known_result(event.result.as_deref());
            self.jobs.get_or_create(&ResultLabels { pool: labels.pool, result }).inc();
        }
    }
}

/// A result as one of a few words: a forge may send any.
fn known_result(result: Option<&str>) -> &'static str {
    const KNOWN: [&str; 6] = ["success", "failure", "cancelled", "skipped", "timed_out", "neutral"];
    KNOWN.into_iter().find(|known| result == Some(known)).unwrap_or("other")
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Times are far below 2^32 s.
fn to_f64(seconds: u64) -> f64 {
    f64::from(u32::try_from(seconds).unwrap_or(u32::MAX))
}
