//! Names a volume.

use std::fmt;

/// A volume: its pool, and its name in it.
///
/// Printed, it is part of a sentence: `volume 'web_boot' in pool 'foundry-vms'`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeRef {
    /// The pool.
    pub pool: String,
    /// The name in the pool.
    pub name: String,
}

impl VolumeRef {
    /// The volume of that name in that pool.
    pub fn new(pool: impl Into<String>, name: impl Into<String>) -> Self {
        Self { pool: pool.into(), name: name.into() }
    }

    /// Another volume of the same pool.
    #[must_use]
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self::new(self.pool.clone(), name)
    }

    /// As a command takes it: `POOL/NAME`.
    pub fn to_argument(&self) -> String {
        format!("{}/{}", self.pool, self.name)
    }
}

impl fmt::Display for VolumeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "volume '{}' in pool '{}'", self.name, self.pool)
    }
}
