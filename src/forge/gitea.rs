//! Gitea: runners for one job, registered in their place (Gitea's page "Act Runner", and the service that runners call).

use foundry_runner::{Forge, ForgeError, GiteaPlan, RegisteredRunner, Registration, Removal};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::gitea_http::GiteaHttp;
use crate::listed::id_text;
use crate::paged_list::{ListPage, read_all_pages};
use crate::{refused_error, unreachable_error};

/// The first version with runners for one job, and with an API that lists runners.
const NEEDED: &str = "Gitea 1.24";
/// Runners on a page of a list; the server can have a lower limit.
const PER_PAGE: usize = 50;

/// A server of Gitea.
#[derive(Debug, Clone)]
pub struct GiteaForge {
    http: GiteaHttp,
    /// URL by which guests reach the server.
    guest_url: String,
    labels: Vec<String>,
}

impl GiteaForge {
    /// The runners of a scope. `labels` are those of new ones.
    pub fn new(plan: &GiteaPlan, labels: &[String]) -> Self {
        Self {
            http: GiteaHttp::new(plan, NEEDED),
            guest_url: plan.guest_url.clone(),
            labels: labels.to_vec(),
        }
    }

    /// Asks for the token by which runners register. It is good for any number of them, so no guest gets it; and it is
    /// asked for each time, because it can be replaced.
    fn request_registration_token(&self) -> Result<String, ForgeError> {
        let answer = self.http.send(Method::POST, "/registration-token", None)?;
        let token = answer.body.get("token").and_then(Value::as_str).filter(|token| !token.is_empty());
        match (answer.status, token) {
            (200..=299, Some(token)) => Ok(token.to_owned()),
            _ => Err(self.http.unexpected_answer(&answer)),
        }
    }

    /// The file `.runner`, by which a runner knows its registration.
    fn runner_file(&self, name: &str, runner: &Value, id: &str) -> Option<String> {
        let text = |field: &str| runner.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        // Jobs run in the VM itself.
        let labels: Vec<String> = self.labels.iter().map(|label| format!("{label}:host")).collect();
        let file = json!({
            "id": id.parse::<u64>().ok()?,
            "uuid": text("uuid")?,
            "name": name,
            "token": text("token")?,
            "address": self.guest_url,
            "labels": labels,
            "ephemeral": true,
        });
        Some(file.to_string())
    }
}

impl Forge for GiteaForge {
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError> {
        read_all_pages(|page| {
            let answer = self.http.send(Method::GET, &format!("?limit={PER_PAGE}&page={page}"), None)?;
            let total = answer.body.get("total_count").and_then(Value::as_u64);
            let total = total.and_then(|total| usize::try_from(total).ok()).or(answer.total);
            // A list without elements can be null.
            let list = answer.body.get("runners").filter(|_| answer.status == 200);
            let read = list.and_then(|list| ListPage::from_json(list, total));
            read.ok_or_else(|| self.http.unexpected_answer(&answer))
        })
    }

    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError> {
        let token = self.request_registration_token()?;
        let body = json!({
            "name": name,
            "token": token,
            "version": concat!("foundry ", env!("CARGO_PKG_VERSION")),
            "labels": self.labels,
            "ephemeral": true,
        });
        let answer = self.http.call_runner_service("Register", &body, &token)?;
        let runner = answer.body.get("runner").filter(|_| answer.status == 200);
        let id = runner.and_then(|runner| runner.get("id")).and_then(id_text);
        let (Some(runner), Some(id)) = (runner, id) else {
            return Err(self.http.unexpected_answer(&answer));
        };
        // An older server takes the wish for one job as if it were not there.
        if runner.get("ephemeral") != Some(&Value::Bool(true)) {
            self.http.remove_runner(&id, false)?;
            return Err(refused_error(format!("{}: runners for one job need {NEEDED}", answer.said)));
        }
        let configuration = self.runner_file(name, runner, &id);
        let configuration =
            configuration.ok_or_else(|| unreachable_error(format!("{}: this is no runner", answer.said)))?;
        Ok(RegisteredRunner { id, configuration })
    }

    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError> {
        self.http.remove_runner(id, true)
    }
}
