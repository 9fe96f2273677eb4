//! Storage servers, and the login that libvirt uses there.

use uuid::Uuid;

/// A server of storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Host name or IP address.
    pub host: String,
    /// Port; `None` is the protocol's default.
    pub port: Option<u16>,
}

/// The login at a storage server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAuth {
    /// User name on the server.
    pub user: String,
    /// Reference to the secret, which libvirt stores.
    pub secret: Secret,
}

/// A reference to a libvirt secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// By its UUID.
    Uuid(Uuid),
    /// By its usage (libvirt's `usage`).
    Usage(String),
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.port, self.host.contains(':')) {
            (None, _) => f.write_str(&self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
        }
    }
}
