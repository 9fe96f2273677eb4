//! Pools and volumes of a host, and who uses a volume.

pub mod pools;
pub mod status;

pub(crate) mod backend;
pub(crate) mod file_locks;
pub(crate) mod pending_volumes;
pub(crate) mod usage;
pub(crate) mod volumes;

pub use backend::PoolBackend;
