//! Judges a server of Forgejo or Gitea as the forge of a pool.

use foundry_core::error::Code;

use super::GiteaSpec;
use super::pool_judge::PoolJudge;
use super::server_url::{UNSAFE_URL, is_safe_url, is_server_url};

/// A server of Forgejo or Gitea.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiteaPlan {
    /// Its URL, without a slash at its end.
    pub url: String,
    /// The URL by which guests reach it, without a slash at its end.
    pub guest_url: String,
    /// Whose runners they are.
    pub scope: GiteaScope,
    /// File with the token.
    pub token_file: String,
}

/// Whose runners they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GiteaScope {
    /// Those of the whole server.
    Instance,
    /// Those of an organization.
    Organization(String),
    /// Those of a repository: owner and name.
    Repository(String, String),
    /// Those of the user whose token it is.
    User,
}

impl GiteaScope {
    /// The path of the scope in the server's API.
    pub fn api_path(&self) -> String {
        match self {
            Self::Instance => "/admin".to_owned(),
            Self::Organization(name) => format!("/orgs/{name}"),
            Self::Repository(owner, name) => format!("/repos/{owner}/{name}"),
            Self::User => "/user".to_owned(),
        }
    }

    /// Whether the jobs of a repository (owner and name) can come. Names have no case; whose token it is is not known.
    pub(super) fn covers(&self, repository: &str) -> bool {
        let owner = repository.split('/').next().unwrap_or_default();
        match self {
            Self::Organization(name) => owner.eq_ignore_ascii_case(name),
            Self::Repository(owner, name) => repository.eq_ignore_ascii_case(&format!("{owner}/{name}")),
            Self::Instance | Self::User => true,
        }
    }
}

impl PoolJudge {
    pub(super) fn judge_gitea(
        &mut self,
        path: &str,
        gitea: &GiteaSpec,
        labels: &[String],
    ) -> Option<GiteaPlan> {
        for (index, label) in labels.iter().enumerate().filter(|(_, label)| label.contains(':')) {
            let message = "cannot have ':', by which runners name where a job runs: here, it is the VM";
            self.reject(Code::LabelUnfit, &format!("spec.labels[{index}]"), Some(label), message);
        }
        let token_file =
            self.judge_secret_file(&format!("{path}.tokenFile"), gitea.token_file.as_deref(), "a token");
        let trimmed = |url: &Option<String>| url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
        let url = trimmed(&gitea.url).unwrap_or_default();
        if !is_safe_url(&url) {
            self.reject(Code::TextUnfit, &format!("{path}.url"), gitea.url.as_deref(), UNSAFE_URL);
        }
        let guest_url = trimmed(&gitea.guest_url).unwrap_or_else(|| url.clone());
        if gitea.guest_url.is_some() && !is_server_url(&guest_url) {
            let message = "must be https://SERVER or http://SERVER, without a login and a query";
            self.reject(Code::TextUnfit, &format!("{path}.guestUrl"), gitea.guest_url.as_deref(), message);
        }
        let Some(scope) = read_scope(gitea.scope.as_deref().unwrap_or_default()) else {
            let message = "must be org/NAME, repo/OWNER/NAME, user or instance";
            self.reject(Code::TextUnfit, &format!("{path}.scope"), gitea.scope.as_deref(), message);
            return None;
        };
        Some(GiteaPlan { url, guest_url, scope, token_file })
    }
}

fn read_scope(text: &str) -> Option<GiteaScope> {
    let parts: Vec<&str> = text.split('/').collect();
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.chars().all(|c| c == '.')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if !parts.iter().all(is_name) {
        return None;
    }
    match parts[..] {
        ["instance"] => Some(GiteaScope::Instance),
        ["user"] => Some(GiteaScope::User),
        ["org", name] => Some(GiteaScope::Organization(name.to_owned())),
        ["repo", owner, name] => Some(GiteaScope::Repository(owner.to_owned(), name.to_owned())),
        _ => None,
    }
}
