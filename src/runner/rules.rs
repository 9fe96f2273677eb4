//! What a pool demands of its runners, as numbers.

/// The rules of a pool. All times are seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRules {
    /// Name of the pool; the names of its VMs begin with it.
    pub name: String,
    /// How many runners wait for jobs, beside those that work.
    pub min_idle: usize,
    /// The most runners at a time, at least 1.
    pub max: usize,
    /// How many may be on their way at a time, at least 1.
    pub max_starting: usize,
    /// Digest of what the pool says of its VMs.
    pub template: String,
    /// Label at the forge by which this controller knows its own registrations.
    pub owner_label: String,
    /// How long each part of a life may take.
    pub timeouts: PoolTimeouts,
    /// When runners that fail are tried again.
    pub retry: RetryRules,
    /// How many failed VMs are kept.
    pub keep_failed: usize,
    /// For how long each is kept.
    pub keep_failed_for: u64,
}

/// How long each part of a runner's life may take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolTimeouts {
    /// From the definition of the VM until its guest answers.
    pub start: u64,
    /// From the registration until the runner is online at the forge.
    pub handover: u64,
    /// How long a runner that is not needed may wait for a job.
    pub idle: u64,
    /// How long a job may take.
    pub job: u64,
    /// How long a guest that does not answer keeps a retirement waiting.
    pub drain: u64,
    /// The age at which an idle runner is replaced.
    pub max_age: u64,
}

/// When new VMs are tried again after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRules {
    /// After how many failures in a row starts are held back, at least 1.
    pub break_after: u32,
    /// How long the first time, in seconds.
    pub initial: u64,
    /// How much longer each further time.
    pub factor: u32,
    /// The longest time, in seconds.
    pub longest: u64,
}

impl Default for PoolTimeouts {
    fn default() -> Self {
        Self { start: 300, handover: 60, idle: 1800, job: 21_600, drain: 600, max_age: 43_200 }
    }
}

impl Default for RetryRules {
    fn default() -> Self {
        Self { break_after: 5, initial: 10, factor: 2, longest: 300 }
    }
}

impl PoolRules {
    /// Whether a name at the forge or on the host is one that this pool gives: its own, `-`, and eight letters or digits.
    pub fn gives_name(&self, name: &str) -> bool {
        let end = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
        end.is_some_and(|end| {
            end.len() == 8 && end.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
    }
}
