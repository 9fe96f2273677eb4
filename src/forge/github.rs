//! GitHub: runners with a just-in-time configuration (GitHub's page "REST API endpoints for self-hosted runners").

use foundry_runner::{Forge, ForgeError, ForgeFailure, GithubPlan, RegisteredRunner, Registration, Removal};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::forge_http::ForgeAnswer;
use crate::github_http::GithubHttp;
use crate::listed::id_text;
use crate::paged_list::{ListPage, read_all_pages};
use crate::{quote_foreign, refused_error, unreachable_error};

/// Runners on a page of a list, the most that GitHub gives.
const PER_PAGE: usize = 100;
/// The runner's directory for jobs, below its own.
const WORK_FOLDER: &str = "_work";

/// GitHub, or GitHub Enterprise Server.
#[derive(Debug, Clone)]
pub struct GithubForge {
    http: GithubHttp,
    /// Path of the runners in the API.
    runners: String,
    labels: Vec<String>,
    group: u64,
}

impl GithubForge {
    /// The runners of a scope. `labels` are those of new ones. The files of the login are read when they are needed.
    pub fn new(plan: &GithubPlan, labels: &[String]) -> Self {
        Self {
            http: GithubHttp::new(plan),
            runners: format!("{}/actions/runners", plan.scope.api_path()),
            labels: labels.to_vec(),
            group: plan.group,
        }
    }
}

/// The error of an answer that is not the expected one.
fn unexpected_answer(what: &str, answer: &ForgeAnswer) -> ForgeError {
    let message = answer.body.get("message").and_then(Value::as_str).unwrap_or_default();
    let text = format!("GitHub: {what}: {} {}", answer.status, quote_foreign(message));
    match answer.status {
        // A scope that this token cannot see is said not to exist.
        404 => refused_error(format!("{text}: the URL is wrong, or the token may not manage runners there")),
        422 => refused_error(text),
        _ => unreachable_error(text),
    }
}

impl Forge for GithubForge {
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError> {
        read_all_pages(|page| {
            let path = format!("{}?per_page={PER_PAGE}&page={page}", self.runners);
            let answer = self.http.send(Method::GET, &path, None)?;
            let total = answer.body.get("total_count").and_then(Value::as_u64);
            let total = total.and_then(|total| usize::try_from(total).ok());
            let list = answer.body.get("runners").filter(|list| answer.status == 200 && list.is_array());
            let read = list.and_then(|list| ListPage::from_json(list, total));
            read.ok_or_else(|| unexpected_answer("the list of runners", &answer))
        })
    }

    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError> {
        let path = format!("{}/generate-jitconfig", self.runners);
        let body = json!({
            "name": name,
            "runner_group_id": self.group,
            "labels": self.labels,
            "work_folder": WORK_FOLDER,
        });
        let answer = self.http.send(Method::POST, &path, Some(&body))?;
        if answer.status == 409 {
            let message = format!("GitHub has a runner named {name}");
            return Err(ForgeError { failure: ForgeFailure::NameTaken, message });
        }
        let id = answer.body.pointer("/runner/id").and_then(id_text);
        let configuration = answer.body.get("encoded_jit_config").and_then(Value::as_str);
        match (answer.status, id, configuration) {
            (201, Some(id), Some(configuration)) => {
                Ok(RegisteredRunner { id, configuration: configuration.to_owned() })
            }
            _ => Err(unexpected_answer("a new runner", &answer)),
        }
    }

    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError> {
        let answer = self.http.send(Method::DELETE, &format!("{}/{id}", self.runners), None)?;
        match answer.status {
            204 | 404 => Ok(Removal::Removed),
            // "Runner … is currently running a job and cannot be deleted."
            422 => Ok(Removal::Busy),
            _ => Err(unexpected_answer("the removal of a runner", &answer)),
        }
    }
}
