//! The manifest of a pool, as a user wrote it.
//!
//! Reading checks YAML and the names of fields; what a value may be is judged by [`judge`](crate::RunnerPoolPlan), which
//! reports all problems together.

mod forge_spec;
mod judge;
mod judge_demand;
mod judge_forge;
mod judge_gitea;
mod judge_github;
mod judge_template;
mod load;
mod pool_judge;
mod server_url;
mod usual_runner;

pub use forge_spec::CommandSpec;
pub(crate) use forge_spec::{ForgeSpec, GiteaSpec, GithubAppSpec, GithubSpec};
pub use judge::RunnerPoolPlan;
pub use judge_demand::DemandPlan;
pub use judge_forge::ForgePlan;
pub use judge_gitea::{GiteaPlan, GiteaScope};
pub use judge_github::{GithubApp, GithubLogin, GithubPlan, GithubScope};
pub use judge_template::RunnerGuestPlan;
pub use load::{RUNNER_POOL_KIND, load_runner_pools};
pub use pool_judge::TRIAL_POOL;

use foundry_core::manifest::{API_VERSION, Metadata, Number, Spec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pool of throw-away VMs that run CI jobs, one each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["apiVersion", "kind", "metadata", "spec"]))]
pub struct RunnerPool {
    /// The version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// What the document describes.
    #[schemars(extend("const" = RUNNER_POOL_KIND))]
    pub kind: String,
    /// Name, labels and annotations. The name has at most 40 characters; the VMs are called after it.
    #[serde(default)]
    pub metadata: Metadata,
    /// What the pool is like.
    #[serde(default)]
    pub spec: RunnerPoolSpec,
}

/// What a pool is like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["forge", "labels", "size", "template"]))]
pub struct RunnerPoolSpec {
    /// Where the runners are registered: exactly one forge.
    #[serde(default)]
    pub forge: ForgeSpec,
    /// How the pool learns of jobs that wait: exactly one way. The default is static.
    #[serde(default)]
    pub demand: DemandSpec,
    /// Labels of the runners at the forge, by which jobs choose them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Whether a job asks for exactly these labels, or for some of them (superset).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["exact", "superset"], "default" = "exact"))]
    pub label_match: Option<String>,
    /// What the pool does: serve, pause (no new VMs; jobs go on) or drain (all VMs go, each after its job).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["serve", "pause", "drain"], "default" = "serve"))]
    pub mode: Option<String>,
    /// How many runners there are.
    #[serde(default)]
    pub size: PoolSize,
    /// How long each part of a runner's life may take.
    #[serde(default)]
    pub timeouts: TimeoutsSpec,
    /// When VMs are made again after failures.
    #[serde(default)]
    pub retry: RetrySpec,
    /// What happens to a VM that did not come up.
    #[serde(default)]
    pub on_failure: FailureSpec,
    /// The runner in the guest.
    #[serde(default)]
    pub guest: RunnerGuest,
    /// The VMs: the spec of a VirtualMachine, without fixed addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Spec>,
}

/// How a pool learns of jobs that wait: exactly one of its fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DemandSpec {
    /// Not at all: minIdle runners wait for jobs at any time.
    #[serde(default, rename = "static", skip_serializing_if = "Option::is_none")]
    pub always: Option<StaticDemand>,
    /// By the forge's webhook, of event workflow_job, sent to http://LISTEN/webhooks/PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookDemand>,
}

/// minIdle runners wait for jobs at any time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaticDemand {}

/// The forge reports its jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["secretFile"]))]
pub struct WebhookDemand {
    /// Last part of the webhook's URL. Pools of one organization share it. The default is the pool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// File with the webhook's secret, at least 16 characters. Only root and foundry's user may be able to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
}

/// How many runners a pool has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["max"]))]
pub struct PoolSize {
    /// How many runners wait for jobs, beside those that work. 0 is possible if the pool learns of its jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 0, "default" = 1))]
    pub min_idle: Option<Number>,
    /// The most runners at a time. Required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 500))]
    pub max: Option<Number>,
    /// How many may be on their way at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 32, "default" = 2))]
    pub max_concurrent_starts: Option<Number>,
}

/// How long each part of a runner's life may take, such as 90s, 5m, 12h or 1d.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeoutsSpec {
    /// From the start of the VM until its guest agent answers. The default is 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// From the registration until the runner is online. The default is 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<String>,
    /// How long a runner that is not needed waits for a job. The default is 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// How long a job may take; then its VM is destroyed. The default is 6h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How long a guest that does not answer delays its end. The default is 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// How long a job counts that waits and is not heard of again. The default is 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<String>,
    /// The age at which an idle runner is replaced. The default is 12h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
}

/// When VMs are made again after failures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetrySpec {
    /// After how many failures in a row no VM is made for a while. The default is 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "maximum" = 1000, "default" = 5))]
    pub break_after: Option<Number>,
    /// How long the first time; each time it is twice as long. The default is 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// The longest time. The default is 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
}

/// What happens to a VM that did not come up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureSpec {
    /// How many are kept, so that you can look at them. The default is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 0, "maximum" = 100, "default" = 1))]
    pub keep: Option<Number>,
    /// For how long each is kept. The default is 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_for: Option<String>,
}

/// The runner in the guest. The image has it, and a guest agent that may run commands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunnerGuest {
    /// User of the runner. The default is runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Directory of the runner. The default is /home/runner/actions-runner, with Forgejo and Gitea /home/runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Shell command that is the runner, with its configuration in RUNNER_CONFIGURATION, which it should keep from its
    /// jobs. When it ends, the guest powers off. The default is the forge's: forgejo-runner one-job, which takes it as its
    /// configuration file; gitea-runner or act_runner daemon, with .runner; otherwise GitHub's ./run.sh, which takes it as
    /// ACTIONS_RUNNER_INPUT_JITCONFIG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Shell command, run by root, that ends with 0 while the runner works on a job. The output of run is in
    /// /run/foundry-runner/log, its process id in /run/foundry-runner/pid. With Forgejo and Gitea, the default
    /// looks there for a task, and otherwise for GitHub's process: pgrep -x Runner.Worker
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
}
