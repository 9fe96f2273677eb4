//! Pools and volumes of a host, and the users of each volume.

pub mod pools;
pub mod status;

pub(crate) mod backend;
pub(crate) mod copy;
pub(crate) mod file_locks;
pub(crate) mod pending_volumes;
pub(crate) mod usage;
pub(crate) mod volumes;

pub use backend::PoolBackend;
