//! Calls to GitHub's REST API.

use std::io::Read;
use std::time::Duration;

use foundry_runner::{ForgeError, ForgeFailure};
use serde_json::Value;
use ureq::http::{Method, Request, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, RequestExt as _};

use crate::{MAX_ANSWER, quote_foreign, unreachable_error};

/// The version of the API (GitHub's page "API Versions").
const API_VERSION: &str = "2022-11-28";
/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a call may take as a whole.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Sends calls to one server.
#[derive(Debug, Clone)]
pub(crate) struct GithubHttp {
    agent: Agent,
    api: String,
    token_file: String,
}

/// An answer that is no failure of the transport.
pub(crate) struct GithubAnswer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl GithubHttp {
    pub(crate) fn new(api: &str, token_file: &str) -> Self {
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("foundry/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // A token is sent to no other server.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_global(Some(CALL_WITHIN))
            .build();
        Self { agent: config.into(), api: api.to_owned(), token_file: token_file.to_owned() }
    }

    /// Sends a call.
    ///
    /// # Errors
    /// If there is no whole answer, or the server refuses this caller, or is overloaded.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<GithubAnswer, ForgeError> {
        // Read for each call: whoever changes it need not restart anything.
        let token = read_token(&self.token_file)?;
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}", self.api))
            .header("Accept", "application/vnd.github+json")
            .header("X-GitHub-Api-Version", API_VERSION)
            .header("Authorization", format!("Bearer {token}"))
            .header("Content-Type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default())
            .map_err(|_| refused_error(format!("{} has no valid token", self.token_file)))?;
        let sent = request.with_agent(&self.agent).configure().allow_non_standard_methods(true).run();
        let response =
            sent.map_err(|e| unreachable_error(format!("{}: {}", self.api, quote_foreign(&e.to_string()))))?;
        self.judge(&method, path, response)
    }

    fn judge(
        &self,
        method: &Method,
        path: &str,
        mut response: Response<Body>,
    ) -> Result<GithubAnswer, ForgeError> {
        let status = response.status().as_u16();
        let is_limited = response.headers().get("x-ratelimit-remaining").is_some_and(|left| left == "0")
            || response.headers().contains_key("retry-after");
        let mut bytes = Vec::new();
        let read = response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut bytes);
        read.map_err(|e| unreachable_error(format!("{}: the answer broke off: {e}", self.api)))?;
        // Some answers have no body, and a proxy may answer with a page.
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
        let said = format!("{}: {method} {path}: {status} {}", self.api, quote_foreign(message));
        match status {
            200..=299 | 404 | 409 | 422 => Ok(GithubAnswer { status, body }),
            401 => Err(refused_error(said)),
            403 if !is_limited => Err(refused_error(said)),
            300..=399 => Err(refused_error(format!("{said}: it has moved; correct the URL"))),
            _ => Err(unreachable_error(said)),
        }
    }
}

pub(crate) fn refused_error(message: String) -> ForgeError {
    ForgeError { failure: ForgeFailure::Refused, message }
}

/// Reads a token: the first line of its file, which others must not be able to read.
fn read_token(file: &str) -> Result<String, ForgeError> {
    use std::os::unix::fs::MetadataExt as _;
    let read = || -> std::io::Result<(u32, String)> {
        let mut opened = std::fs::File::open(file)?;
        let mode = opened.metadata()?.mode();
        let mut text = String::new();
        (&mut opened).take(4096).read_to_string(&mut text)?;
        Ok((mode, text))
    };
    let (mode, text) = read().map_err(|e| refused_error(format!("cannot read {file}: {e}")))?;
    if mode & 0o077 != 0 {
        return Err(refused_error(format!("other users can read {file}; chmod 600 {file} ends that")));
    }
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
