//! Calls to the API of a forge: JSON over HTTP, with a login.

use std::io::Read as _;
use std::time::Duration;

use foundry_runner::ForgeError;
use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, RequestExt as _};

use crate::{MAX_ANSWER, quote_foreign, refused_error, unreachable_error};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a call may take as a whole.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Sends calls to one server.
#[derive(Debug, Clone)]
pub(crate) struct ForgeHttp {
    agent: Agent,
    server: String,
    /// Headers of all calls.
    headers: &'static [(&'static str, &'static str)],
}

/// A call. Its `Debug` would show the login, so it has none.
pub(crate) struct ForgeCall<'a> {
    pub(crate) method: Method,
    /// Below the server's URL.
    pub(crate) path: &'a str,
    /// The scheme of the login: `Bearer` or `token`; empty if the secret is in the body.
    pub(crate) scheme: &'static str,
    /// The secret of the login.
    pub(crate) secret: &'a str,
    pub(crate) body: Option<&'a Value>,
}

/// An answer of the server, whatever it says.
#[derive(Debug)]
pub(crate) struct ForgeAnswer {
    pub(crate) status: u16,
    /// JSON, or null if the body is something else.
    pub(crate) body: Value,
    /// Whether the body is JSON: null can be an empty list, and a page of a proxy is none.
    pub(crate) is_json: bool,
    /// How many there are of what is listed (`X-Total-Count`).
    pub(crate) total: Option<usize>,
    /// The server's time, in seconds since 1970.
    pub(crate) date: Option<i64>,
    /// Whether the server has had too many calls.
    is_limited: bool,
    /// What was asked and what the server said, for messages: escaped, without the login.
    pub(crate) said: String,
}

impl ForgeHttp {
    pub(crate) fn new(server: &str, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self::with_limit(server, headers, CALL_WITHIN)
    }

    fn with_limit(
        server: &str,
        headers: &'static [(&'static str, &'static str)],
        call_within: Duration,
    ) -> Self {
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("foundry/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            // A token is sent to no other server.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_global(Some(call_within))
            .build();
        Self { agent: config.into(), server: server.to_owned(), headers }
    }

    /// Sends a call.
    ///
    /// # Errors
    /// If there is no whole answer.
    pub(crate) fn send(&self, call: &ForgeCall<'_>) -> Result<ForgeAnswer, ForgeError> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.server, call.path))
            .header("Content-Type", "application/json");
        if !call.scheme.is_empty() {
            request = request.header("Authorization", format!("{} {}", call.scheme, call.secret));
        }
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(call.body.map(Value::to_string).unwrap_or_default())
            .map_err(|_| refused_error(format!("{} cannot be called: {}", self.server, call.path)))?;
        let sent = request.with_agent(&self.agent).configure().allow_non_standard_methods(true).run();
        let response = sent
            .map_err(|e| unreachable_error(format!("{}: {}", self.server, quote_foreign(&e.to_string()))))?;
        self.read(call, response)
    }

    fn read(&self, call: &ForgeCall<'_>, mut response: Response<Body>) -> Result<ForgeAnswer, ForgeError> {
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        let read = response.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut bytes);
        read.map_err(|e| unreachable_error(format!("{}: the answer broke off: {e}", self.server)))?;
        // Some answers have no body, and a proxy may answer with a page.
        let read = serde_json::from_slice(&bytes);
        let (body, is_json) = read.map_or((Value::Null, false), |body: Value| (body, true));
        let message =
            hide_secret(body.get("message").and_then(Value::as_str).unwrap_or_default(), call.secret);
        let path = call.path.split('?').next().unwrap_or_default();
        let said = format!("{}: {} {path}: {status} {}", self.server, call.method, quote_foreign(&message));
        let headers = response.headers();
        Ok(ForgeAnswer {
            status,
            date: text_of(headers, "date").and_then(read_date),
            total: text_of(headers, "x-total-count").and_then(|text| text.parse().ok()),
            is_limited: text_of(headers, "x-ratelimit-remaining") == Some("0")
                || headers.contains_key("retry-after"),
            said: said.trim_end().to_owned(),
            body,
            is_json,
        })
    }
}

impl ForgeAnswer {
    /// Passes on what the caller has to look at, and makes errors of the rest.
    ///
    /// # Errors
    /// If the server refuses this caller, or is overloaded or broken.
    pub(crate) fn judge(self) -> Result<Self, ForgeError> {
        match self.status {
            200..=299 | 404 | 409 | 422 => Ok(self),
            401 => Err(refused_error(self.said)),
            403 if !self.is_limited => Err(refused_error(self.said)),
            300..=399 => Err(refused_error(format!("{}: it has moved; correct the URL", self.said))),
            _ => Err(unreachable_error(self.said)),
        }
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Reads a `Date` header (RFC 9110, 5.6.7: its preferred form is one of RFC 2822).
fn read_date(text: &str) -> Option<i64> {
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(text).ok().map(jiff::Timestamp::as_second)
}

/// A text of the server without the secret that it was sent: a debugging proxy repeats what it got.
fn hide_secret(text: &str, secret: &str) -> String {
    text.replace(secret, "[hidden]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(read_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for text in ["", "yesterday", "784111777"] {
            assert_eq!(read_date(text), None, "{text}");
        }
    }
    /// The error of a call to a server, and how long it took.
    fn failure(server: &str) -> (ForgeError, Duration) {
        let http = ForgeHttp::with_limit(server, &[], Duration::from_millis(300));
        let (scheme, secret) = ("Bearer", "a-secret");
        let begun = std::time::Instant::now();
        let error = http
            .send(&ForgeCall { method: Method::GET, path: "/x", scheme, secret, body: None })
            .unwrap_err();
        (error, begun.elapsed())
    }

    #[test]
    fn servers_that_say_nothing_are_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Connections are taken by the system, and nobody answers.
        let (hangs, took) = failure(&format!("http://{address}"));
        assert!(took < Duration::from_secs(10), "{took:?}");
        let (no_handshake, _) = failure(&format!("https://{address}"));
        drop(listener);
        let (refused, _) = failure(&format!("http://{address}"));
        for error in [hangs, no_handshake, refused] {
            assert_eq!(error.failure, foundry_runner::ForgeFailure::Unreachable, "{error}");
            assert!(error.message.starts_with("http") && !error.message.contains("a-secret"), "{error}");
        }
    }
}
