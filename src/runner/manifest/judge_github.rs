//! Judges GitHub as the forge of a pool.

use foundry_core::error::Code;

use super::pool_judge::PoolJudge;
use super::server_url::{UNSAFE_URL, is_safe_url};
use super::{GithubAppSpec, GithubSpec};

const PATH: &str = "spec.forge.github";

/// GitHub, or GitHub Enterprise Server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubPlan {
    /// URL of the API, without a slash at its end.
    pub api: String,
    /// Whose runners they are.
    pub scope: GithubScope,
    /// Who manages them.
    pub login: GithubLogin,
    /// Number of the runner group.
    pub group: u64,
}

/// Who manages the runners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GithubLogin {
    /// Whoever the token in this file stands for.
    TokenFile(String),
    /// An App.
    App(GithubApp),
}

/// A GitHub App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubApp {
    /// Its client id or its number.
    pub id: String,
    /// File with its private key.
    pub private_key_file: String,
    /// Its installation, if it is not to be found by the scope.
    pub installation: Option<u64>,
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

    pub(super) fn covers(&self, repository: &str) -> bool {
        let owner = repository.split('/').next().unwrap_or_default();
        match self {
            Self::Organization(name) => owner.eq_ignore_ascii_case(name),
            Self::Repository(owner, name) => repository.eq_ignore_ascii_case(&format!("{owner}/{name}")),
            Self::Enterprise(_) => true,
        }
    }
}

impl PoolJudge {
    pub(super) fn judge_github(&mut self, github: &GithubSpec) -> Option<GithubPlan> {
        let group = self.judge_number(
            &format!("{PATH}.runnerGroupId"),
            github.runner_group_id,
            1..=u64::from(u32::MAX),
            Some(1),
        );
        let login = self.judge_login(github);
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
            self.reject(Code::TextUnfit, &format!("{PATH}.apiUrl"), Some(&api), UNSAFE_URL);
        }
        Some(GithubPlan { api, scope, login: login?, group })
    }

    fn judge_login(&mut self, github: &GithubSpec) -> Option<GithubLogin> {
        match (&github.token_file, &github.app) {
            (Some(file), None) => {
                let path = format!("{PATH}.tokenFile");
                Some(GithubLogin::TokenFile(self.judge_secret_file(&path, Some(file), "a token")))
            }
            (None, Some(app)) => Some(GithubLogin::App(self.judge_app(app))),
            _ => {
                self.reject(Code::Contradiction, PATH, None, "must have exactly one of tokenFile and app");
                None
            }
        }
    }

    fn judge_app(&mut self, app: &GithubAppSpec) -> GithubApp {
        let id = app.id.clone().unwrap_or_default();
        if id.is_empty()
            || id.len() > 100
            || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            let message = "must be the App's client id, such as Iv23li0000000000000, or its number";
            self.reject(Code::TextUnfit, &format!("{PATH}.app.id"), app.id.as_deref(), message);
        }
        let path = format!("{PATH}.app.privateKeyFile");
        let private_key_file =
            self.judge_secret_file(&path, app.private_key_file.as_deref(), "the App's private key");
        let installation = app.installation_id.map(|number| {
            self.judge_number(&format!("{PATH}.app.installationId"), Some(number), 1..=u64::MAX, None)
        });
        GithubApp { id, private_key_file, installation }
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
