//! Judges the forge of a pool.

use foundry_core::error::Code;

use super::pool_judge::PoolJudge;
use super::{CommandSpec, ForgeSpec, GithubSpec};

/// A forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgePlan {
    /// GitHub, or GitHub Enterprise Server.
    Github {
        /// URL of the API, without a slash at its end.
        api: String,
        /// Whose runners they are.
        scope: GithubScope,
        /// File with the token.
        token_file: String,
        /// Number of the runner group.
        group: u64,
    },
    /// Three programs of the user's.
    Command(CommandSpec),
}

/// Whose runners they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GithubScope {
    /// Those of an organization.
    Organization(String),
    /// Those of a repository: owner and name.
    Repository(String, String),
    /// Those of an enterprise.
    Enterprise(String),
}

impl GithubScope {
    /// The path of the scope in GitHub's API.
    pub fn api_path(&self) -> String {
        match self {
            Self::Organization(name) => format!("/orgs/{name}"),
            Self::Repository(owner, name) => format!("/repos/{owner}/{name}"),
            Self::Enterprise(name) => format!("/enterprises/{name}"),
        }
    }
}

impl ForgePlan {
    /// Whether the jobs of a repository (owner and name) can run on the forge's runners. Names have no case.
    pub fn covers(&self, repository: &str) -> bool {
        let Self::Github { scope, .. } = self else { return true };
        let owner = repository.split('/').next().unwrap_or_default();
        match scope {
            GithubScope::Organization(name) => owner.eq_ignore_ascii_case(name),
            GithubScope::Repository(owner, name) => {
                repository.eq_ignore_ascii_case(&format!("{owner}/{name}"))
            }
            GithubScope::Enterprise(_) => true,
        }
    }
}

impl PoolJudge {
    pub(super) fn judge_forge(&mut self, forge: &ForgeSpec) -> Option<ForgePlan> {
        match (&forge.github, &forge.command) {
            (Some(github), None) => self.judge_github(github),
            (None, Some(command)) => self.judge_command(command),
            _ => {
                self.reject(
                    Code::Contradiction,
                    "spec.forge",
                    None,
                    "must have exactly one of github and command",
                );
                None
            }
        }
    }

    fn judge_command(&mut self, command: &CommandSpec) -> Option<ForgePlan> {
        let all =
            [("register", &command.register), ("list", &command.list), ("unregister", &command.unregister)];
        for (field, words) in all {
            if !words.first().is_some_and(|program| program.starts_with('/')) {
                let path = format!("spec.forge.command.{field}");
                let message = "must be a list of words that begins with the absolute path of a program";
                self.reject(Code::ValueMissing, &path, words.first().map(String::as_str), message);
            }
        }
        Some(ForgePlan::Command(command.clone()))
    }

    fn judge_github(&mut self, github: &GithubSpec) -> Option<ForgePlan> {
        const PATH: &str = "spec.forge.github";
        let group = self.judge_number(
            &format!("{PATH}.runnerGroupId"),
            github.runner_group_id,
            1..=u64::from(u32::MAX),
            Some(1),
        );
        let token_file = github.token_file.clone().unwrap_or_default();
        if !token_file.starts_with('/') {
            let message = "must be the absolute path of a file with a token";
            self.reject(
                Code::ValueMissing,
                &format!("{PATH}.tokenFile"),
                github.token_file.as_deref(),
                message,
            );
        }
        let url = github.url.clone().unwrap_or_default();
        let Some((server, scope)) = read_github_url(&url) else {
            let message = "must be https://SERVER/ORGANIZATION, https://SERVER/OWNER/REPOSITORY or \
                https://SERVER/enterprises/ENTERPRISE";
            self.reject(Code::TextUnfit, &format!("{PATH}.url"), github.url.as_deref(), message);
            return None;
        };
        let api = github
            .api_url
            .as_deref()
            .map_or_else(|| default_api(&server), |api| api.trim_end_matches('/').to_owned());
        if !is_safe_url(&api) {
            let message = "must begin with https://; http:// is possible for this machine only";
            self.reject(Code::TextUnfit, &format!("{PATH}.apiUrl"), Some(&api), message);
        }
        Some(ForgePlan::Github { api, scope, token_file, group })
    }
}

/// Reads the URL of a repository, organization or enterprise: the server, and whose runners they are.
fn read_github_url(url: &str) -> Option<(String, GithubScope)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let mut parts = rest.trim_end_matches('/').split('/');
    let host = parts.next().filter(|host| !host.is_empty() && !host.contains('@'))?;
    let names: Vec<&str> = parts.collect();
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.chars().all(|c| c == '.')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if !names.iter().all(is_name) {
        return None;
    }
    let scope = match names[..] {
        [organization] => GithubScope::Organization(organization.to_owned()),
        ["enterprises", enterprise] => GithubScope::Enterprise(enterprise.to_owned()),
        [owner, repository] => GithubScope::Repository(owner.to_owned(), repository.to_owned()),
        _ => return None,
    };
    let scheme = &url[..url.len() - rest.len()];
    Some((format!("{scheme}{host}"), scope))
}

/// The URL of the API: GitHub's own, that of a tenant of GitHub Enterprise Cloud, or an Enterprise Server's (GitHub's page
/// "Getting started with the REST API").
fn default_api(server: &str) -> String {
    let host = server.trim_start_matches("https://");
    match host {
        "github.com" | "www.github.com" => "https://api.github.com".to_owned(),
        tenant if tenant.ends_with(".ghe.com") => format!("https://api.{tenant}"),
        _ => format!("{server}/api/v3"),
    }
}

/// Whether a token may be sent there: encrypted, or to this machine.
fn is_safe_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return url.starts_with("https://") };
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    ["127.0.0.1", "localhost"].contains(&host)
}
