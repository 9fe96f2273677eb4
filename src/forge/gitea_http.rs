//! Calls to the REST API of Forgejo and Gitea, which is nearly the same.

use foundry_runner::{ForgeError, GiteaPlan, Removal};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::forge_http::{ForgeAnswer, ForgeCall, ForgeHttp};
use crate::listed::id_text;
use crate::secret_file::read_token;
use crate::{refused_error, unreachable_error};

const HEADERS: &[(&str, &str)] = &[("Accept", "application/json")];

/// Sends calls to one server.
#[derive(Debug, Clone)]
pub(crate) struct GiteaHttp {
    http: ForgeHttp,
    token_file: String,
    /// Path of the runners in the API.
    runners: String,
    /// The first version that can do all this.
    needed: &'static str,
}

impl GiteaHttp {
    pub(crate) fn new(plan: &GiteaPlan, needed: &'static str) -> Self {
        Self {
            http: ForgeHttp::new(&plan.url, HEADERS),
            token_file: plan.token_file.clone(),
            runners: format!("/api/v1{}/actions/runners", plan.scope.api_path()),
            needed,
        }
    }

    /// Sends a call about runners, to a path below theirs.
    ///
    /// # Errors
    /// If there is no whole answer, or the server refuses this caller, or is overloaded or broken.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ForgeAnswer, ForgeError> {
        self.send_raw(method, path, body)?.judge()
    }

    fn send_raw(&self, method: Method, path: &str, body: Option<&Value>) -> Result<ForgeAnswer, ForgeError> {
        let secret = read_token(&self.token_file)?;
        let path = format!("{}{path}", self.runners);
        self.http.send(&ForgeCall { method, path: &path, scheme: "token", secret: &secret, body })
    }

    /// Calls the service that runners themselves call (the Connect protocol, with JSON). The secret is in the body.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub(crate) fn call_runner_service(
        &self,
        procedure: &str,
        body: &Value,
        secret: &str,
    ) -> Result<ForgeAnswer, ForgeError> {
        let path = format!("/api/actions/runner.v1.RunnerService/{procedure}");
        let call = ForgeCall { method: Method::POST, path: &path, scheme: "", secret, body: Some(body) };
        self.http.send(&call)?.judge()
    }

    /// Asks for one runner; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`Self::send`], and an answer that is no runner.
    pub(crate) fn get_runner(&self, id: &str) -> Result<Option<Value>, ForgeError> {
        let answer = self.send(Method::GET, &format!("/{id}"), None)?;
        let is_it = answer.body.get("id").and_then(id_text).as_deref() == Some(id);
        match answer.status {
            // A proxy's "not found" says nothing of a runner.
            404 if answer.is_json => Ok(None),
            200 if is_it => Ok(Some(answer.body)),
            _ => Err(self.unexpected_answer(&answer)),
        }
    }

    /// Removes a runner that does not work. Neither server refuses to remove one that does, which would end its job; so
    /// it is asked first. Gitea can keep jobs away from a runner meanwhile.
    ///
    /// # Errors
    /// Those of [`Self::send`], and if the server did not say what it did.
    pub(crate) fn remove_runner(&self, id: &str, can_be_disabled: bool) -> Result<Removal, ForgeError> {
        match self.get_runner(id)? {
            None => return Ok(Removal::Removed),
            Some(runner) if works(&runner) => return Ok(Removal::Busy),
            Some(_) => {}
        }
        // Servers that know no such call answer with 404 or 405.
        let is_disabled = can_be_disabled && matches!(self.set_disabled(id, true)?.status, 200..=299);
        let removed = if is_disabled { self.remove_disabled(id) } else { self.delete_runner(id) };
        if is_disabled && !matches!(removed, Ok(Removal::Removed)) {
            // It goes on with its job, or is removed later.
            self.set_disabled(id, false)?;
        }
        removed
    }

    fn remove_disabled(&self, id: &str) -> Result<Removal, ForgeError> {
        match self.get_runner(id)? {
            None => Ok(Removal::Removed),
            // A job came before it was disabled.
            Some(runner) if works(&runner) => Ok(Removal::Busy),
            Some(_) => self.delete_runner(id),
        }
    }

    fn set_disabled(&self, id: &str, is_disabled: bool) -> Result<ForgeAnswer, ForgeError> {
        let body = json!({"disabled": is_disabled});
        let answer = self.send_raw(Method::PATCH, &format!("/{id}"), Some(&body))?;
        if answer.status == 405 { Ok(answer) } else { answer.judge() }
    }

    /// The error of an answer that is not the expected one.
    pub(crate) fn unexpected_answer(&self, answer: &ForgeAnswer) -> ForgeError {
        let said = &answer.said;
        match answer.status {
            // What this token may not see is said not to exist.
            404 => refused_error(format!(
                "{said}: url or scope is wrong, the token may not manage runners there, or the server is older than {}",
                self.needed
            )),
            409 | 422 => refused_error(said.clone()),
            _ => unreachable_error(format!("{said}: the answer cannot be read")),
        }
    }

    fn delete_runner(&self, id: &str) -> Result<Removal, ForgeError> {
        let answer = self.send_raw(Method::DELETE, &format!("/{id}"), None)?;
        match answer.status {
            204 | 404 => Ok(Removal::Removed),
            // Some versions answer so if there is no such runner.
            500 if self.get_runner(id)?.is_none() => Ok(Removal::Removed),
            _ => {
                let said = answer.said.clone();
                answer.judge()?;
                Err(unreachable_error(said))
            }
        }
    }
}

/// Whether a runner works on a job: Forgejo has a status for that, Gitea a field.
fn works(runner: &Value) -> bool {
    runner.get("busy") == Some(&Value::Bool(true))
        || runner.get("status").and_then(Value::as_str) == Some("active")
}
