//! Storage pools.

use crate::{Pool, Result};

/// Storage pools.
pub trait Pools: Send + Sync {
    /// All pools.
    fn pools(&self) -> Result<Vec<Pool>>;
    /// The pool of that name.
    fn pool(&self, name: &str) -> Result<Option<Pool>>;
    /// Defines a pool; neither makes its target nor starts it.
    fn define_pool(&self, xml: &str) -> Result<()>;
    /// Makes the pool's target, a missing directory for one.
    fn build_pool(&self, name: &str) -> Result<()>;
    /// Starts a pool.
    fn start_pool(&self, name: &str) -> Result<()>;
    /// Stops a pool; its volumes stay.
    fn stop_pool(&self, name: &str) -> Result<()>;
    /// Sets whether the pool starts with the host.
    fn set_pool_autostart(&self, name: &str, on: bool) -> Result<()>;
    /// Makes libvirt look at the pool's volumes anew.
    fn refresh_pool(&self, name: &str) -> Result<()>;
    /// Removes the definition of a stopped pool; its volumes stay.
    fn undefine_pool(&self, name: &str) -> Result<()>;
}
