//! Listens: on an address for webhooks, health and metrics, and on a unix socket for everything.
//!
//! A thread of its own runs the connections. Each has bounds: the size of its headers, the time for them, its whole time,
//! and how many there are.

use std::net::{SocketAddr, TcpListener as BoundTcp};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as BoundUnix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};

use crate::api::{admin_router, guarded_router, public_router};
use crate::shared::ListenerState;
use crate::token::ApiToken;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long a head may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may last. A browser that watches connects again.
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// The most connections at a time.
const MAX_CONNECTIONS: usize = 64;

/// Where to listen.
#[derive(Debug, Default)]
pub struct ListenerPlan {
    /// The address for webhooks, health and metrics; with a token for the API, too.
    pub address: Option<SocketAddr>,
    /// The socket for everything. Its file's rights decide who may use it.
    pub socket: Option<PathBuf>,
    /// The token of the API at the address.
    pub token: Option<ApiToken>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub struct Listener {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
    socket: Option<PathBuf>,
}

impl Listener {
    /// Binds, and begins to answer.
    ///
    /// # Errors
    /// [`Code::ListenerUnusable`] if an address or the socket cannot be used.
    pub fn start(plan: ListenerPlan, shared: &Arc<ListenerState>) -> Result<Self, Error> {
        let failed = |what: String, e: &std::io::Error| {
            Error::new(Code::ListenerUnusable, format!("cannot listen on {what}"))
                .because(describe_io_error(e))
        };
        let tcp = plan.address.map(bind_tcp).transpose();
        let tcp = tcp.map_err(|e| failed(plan.address.map(|a| a.to_string()).unwrap_or_default(), &e))?;
        let unix = plan.socket.as_deref().map(bind_unix).transpose();
        let unix = unix.map_err(|e| {
            failed(plan.socket.as_ref().map(|p| p.display().to_string()).unwrap_or_default(), &e)
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| failed("any address".to_owned(), &e))?;
        let address = tcp.as_ref().and_then(|bound| bound.local_addr().ok());
        let (stop, stopped) = oneshot::channel();
        let (token, state) = (plan.token, Arc::clone(shared));
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let at_address = match token {
                    Some(token) => public_router(&state).merge(guarded_router(&state, token)),
                    None => public_router(&state),
                };
                // Strangers at the address do not keep the socket's users out.
                let free = || Arc::new(Semaphore::new(MAX_CONNECTIONS));
                if let Some(listener) = tcp.and_then(|bound| TcpListener::from_std(bound).ok()) {
                    tokio::spawn(accept_tcp(listener, at_address, free()));
                }
                if let Some(listener) = unix.and_then(|bound| UnixListener::from_std(bound).ok()) {
                    let everything = public_router(&state).merge(admin_router(&state));
                    tokio::spawn(accept_unix(listener, everything, free()));
                }
                // It ends when the handle is dropped.
                let _ = stopped.await;
            });
            // A write to the database is finished; connections are cut.
            runtime.shutdown_timeout(Duration::from_secs(5));
        });
        Ok(Self { stop: Some(stop), thread: Some(thread), address, socket: plan.socket })
    }

    /// The address, with the port that the system chose for 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<BoundTcp> {
    let bound = BoundTcp::bind(address)?;
    bound.set_nonblocking(true)?;
    Ok(bound)
}

/// Binds a socket that its owner and group may use. One that a killed controller left is taken over; one that answers is
/// somebody's.
fn bind_unix(path: &Path) -> std::io::Result<BoundUnix> {
    use std::os::unix::fs::FileTypeExt as _;
    if let Ok(found) = std::fs::symlink_metadata(path) {
        let is_left = found.file_type().is_socket() && std::os::unix::net::UnixStream::connect(path).is_err();
        if !is_left {
            return Err(std::io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let bound = BoundUnix::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    bound.set_nonblocking(true)?;
    Ok(bound)
}

async fn accept_tcp(listener: TcpListener, app: Router, free: Arc<Semaphore>) {
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let app = app.clone();
                tokio::spawn(async move {
                    serve_connection(stream, app).await;
                    drop(permit);
                });
            }
            // No file descriptors, or a peer that went away.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, app: Router, free: Arc<Semaphore>) {
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let app = app.clone();
                tokio::spawn(async move {
                    serve_connection(stream, app).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, app: Router) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    // What a peer does wrong is its own matter.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}
