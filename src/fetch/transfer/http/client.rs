//! Sends one request and follows its redirects.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION};
use ureq::http::{HeaderMap, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, BodyReader};

use super::super::error::{Reason, TransferError};
use super::super::reference::percent_encoded;
use super::super::url::Url;
use super::proxy::Proxies;
use super::remote_resolver::{RemoteOnlyResolver, is_local_address};
use foundry_core::text::describe_io_error;

/// Maximum number of redirects that are followed.
const REDIRECTS: u32 = 10;

/// Timeouts, retries and proxies of a client.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Timeout for resolving a name, and again for connecting.
    pub connect_timeout: Duration,
    /// Timeout for the server's answer, and for each read of the content.
    pub stall_timeout: Duration,
    /// Number of retries. Each received MiB allows the same number again.
    pub retries: u32,
    /// Wait before the first retry; it doubles with each further one.
    pub backoff: Duration,
    /// Maximum wait, including one that the server requests (`Retry-After`). If it requests more, the download fails.
    pub longest_wait: Duration,
    /// Proxies for each scheme.
    pub proxies: Proxies,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            retries: 5,
            backoff: Duration::from_secs(1),
            longest_wait: Duration::from_secs(120),
            proxies: Proxies::default(),
        }
    }
}

/// Sends requests. It trusts the machine's certificates. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    /// Agent for redirects from other servers. It does not connect to addresses that only this machine can reach.
    far: Agent,
    settings: Arc<HttpSettings>,
}

/// A request for a file or for its headers.
#[derive(Debug)]
pub(super) struct HttpRequest {
    pub(super) head_only: bool,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// URL after all redirects.
    pub(super) found_at: Url,
}

/// Why an attempt failed, and whether to retry.
#[derive(Debug)]
pub(super) struct RequestFailure {
    pub(super) error: TransferError,
    /// Whether a retry may help, and after which time.
    pub(super) retry: Retry,
    /// The URL that failed, possibly after redirects.
    pub(super) at: Option<Box<Url>>,
}

/// Whether an attempt should be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// No: it would fail in the same way.
    Never,
    /// Only if data has been received before: then the server was reachable and will be again.
    IfBegun,
    /// After the usual wait, but only a few times unless data has been received before: the cause rarely goes away
    /// soon.
    Seldom,
    /// After the usual wait.
    Soon,
    /// Not before this time.
    After(Duration),
}

impl Client {
    /// Makes a client. It does not connect yet.
    pub fn new(settings: HttpSettings) -> Self {
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("foundry/", env!("CARGO_PKG_VERSION")))
            // The caller judges the status: 304, 416 and others are no failures.
            .http_status_as_error(false)
            // Redirects are followed here, by stricter rules (`redirect_target`). The proxy is set for each request.
            .max_redirects(0)
            .proxy(None)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_send_request(Some(settings.stall_timeout))
            .timeout_recv_response(Some(settings.stall_timeout))
            .timeout_per_read(Some(settings.stall_timeout))
            .build();
        let far =
            Agent::with_parts(config.clone(), DefaultConnector::default(), RemoteOnlyResolver::default());
        Self { agent: config.into(), far, settings: Arc::new(settings) }
    }

    pub(super) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// Sends a request and waits for the head of the response after all redirects.
    pub(super) fn send_request(
        &self,
        request: &HttpRequest,
    ) -> Result<(ResponseHead, BodyReader<'static>), RequestFailure> {
        let mut url = request.url.clone();
        let mut from: Option<Url> = None;
        // One request more than redirects.
        for _ in 0..=REDIRECTS {
            let answer = self.request_once(&url, from.as_ref(), request)?;
            let Some(next) = redirect_target(&url, &answer)? else {
                let (parts, body) = answer.into_parts();
                let head =
                    ResponseHead { status: parts.status.as_u16(), headers: parts.headers, found_at: url };
                return Ok((head, body.into_with_config().limit(u64::MAX).reader()));
            };
            from = Some(std::mem::replace(&mut url, next));
        }
        let error = TransferError::new(Reason::Answer, format!("cannot download {}", request.url));
        Err(RequestFailure::without_retry(error.because(format!("it redirects more than {REDIRECTS} times"))))
    }

    /// Sends a request to one URL; `from` is the URL that redirected there, if any.
    fn request_once(
        &self,
        url: &Url,
        from: Option<&Url>,
        request: &HttpRequest,
    ) -> Result<Response<Body>, RequestFailure> {
        let uri = url.uri().clone();
        // A proxy resolves the name itself, and may be on this machine.
        let proxy = self.settings.proxies.for_url(url).filter(|proxy| !proxy.is_no_proxy(&uri));
        let is_led = proxy.is_none() && from.is_some_and(|from| !from.may_redirect_locally(url));
        let agent = if is_led { &self.far } else { &self.agent };
        let mut builder = if request.head_only { agent.head(uri) } else { agent.get(uri) };
        // Request the file's own bytes, because the checksum is that of the file.
        builder = builder.header(ACCEPT_ENCODING, "identity");
        if let Some(authorization) = url.authorization() {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        builder.config().proxy(proxy).build().call().map_err(|e| match (from, &e) {
            (Some(from), ureq::Error::Io(io)) if is_local_address(io) => {
                RequestFailure::without_retry(local_redirect_error(from, url, io))
            }
            _ => self.classify_error(url, &e),
        })
    }

    fn classify_error(&self, url: &Url, error: &ureq::Error) -> RequestFailure {
        use ureq::Error as E;
        let failed = |reason, cause: String| {
            TransferError::new(reason, format!("cannot download {url}")).because(cause)
        };
        let (reason, cause, retry) = match error {
            E::Timeout(ureq::Timeout::Resolve) => {
                (Reason::Unreachable, "no name server answers for its host name".into(), Retry::Seldom)
            }
            E::Timeout(_) => (Reason::Unreachable, self.timeout_text(), Retry::Soon),
            E::HostNotFound => (Reason::Unreachable, "its host name is unknown".into(), Retry::IfBegun),
            E::Io(io) if is_refusal(io) => (Reason::Unreachable, describe_io_error(io), Retry::IfBegun),
            E::Io(io) if is_lookup(io) => (Reason::Unreachable, io.to_string(), Retry::Seldom),
            E::Io(io) if is_tls(io) => {
                return RequestFailure::without_retry(certificate_error(url, io.to_string())).for_url(url);
            }
            E::Io(io) => (Reason::Unreachable, describe_io_error(io), Retry::Soon),
            E::ConnectionFailed => (Reason::Unreachable, error.to_string(), Retry::IfBegun),
            E::ConnectProxyFailed(_) => (Reason::Unreachable, error.to_string(), Retry::IfBegun),
            // A server that does not speak HTTP will not do so after a wait either.
            E::Protocol(_) => (Reason::Answer, error.to_string(), Retry::IfBegun),
            E::Tls(_) | E::Rustls(_) => {
                return RequestFailure::without_retry(certificate_error(url, error.to_string())).for_url(url);
            }
            other => (Reason::Answer, other.to_string(), Retry::Never),
        };
        RequestFailure { error: failed(reason, cause), retry, at: Some(Box::new(url.clone())) }
    }

    /// Makes the failure for a connection that broke while the content was received.
    pub(super) fn broken_connection(&self, url: &Url, error: &io::Error) -> RequestFailure {
        let timeout = error.get_ref().and_then(|e| e.downcast_ref::<ureq::Error>());
        let cause = match timeout {
            Some(ureq::Error::Timeout(_)) => self.timeout_text(),
            _ if error.kind() == io::ErrorKind::TimedOut => self.timeout_text(),
            _ if error.kind() == io::ErrorKind::UnexpectedEof => "the connection was closed".into(),
            _ => describe_io_error(error),
        };
        let error = TransferError::new(Reason::Unreachable, format!("cannot download {url}")).because(cause);
        RequestFailure::with_retry(error).for_url(url)
    }

    fn timeout_text(&self) -> String {
        format!("no data was received for {} s", self.settings.stall_timeout.as_secs_f32())
    }
}

impl RequestFailure {
    pub(super) fn without_retry(error: TransferError) -> Self {
        Self { error, retry: Retry::Never, at: None }
    }

    pub(super) fn with_retry(error: TransferError) -> Self {
        Self { error, retry: Retry::Soon, at: None }
    }

    pub(super) fn for_url(mut self, url: &Url) -> Self {
        self.at = Some(Box::new(url.clone()));
        self
    }
}

impl From<TransferError> for RequestFailure {
    fn from(error: TransferError) -> Self {
        Self::without_retry(error)
    }
}

/// Returns the target of a redirect (RFC 9110, 15.4). The library would follow all redirects, and use a login from the
/// redirect.
fn redirect_target(url: &Url, answer: &Response<Body>) -> Result<Option<Url>, TransferError> {
    let location = answer.headers().get(LOCATION);
    match (answer.status().as_u16(), location) {
        (301 | 302 | 303 | 307 | 308, Some(location)) => {
            url.redirect_to(&percent_encoded(location.as_bytes())).map(Some)
        }
        _ => Ok(None),
    }
}

fn local_redirect_error(from: &Url, url: &Url, why: &io::Error) -> TransferError {
    TransferError::new(Reason::Refused, format!("cannot download {from}"))
        .because(format!("it redirects to {url}, whose name {why}"))
}

fn certificate_error(url: &Url, cause: String) -> TransferError {
    TransferError::new(Reason::Unreachable, format!("cannot download {url}"))
        .because(cause)
        .hint("the machine must trust the certificate (package ca-certificates, SSL_CERT_FILE)")
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}

/// Whether resolving the name failed. The standard library has no kind for the errors of getaddrinfo(3).
fn is_lookup(error: &io::Error) -> bool {
    error.to_string().contains("failed to lookup address information")
}

/// Whether TLS failed. rustls reports such errors as invalid data.
fn is_tls(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
        || error.get_ref().and_then(|e| e.source()).is_some_and(|e| e.to_string().contains("certificate"))
}
