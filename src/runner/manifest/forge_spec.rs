//! The forge of a pool, as a user wrote it.

use foundry_core::manifest::Number;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The forge of a pool: exactly one of its fields.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForgeSpec {
    /// GitHub, or GitHub Enterprise Server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GithubSpec>,
    /// Forgejo, version 15 or newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgejo: Option<GiteaSpec>,
    /// Gitea, version 1.24 or newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitea: Option<GiteaSpec>,
    /// Any forge, by three programs of yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandSpec>,
}

/// GitHub, or GitHub Enterprise Server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["url"]))]
pub struct GithubSpec {
    /// URL of the repository, organization or enterprise: https://github.com/acme, …/acme/shop, …/enterprises/acme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// URL of the API. The default follows from url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// File with a token that may manage runners; or app. Only foundry's user may be able to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// A GitHub App that may manage runners, in place of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<GithubAppSpec>,
    /// Number of the runner group; 1 is the group Default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1, "default" = 1))]
    pub runner_group_id: Option<Number>,
}

/// A GitHub App that may manage runners, and is installed there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["id", "privateKeyFile"]))]
pub struct GithubAppSpec {
    /// The App's client id, or its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// File with its private key: RSA, in PEM, as GitHub gives it. Only foundry's user may be able to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<String>,
    /// Number of the installation. The default is found by url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "integer", "minimum" = 1))]
    pub installation_id: Option<Number>,
}

/// A server of Forgejo or Gitea. Labels are names without ':', and jobs run in the VM itself, not in containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["url", "scope", "tokenFile"]))]
pub struct GiteaSpec {
    /// URL of the server: https://git.example.com
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// URL by which guests reach the server; http:// is possible. The default is url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_url: Option<String>,
    /// Whose runners they are: org/NAME, repo/OWNER/NAME, user (whoever the token stands for) or instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// File with a token that may manage runners there. Only foundry's user may be able to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
}

/// Any forge, by three programs of yours. Each gets FOUNDRY_RUNNER_POOL in its environment, ends with 0, and prints JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-required" = ["register", "list", "unregister"]))]
pub struct CommandSpec {
    /// Registers FOUNDRY_RUNNER_NAME with FOUNDRY_RUNNER_LABELS and prints {"id": …, "configuration": …}; exits with 3 if
    /// the name is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub register: Vec<String>,
    /// Prints the list of runners: [{"id": …, "name": …, "online": …, "busy": …, "labels": […]}].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<String>,
    /// Removes FOUNDRY_RUNNER_ID, also if it is not there; exits with 4 if the runner works on a job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unregister: Vec<String>,
}
