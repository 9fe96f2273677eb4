//! Pools through libvirt.

use virt::error::Error as VirtError;
use virt::storage_pool::StoragePool;

use super::{Asked, Libvirt, libvirt_xml, storage};
use crate::{Pool, Pools, Result};

impl Libvirt {
    pub(super) fn pool_handle(&self, name: &str) -> Result<Option<StoragePool>> {
        self.find("virStoragePoolLookupByName", &storage(format!("look up pool '{name}'")), || {
            self.connection.lookup_storage_pool_by_name(name)
        })
    }

    pub(super) fn existing_pool(&self, name: &str, asked: &Asked) -> Result<StoragePool> {
        self.call("virStoragePoolLookupByName", asked, || self.connection.lookup_storage_pool_by_name(name))
    }

    /// Calls one function on a pool. `verb` forms the message: "cannot `verb` pool 'foundry-vms'".
    fn on_pool<T>(
        &self,
        name: &str,
        function: &str,
        verb: &str,
        act: impl FnOnce(&StoragePool) -> std::result::Result<T, VirtError>,
    ) -> Result<T> {
        let asked = storage(format!("{verb} pool '{name}'"));
        let pool = self.existing_pool(name, &asked)?;
        self.call(function, &asked, || act(&pool))
    }

    fn describe_pool(&self, pool: &StoragePool, asked: &Asked) -> Result<Option<Pool>> {
        // This comes first: if another program started the pool between two queries, it would be active with the free
        // space of an inactive one, which is none.
        let active = self.find("virStoragePoolIsActive", asked, || pool.is_active())?.unwrap_or(false);
        let Some(xml) = self.find("virStoragePoolGetXMLDesc", asked, || pool.xml_desc(0))? else {
            return Ok(None);
        };
        let autostart = self.find("virStoragePoolGetAutostart", asked, || pool.autostart())?.unwrap_or(false);
        libvirt_xml::read_pool(&xml, active, autostart).map(Some)
    }
}

impl Pools for Libvirt {
    fn pools(&self) -> Result<Vec<Pool>> {
        let asked = storage("list the pools");
        let pools =
            self.call("virConnectListAllStoragePools", &asked, || self.connection.list_all_storage_pools(0))?;
        let described = pools.iter().map(|p| self.describe_pool(p, &asked));
        // Skip pools that were deleted since they were listed.
        described.filter_map(Result::transpose).collect()
    }

    fn pool(&self, name: &str) -> Result<Option<Pool>> {
        match self.pool_handle(name)? {
            Some(pool) => self.describe_pool(&pool, &storage(format!("describe pool '{name}'"))),
            None => Ok(None),
        }
    }

    fn define_pool(&self, xml: &str) -> Result<()> {
        self.call("virStoragePoolDefineXML", &storage("define the storage pool"), || {
            self.connection.define_storage_pool_xml(xml, 0).map(drop)
        })
    }

    fn build_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolBuild", "make the target of", |p| p.build(0))
    }

    fn start_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolCreate", "start", |p| p.create(0))
    }

    fn stop_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolDestroy", "stop", StoragePool::destroy)
    }

    fn set_pool_autostart(&self, name: &str, on: bool) -> Result<()> {
        self.on_pool(name, "virStoragePoolSetAutostart", "set autostart of", |p| p.set_autostart(on))
    }

    fn refresh_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolRefresh", "refresh", |p| p.refresh(0))
    }

    fn remove_pool_directory(&self, name: &str) -> Result<()> {
        // For a directory, libvirt calls rmdir(2), which refuses one that has anything in it.
        self.on_pool(name, "virStoragePoolDelete", "delete the directory of", |p| p.delete(0))
    }

    fn undefine_pool(&self, name: &str) -> Result<()> {
        self.on_pool(name, "virStoragePoolUndefine", "undefine", StoragePool::undefine)
    }
}
