//! Judges the forge of a pool.

use foundry_core::error::Code;

use super::judge_gitea::GiteaPlan;
use super::judge_github::GithubPlan;
use super::pool_judge::PoolJudge;
use super::{CommandSpec, ForgeSpec};

/// A forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgePlan {
    /// GitHub, or GitHub Enterprise Server.
    Github(GithubPlan),
    /// Forgejo.
    Forgejo(GiteaPlan),
    /// Gitea.
    Gitea(GiteaPlan),
    /// Three programs of the user's.
    Command(CommandSpec),
}

impl ForgePlan {
    /// Whether the jobs of a repository (owner and name) can run on the forge's runners. Names have no case.
    pub fn covers(&self, repository: &str) -> bool {
        match self {
            Self::Github(github) => github.scope.covers(repository),
            Self::Forgejo(server) | Self::Gitea(server) => server.scope.covers(repository),
            Self::Command(_) => true,
        }
    }
}

impl PoolJudge {
    pub(super) fn judge_forge(&mut self, forge: &ForgeSpec, labels: &[String]) -> Option<ForgePlan> {
        let ForgeSpec { github, forgejo, gitea, command } = forge;
        match (github, forgejo, gitea, command) {
            (Some(github), None, None, None) => self.judge_github(github).map(ForgePlan::Github),
            (None, Some(forgejo), None, None) => {
                self.judge_gitea("spec.forge.forgejo", forgejo, labels).map(ForgePlan::Forgejo)
            }
            (None, None, Some(gitea), None) => {
                self.judge_gitea("spec.forge.gitea", gitea, labels).map(ForgePlan::Gitea)
            }
            (None, None, None, Some(command)) => self.judge_command(command),
            _ => {
                let message = "must have exactly one of github, forgejo, gitea and command";
                self.reject(Code::Contradiction, "spec.forge", None, message);
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

    /// Judges the path of a file with a secret; the file itself is read when it is needed.
    pub(super) fn judge_secret_file(&mut self, path: &str, file: Option<&str>, what: &str) -> String {
        let file = file.unwrap_or_default();
        if !file.starts_with('/') || file.chars().any(char::is_control) {
            let message = format!("must be the absolute path of a file with {what}");
            self.reject(Code::ValueMissing, path, Some(file).filter(|file| !file.is_empty()), message);
        }
        file.to_owned()
    }
}
