//! Calls to GitHub's REST API, with a token or as an App.

use std::sync::Arc;

use foundry_runner::{ForgeError, GithubLogin, GithubPlan};
use serde_json::Value;
use ureq::http::Method;

use crate::forge_http::{ForgeAnswer, ForgeCall, ForgeHttp};
use crate::github_app::AppTokens;
use crate::secret_file::read_token;

/// What GitHub wants to see. The version of the API is that of GitHub's page "API Versions".
const HEADERS: &[(&str, &str)] =
    &[("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", "2022-11-28")];

/// Sends calls to one server.
#[derive(Debug, Clone)]
pub(crate) struct GithubHttp {
    http: ForgeHttp,
    source: TokenSource,
}

/// Where the tokens come from.
#[derive(Debug, Clone)]
enum TokenSource {
    /// A file, read for each call: whoever changes it need not restart anything.
    File(String),
    /// GitHub, for an App.
    App(Arc<AppTokens>),
}

impl GithubHttp {
    pub(crate) fn new(plan: &GithubPlan) -> Self {
        let http = ForgeHttp::new(&plan.api, HEADERS);
        let source = match &plan.login {
            GithubLogin::TokenFile(file) => TokenSource::File(file.clone()),
            GithubLogin::App(app) => TokenSource::App(Arc::new(AppTokens::new(&http, &plan.scope, app))),
        };
        Self { http, source }
    }

    /// Sends a call. A token of an App that GitHub does not take any more is replaced once.
    ///
    /// # Errors
    /// If there is no whole answer, or the server refuses this caller, or is overloaded.
    pub(crate) fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ForgeAnswer, ForgeError> {
        let call = |secret: &str| {
            self.http.send(&ForgeCall { method: method.clone(), path, scheme: "Bearer", secret, body })
        };
        match &self.source {
            TokenSource::File(file) => call(&read_token(file)?)?.judge(),
            TokenSource::App(tokens) => {
                let token = tokens.get_token()?;
                let answer = call(&token)?;
                if answer.status != 401 {
                    return answer.judge();
                }
                tokens.drop_token(&token);
                call(&tokens.get_token()?)?.judge()
            }
        }
    }
}
