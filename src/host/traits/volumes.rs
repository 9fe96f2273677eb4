//! Volumes of storage pools.

use crate::{Result, Volume};
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

/// Volumes of storage pools.
pub trait Volumes: Send + Sync {
    /// The volumes of an active pool.
    fn volumes(&self, pool: &str) -> Result<Vec<Volume>>;
    /// The volume of that name; `None` too where the pool is absent or inactive.
    fn volume(&self, volume: &VolumeRef) -> Result<Option<Volume>>;
    /// The volume at that path, in whichever active pool it is.
    fn volume_at(&self, path: &str) -> Result<Option<Volume>>;
    /// Makes a volume; refused where one of that name exists.
    fn create_volume(&self, pool: &str, xml: &str) -> Result<Volume>;
    /// Makes a volume with the content of another, converted to the format in the XML.
    fn clone_volume(&self, pool: &str, xml: &str, from: &VolumeRef) -> Result<Volume>;
    /// Changes a volume's capacity.
    fn resize_volume(&self, volume: &VolumeRef, capacity: Bytes) -> Result<()>;
    /// Deletes a volume. One that is already gone is `Ok`.
    fn delete_volume(&self, volume: &VolumeRef) -> Result<()>;
}
