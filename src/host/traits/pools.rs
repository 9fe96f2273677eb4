//! Storage pools.

use crate::{Pool, Result};

/// Storage pools.
pub trait Pools: Send + Sync {
    /// All pools.
    fn pools(&self) -> Result<Vec<Pool>>;
    /// The pool of that name.
    fn pool(&self, name: &str) -> Result<Option<Pool>>;
    /// Defines a pool, without creating its target or starting it.
    fn define_pool(&self, xml: &str) -> Result<()>;
    /// Creates the pool's target, for example a missing directory.
    fn build_pool(&self, name: &str) -> Result<()>;
    /// Starts a pool, which lists its volumes.
    fn start_pool(&self, name: &str) -> Result<()>;
    /// Stops a pool; its volumes are kept.
    fn stop_pool(&self, name: &str) -> Result<()>;
    /// Sets whether the pool starts with the host.
    fn set_pool_autostart(&self, name: &str, on: bool) -> Result<()>;
    /// Rescans a pool's volumes.
    fn refresh_pool(&self, name: &str) -> Result<()>;
    /// Deletes the directory of a stopped pool. Refused if it is not empty.
    fn remove_pool_directory(&self, name: &str) -> Result<()>;
    /// Removes the definition of a stopped pool; its volumes are kept.
    fn undefine_pool(&self, name: &str) -> Result<()>;
}
