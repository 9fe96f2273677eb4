//! Tokens of a GitHub App (GitHub's page "Authenticating as a GitHub App installation").

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foundry_runner::{ForgeError, GithubApp, GithubScope};
use jiff::Timestamp;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::app_jwt::{read_rsa_key, sign_app_jwt};
use crate::forge_http::{ForgeAnswer, ForgeCall, ForgeHttp};
use crate::secret_file::read_secret_file;
use crate::{refused_error, unreachable_error};

/// How long before its end a token is replaced, in seconds.
const RENEWED_BEFORE: i64 = 300;
/// How far the server's clock may be from this machine's before the server's is used, in seconds.
const CLOCKS_AGREE: i64 = 30;

/// Gets tokens for one installation of an App, and keeps the present one. It can manage runners of the scope and do
/// nothing else.
pub(crate) struct AppTokens {
    http: ForgeHttp,
    app: GithubApp,
    scope: GithubScope,
    kept: Mutex<KeptToken>,
}

/// What is kept between calls.
#[derive(Default)]
struct KeptToken {
    /// The token, and when it ends by the server's clock.
    token: Option<(String, i64)>,
    /// The installation that was found.
    installation: Option<u64>,
    /// How far the server's clock is ahead, in seconds. GitHub refuses a token that is dated in its future, and one that
    /// is good for too long; so if its `Date` header differs by more than 30 s from this machine's clock, tokens are
    /// dated by that.
    ahead: i64,
}

/// Without the token.
impl fmt::Debug for AppTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppTokens")
            .field("app", &self.app)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl AppTokens {
    pub(crate) fn new(http: &ForgeHttp, scope: &GithubScope, app: &GithubApp) -> Self {
        Self { http: http.clone(), app: app.clone(), scope: scope.clone(), kept: Mutex::default() }
    }

    /// Returns a token that is good for minutes.
    ///
    /// # Errors
    /// If GitHub gives none, or the private key cannot be used.
    pub(crate) fn get_token(&self) -> Result<String, ForgeError> {
        let mut kept = self.lock();
        if let Some((token, _)) =
            kept.token.as_ref().filter(|(_, ends)| server_now(&kept) + RENEWED_BEFORE < *ends)
        {
            return Ok(token.clone());
        }
        kept.token = None;
        let (token, ends) = self.request_token(&mut kept)?;
        kept.token = Some((token.clone(), ends));
        Ok(token)
    }

    /// Forgets a token that GitHub refuses.
    pub(crate) fn drop_token(&self, refused: &str) {
        let mut kept = self.lock();
        if kept.token.as_ref().is_some_and(|(token, _)| token == refused) {
            kept.token = None;
        }
    }

    /// A panic of another holder leaves nothing half changed.
    fn lock(&self) -> MutexGuard<'_, KeptToken> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request_token(&self, kept: &mut KeptToken) -> Result<(String, i64), ForgeError> {
        let known = self.app.installation.or(kept.installation);
        let installation = known.map_or_else(|| self.find_installation(kept), Ok)?;
        let mut answer = self.request_from(kept, installation)?;
        // The App was installed anew, and has another number.
        if answer.status == 404 && self.app.installation.is_none() && known.is_some() {
            let found = self.find_installation(kept)?;
            answer = self.request_from(kept, found)?;
        }
        let token = answer.body.get("token").and_then(Value::as_str);
        let ends = answer.body.get("expires_at").and_then(Value::as_str);
        let ends = ends.and_then(|text| text.parse::<Timestamp>().ok()).map(Timestamp::as_second);
        match (answer.status, token, ends) {
            (201, Some(token), Some(ends)) if is_token(token) => Ok((token.to_owned(), ends)),
            (201, ..) => Err(unreachable_error(format!("{}: this is no token", answer.said))),
            (404, ..) => Err(refused_error(format!("{}: the App has no such installation", answer.said))),
            (422, ..) => {
                let why = "the App may not manage runners there, or is not installed in that repository";
                Err(refused_error(format!("{}: {why}", answer.said)))
            }
            _ => Err(unreachable_error(answer.said)),
        }
    }

    fn request_from(&self, kept: &mut KeptToken, installation: u64) -> Result<ForgeAnswer, ForgeError> {
        let path = format!("/app/installations/{installation}/access_tokens");
        self.call_as_app(kept, Method::POST, &path, Some(&token_request(&self.scope)))
    }

    fn find_installation(&self, kept: &mut KeptToken) -> Result<u64, ForgeError> {
        kept.installation = None;
        let path = format!("{}/installation", self.scope.api_path());
        let answer = self.call_as_app(kept, Method::GET, &path, None)?;
        if answer.status == 404 {
            return Err(refused_error(format!("{}: the App is not installed there", answer.said)));
        }
        if answer.body.get("suspended_at").is_some_and(|at| !at.is_null()) {
            return Err(refused_error(format!("{}: the App's installation is suspended", answer.said)));
        }
        let found = answer.body.get("id").and_then(Value::as_u64).filter(|_| answer.status == 200);
        let found =
            found.ok_or_else(|| unreachable_error(format!("{}: this is no installation", answer.said)))?;
        kept.installation = Some(found);
        Ok(found)
    }

    /// Calls as the App itself. If GitHub refuses a token because the clocks differ, its own time is used, once.
    fn call_as_app(
        &self,
        kept: &mut KeptToken,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ForgeAnswer, ForgeError> {
        // Read each time, like a token's file: a key that is replaced needs no restart.
        let unfit = |why: String| refused_error(format!("{} {why}", self.app.private_key_file));
        let key = read_rsa_key(&read_secret_file(&self.app.private_key_file).map_err(refused_error)?)
            .map_err(unfit)?;
        let send = |kept: &mut KeptToken| {
            let jwt = sign_app_jwt(&key, &self.app.id, server_now(kept)).map_err(unfit)?;
            let method = method.clone();
            let call = ForgeCall { method, path, scheme: "Bearer", secret: &jwt, body };
            let answer = self.http.send(&call)?;
            let before = kept.ahead;
            if let Some(date) = answer.date {
                kept.ahead = clock_difference(date, local_now());
            }
            Ok::<_, ForgeError>((answer, kept.ahead != before))
        };
        let (answer, has_learned) = send(kept)?;
        let answer = if answer.status == 401 && has_learned { send(kept)?.0 } else { answer };
        if answer.status == 401 {
            let why = "the App's id or private key is wrong";
            return Err(refused_error(format!("{}: {why}", answer.said)));
        }
        answer.judge()
    }
}

/// What a token is asked for: no more than to manage the runners of the scope.
fn token_request(scope: &GithubScope) -> Value {
    match scope {
        GithubScope::Organization(_) => json!({"permissions": {"organization_self_hosted_runners": "write"}}),
        GithubScope::Repository(_, name) => {
            json!({"permissions": {"administration": "write"}, "repositories": [name]})
        }
        // GitHub does not say by which name a permission for an enterprise could be asked for.
        GithubScope::Enterprise(_) => json!({}),
    }
}

/// Whether a text can be a token: it becomes a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())
}

fn local_now() -> i64 {
    Timestamp::now().as_second()
}

fn server_now(kept: &KeptToken) -> i64 {
    local_now().saturating_add(kept.ahead)
}

/// How far the server's clock is ahead, if that matters.
fn clock_difference(server: i64, local: i64) -> i64 {
    let ahead = server.saturating_sub(local);
    if ahead.abs() > CLOCKS_AGREE { ahead } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_differences_of_clocks_do_not_count() {
        assert_eq!(
            [0, 30, -30, 31, -600].map(|ahead| clock_difference(1000 + ahead, 1000)),
            [0, 0, 0, 31, -600]
        );
    }
}
