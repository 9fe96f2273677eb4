//! Forgejo: runners for one job, registered by the server (Forgejo's page "Forgejo Runner Registration").

use foundry_runner::{Forge, ForgeError, ForgeFailure, GiteaPlan, RegisteredRunner, Registration, Removal};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::gitea_http::GiteaHttp;
use crate::listed::id_text;
use crate::paged_list::{ListPage, read_all_pages};

/// The first version with an API that registers runners.
const NEEDED: &str = "Forgejo 15";
/// Runners on a page of a list; the server can have a lower limit.
const PER_PAGE: usize = 50;

/// A server of Forgejo.
#[derive(Debug, Clone)]
pub struct ForgejoForge {
    http: GiteaHttp,
    /// URL by which guests reach the server.
    guest_url: String,
    labels: Vec<String>,
    owner_label: String,
}

impl ForgejoForge {
    /// The runners of a scope. `labels` are those of new ones. A new runner has no labels before it has connected, so
    /// `owner_label`, by which this controller knows its own, is its description.
    pub fn new(plan: &GiteaPlan, labels: &[String], owner_label: &str) -> Self {
        Self {
            http: GiteaHttp::new(plan, NEEDED),
            guest_url: plan.guest_url.clone(),
            labels: labels.to_vec(),
            owner_label: owner_label.to_owned(),
        }
    }

    /// The configuration of `forgejo-runner`, as JSON, which is YAML, too. It is good for one job.
    fn runner_configuration(&self, uuid: &str, token: &str) -> String {
        // Jobs run in the VM itself.
        let labels: Vec<String> = self.labels.iter().map(|label| format!("{label}:host")).collect();
        let connection = json!({"url": self.guest_url, "uuid": uuid, "token": token, "labels": labels});
        json!({"server": {"connections": {"forge": connection}}}).to_string()
    }
}

impl Forge for ForgejoForge {
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError> {
        read_all_pages(|page| {
            let answer = self.http.send(Method::GET, &format!("?limit={PER_PAGE}&page={page}"), None)?;
            let list = &answer.body;
            let is_list = answer.status == 200 && answer.is_json && (list.is_array() || list.is_null());
            let read = is_list.then(|| ListPage::from_json(list, answer.total)).flatten();
            read.ok_or_else(|| self.http.unexpected_answer(&answer))
        })
    }

    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError> {
        let body = json!({"name": name, "description": self.owner_label, "ephemeral": true});
        let answer = self.http.send(Method::POST, "", Some(&body))?;
        if answer.status == 409 {
            let message = format!("Forgejo has a runner named {name}");
            return Err(ForgeError { failure: ForgeFailure::NameTaken, message });
        }
        let text =
            |field: &str| answer.body.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (answer.status, answer.body.get("id").and_then(id_text), text("uuid"), text("token")) {
            (201, Some(id), Some(uuid), Some(token)) => {
                Ok(RegisteredRunner { id, configuration: self.runner_configuration(uuid, token) })
            }
            _ => Err(self.http.unexpected_answer(&answer)),
        }
    }

    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError> {
        self.http.remove_runner(id, false)
    }
}
