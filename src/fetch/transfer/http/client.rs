//! Sends one request.

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

/// The most redirections that are followed.
const REDIRECTS: u32 = 10;

/// How patient a client is.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// For a name to be resolved, and again for a connection.
    pub connect_timeout: Duration,
    /// For a server to answer, and for the next byte of what it sends.
    pub stall_timeout: Duration,
    /// How often a try is repeated. Each MiB that comes earns the same number again.
    pub retries: u32,
    /// The wait before the first repetition; each further one takes twice as long.
    pub backoff: Duration,
    /// The longest wait, also one that a server asks for (`Retry-After`); one that asks for more is given up.
    pub longest_wait: Duration,
    /// The proxies.
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

/// Makes requests. The certificates that it trusts are the machine's own. A clone shares its connections.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    /// For where servers lead to: it connects to nothing that only this machine reaches.
    far: Agent,
    settings: Arc<HttpSettings>,
}

/// A request.
#[derive(Debug)]
pub(super) struct HttpRequest {
    pub(super) head_only: bool,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
}

/// An answer, as far as its body.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Where redirections ended.
    pub(super) found_at: Url,
}

/// Why a try failed, and whether another one may do.
#[derive(Debug)]
pub(super) struct RequestFailure {
    pub(super) error: TransferError,
    /// That a repetition may help: `Never`, or after a time that the server asked for.
    pub(super) retry: Retry,
    /// The address that it is the failure of, which redirections may have led to.
    pub(super) at: Option<Box<Url>>,
}

/// Whether a try is worth another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail the same way.
    Never,
    /// Only where bytes have come before: then the server was there, and will be again.
    IfBegun,
    /// After the usual wait, but not often unless bytes have come before: it hardly gets better soon.
    Seldom,
    /// After the usual wait.
    Soon,
    /// Not before that time.
    After(Duration),
}

impl Client {
    /// Makes one. Nothing is connected yet.
    pub fn new(settings: HttpSettings) -> Self {
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .user_agent(concat!("foundry/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
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

    /// Asks and waits for the beginning of the answer, through all redirections.
    pub(super) fn send_request(
        &self,
        request: &HttpRequest,
    ) -> Result<(ResponseHead, BodyReader<'static>), RequestFailure> {
        let mut url = request.url.clone();
        let mut from: Option<Url> = None;
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

    /// Asks at one address, to which another one may have led, and which may lead to another one.
    fn request_once(
        &self,
        url: &Url,
        from: Option<&Url>,
        request: &HttpRequest,
    ) -> Result<Response<Body>, RequestFailure> {
        let uri = url.uri().clone();
        // A proxy looks the name up where it is, and may itself be on this machine.
        let proxy = self.settings.proxies.for_url(url).filter(|proxy| !proxy.is_no_proxy(&uri));
        let is_led = proxy.is_none() && from.is_some_and(|from| !from.may_redirect_locally(url));
        let agent = if is_led { &self.far } else { &self.agent };
        let mut builder = if request.head_only { agent.head(uri) } else { agent.get(uri) };
        // The bytes of the file itself are wanted, as their checksum is.
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
                (Reason::Unreachable, "no name server answers for its host's name".into(), Retry::Seldom)
            }
            E::Timeout(_) => (Reason::Unreachable, self.timeout_text(), Retry::Soon),
            E::HostNotFound => (Reason::Unreachable, "its host's name is not known".into(), Retry::IfBegun),
            E::Io(io) if is_refusal(io) => (Reason::Unreachable, describe_io_error(io), Retry::IfBegun),
            E::Io(io) if is_lookup(io) => (Reason::Unreachable, io.to_string(), Retry::Seldom),
            E::Io(io) if is_tls(io) => {
                return RequestFailure::without_retry(certificate_error(url, io.to_string())).for_url(url);
            }
            E::Io(io) => (Reason::Unreachable, describe_io_error(io), Retry::Soon),
            E::ConnectionFailed => (Reason::Unreachable, error.to_string(), Retry::IfBegun),
            E::ConnectProxyFailed(_) => (Reason::Unreachable, error.to_string(), Retry::IfBegun),
            // Who speaks no HTTP now speaks none in a second.
            E::Protocol(_) => (Reason::Answer, error.to_string(), Retry::IfBegun),
            E::Tls(_) | E::Rustls(_) => {
                return RequestFailure::without_retry(certificate_error(url, error.to_string())).for_url(url);
            }
            other => (Reason::Answer, other.to_string(), Retry::Never),
        };
        RequestFailure { error: failed(reason, cause), retry, at: Some(Box::new(url.clone())) }
    }

    /// A connection that broke while the content came.
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
        format!("nothing came for {} s", self.settings.stall_timeout.as_secs_f32())
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

/// Where a redirection leads (RFC 9110, 15.4). The library would follow any, and log in as the server says.
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
        .hint("the certificate must be one that this machine trusts (package ca-certificates, SSL_CERT_FILE)")
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    )
}

/// The standard library has no kind for getaddrinfo(3)'s own errors.
fn is_lookup(error: &io::Error) -> bool {
    error.to_string().contains("failed to lookup address information")
}

/// rustls reports what it does not like as invalid data.
fn is_tls(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
        || error.get_ref().and_then(|e| e.source()).is_some_and(|e| e.to_string().contains("certificate"))
}
