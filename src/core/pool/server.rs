//! Storage servers, and libvirt's login there.

use uuid::Uuid;

/// A machine that serves storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port; `None` is the protocol's own.
    pub port: Option<u16>,
}

/// As whom storage of another machine is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolAuth {
    /// The user's name there.
    pub user: String,
    /// Where libvirt finds the secret.
    pub secret: Secret,
}

/// How a secret that libvirt keeps is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// By its UUID.
    Uuid(Uuid),
    /// By what it is for (libvirt's `usage`).
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
