//! Volumes through libvirt.

use virt::storage_vol::StorageVol;

use super::{Asked, Libvirt, libvirt_xml, storage};
use crate::{HostError, Result, Volume, Volumes};
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

impl Libvirt {
    fn describe_volume(&self, pool: &str, volume: &StorageVol, asked: &Asked) -> Result<Option<Volume>> {
        match self.find("virStorageVolGetXMLDesc", asked, || volume.xml_desc(0))? {
            Some(xml) => libvirt_xml::read_volume(pool, &xml).map(Some),
            None => Ok(None),
        }
    }

    /// `None` if the pool or the volume does not exist, or the pool is inactive.
    fn lookup_volume(&self, volume: &VolumeRef) -> Result<Option<StorageVol>> {
        let asked = storage(format!("look up {volume}"));
        let Some(handle) = self.pool_handle(&volume.pool)? else { return Ok(None) };
        let look = || {
            self.find("virStorageVolLookupByName", &asked, || handle.lookup_storage_vol_by_name(&volume.name))
        };
        match look() {
            // libvirt has no separate code for "the pool is not started", so check whether that is, or was, the reason.
            Err(refusal) if !refusal.outcome_unknown() => {
                let active = self.call("virStoragePoolIsActive", &asked, || handle.is_active())?;
                if active { look() } else { Ok(None) }
            }
            answer => answer,
        }
    }

    pub(super) fn volume_handle(&self, volume: &VolumeRef, asked: &Asked) -> Result<StorageVol> {
        self.lookup_volume(volume)?.ok_or_else(|| HostError::Refused {
            operation: asked.operation.clone(),
            kind: asked.kind,
            libvirt: "there is no such volume".into(),
        })
    }

    fn make_volume(&self, pool: &str, xml: &str, from: Option<&VolumeRef>) -> Result<Volume> {
        // libvirt takes the name from the XML, so errors name that one.
        let created = VolumeRef::new(pool, libvirt_xml::volume_name(xml)?);
        let asked = storage(format!("create {created}"));
        let handle = self.existing_pool(pool, &asked)?;
        let volume = match from {
            None => {
                self.call("virStorageVolCreateXML", &asked, || StorageVol::create_xml(&handle, xml, 0))?
            }
            Some(from) => {
                let source = self.volume_handle(from, &asked)?;
                self.call("virStorageVolCreateXMLFrom", &asked, || {
                    StorageVol::create_xml_from(&handle, xml, &source, 0)
                })?
            }
        };
        match self.describe_volume(pool, &volume, &asked) {
            Ok(Some(described)) => Ok(described),
            Ok(None) => Err(HostError::Refused {
                operation: asked.operation,
                kind: asked.kind,
                libvirt: "the volume disappeared right after its creation".into(),
            }),
            Err(e) => {
                // "Refused" means that nothing was created, so delete the volume. If this fails, too, a later lookup by
                // the caller finds it.
                let _ = self.raw("virStorageVolDelete", &asked, || volume.delete(0));
                Err(e)
            }
        }
    }
}

impl Volumes for Libvirt {
    fn volumes(&self, pool: &str) -> Result<Vec<Volume>> {
        let asked = storage(format!("list the volumes of pool '{pool}'"));
        let handle = self.existing_pool(pool, &asked)?;
        let volumes = self.call("virStoragePoolListAllVolumes", &asked, || handle.list_all_volumes(0))?;
        let described = volumes.iter().map(|v| self.describe_volume(pool, v, &asked));
        described.filter_map(Result::transpose).collect()
    }

    fn volume(&self, volume: &VolumeRef) -> Result<Option<Volume>> {
        match self.lookup_volume(volume)? {
            Some(handle) => {
                self.describe_volume(&volume.pool, &handle, &storage(format!("describe {volume}")))
            }
            None => Ok(None),
        }
    }

    fn volume_at(&self, path: &str) -> Result<Option<Volume>> {
        let asked = storage(format!("look up the volume at {path}"));
        let found = self
            .find("virStorageVolLookupByPath", &asked, || self.connection.lookup_storage_vol_by_path(path))?;
        let Some(volume) = found else { return Ok(None) };
        // The volume or its pool may have been deleted since.
        let Some(pool) =
            self.find("virStoragePoolLookupByVolume", &asked, || volume.lookup_storage_pool())?
        else {
            return Ok(None);
        };
        let pool = pool.name().map_err(|e| self.failed(&asked, &e))?;
        self.describe_volume(&pool, &volume, &asked)
    }

    fn create_volume(&self, pool: &str, xml: &str) -> Result<Volume> {
        self.make_volume(pool, xml, None)
    }

    fn clone_volume(&self, pool: &str, xml: &str, from: &VolumeRef) -> Result<Volume> {
        self.make_volume(pool, xml, Some(from))
    }

    fn resize_volume(&self, volume: &VolumeRef, capacity: Bytes) -> Result<()> {
        let asked = storage(format!("resize {volume}"));
        let handle = self.volume_handle(volume, &asked)?;
        self.call("virStorageVolResize", &asked, || handle.resize(capacity.0, 0))
    }

    fn delete_volume(&self, volume: &VolumeRef) -> Result<()> {
        let Some(handle) = self.lookup_volume(volume)? else { return Ok(()) };
        let asked = storage(format!("delete {volume}"));
        self.find("virStorageVolDelete", &asked, || handle.delete(0)).map(drop)
    }
}
