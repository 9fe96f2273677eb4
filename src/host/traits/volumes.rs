//! Volumes of storage pools.

use crate::{Result, Volume};
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

/// Volumes of storage pools.
pub trait Volumes: Send + Sync {
    /// The volumes of an active pool.
    fn volumes(&self, pool: &str) -> Result<Vec<Volume>>;
    /// Looks up a volume; `None` also if its pool does not exist or is inactive.
    fn volume(&self, volume: &VolumeRef) -> Result<Option<Volume>>;
    /// Looks up the volume at a path, in any active pool.
    fn volume_at(&self, path: &str) -> Result<Option<Volume>>;
    /// Creates a volume; refused if one with that name exists.
    fn create_volume(&self, pool: &str, xml: &str) -> Result<Volume>;
    /// Creates a volume in `pool` with the content of `from`, converted to the format in the XML.
    fn clone_volume(&self, pool: &str, xml: &str, from: &VolumeRef) -> Result<Volume>;
    /// Changes a volume's capacity.
    fn resize_volume(&self, volume: &VolumeRef, capacity: Bytes) -> Result<()>;
    /// Deletes a volume. A volume that does not exist is `Ok`.
    fn delete_volume(&self, volume: &VolumeRef) -> Result<()>;
}
