//! Volumes: what libvirt's storage driver does with them.

use super::calls::Call;
use super::{Failure, File, HostState, MemoryHost, StateResult, backend, to_failure};
use crate::libvirt_xml::{VolumeParts, volume_name};
use crate::{Result, Volume, Volumes};
use foundry_core::record::VolumeRef;
use foundry_core::units::Bytes;

/// The formats that a volume of a directory pool can have.
const FORMATS: [&str; 6] = ["raw", "qcow2", "qcow", "iso", "vmdk", "vdi"];

impl Volumes for MemoryHost {
    fn volumes(&self, pool: &str) -> Result<Vec<Volume>> {
        self.call(&Call::about_pool("volumes", "list the volumes of", pool), |state| {
            let names: Vec<_> = state.pool_that_is(true, pool)?.known.iter().cloned().collect();
            Ok(names.iter().filter_map(|name| state.volume(pool, name)).collect())
        })
    }

    fn volume(&self, VolumeRef { pool, name }: &VolumeRef) -> Result<Option<Volume>> {
        self.call(&Call::about_volume("volume", "look up", pool, name), |state| Ok(state.volume(pool, name)))
    }

    fn volume_at(&self, path: &str) -> Result<Option<Volume>> {
        self.call(&Call::about_volume_at(path), |state| Ok(state.volume_at(path)))
    }

    fn create_volume(&self, pool: &str, xml: &str) -> Result<Volume> {
        let call = Call::about_volume("create_volume", "create", pool, &volume_name(xml)?);
        self.call(&call, |state| {
            let wish = VolumeParts::read(xml).map_err(|e| to_failure(&e))?;
            let capacity = wish.capacity.ok_or("XML error: missing capacity element")?;
            let kind = &state.existing_pool(pool)?.kind;
            let made = File::new(kind.format(wish.format.as_deref()), capacity, wish.backing.clone());
            state.add_volume(pool, &wish, made)
        })
    }

    /// A clone is at least as large as its source.
    fn clone_volume(&self, pool: &str, xml: &str, from: &VolumeRef) -> Result<Volume> {
        let call = Call::about_volume("clone_volume", "create", pool, &volume_name(xml)?);
        self.call(&call, |state| {
            let wish = VolumeParts::read(xml).map_err(|e| to_failure(&e))?;
            let source = state.file(&from.pool, &from.name)?.clone();
            let kind = &state.existing_pool(pool)?.kind;
            kind.check_clone(pool == from.pool, &from.name)?;
            let capacity = kind.clones_capacity(wish.capacity.unwrap_or(0), source.capacity);
            let format = kind.format(wish.format.as_deref());
            let mut made = File::new(format, capacity, wish.backing.clone());
            if (format, source.format.as_str()) == ("raw", "raw") {
                made.content = source.content;
            }
            state.add_volume(pool, &wish, made)
        })
    }

    fn resize_volume(&self, VolumeRef { pool, name }: &VolumeRef, capacity: Bytes) -> Result<()> {
        let call = Call::about_volume("resize_volume", "resize", pool, name);
        self.call(&call, |state| {
        state.existing_pool(pool)?.kind.check_resize()?;
        let file = state.file(pool, name)?;
        if capacity.0 < file.capacity {
            return Err("invalid argument: Can't shrink capacity below current capacity unless shrink flag explicitly specified".into());
        }
        file.resize(capacity.0);
        Ok(())
})
    }

    fn delete_volume(&self, VolumeRef { pool, name }: &VolumeRef) -> Result<()> {
        let call = Call::about_volume("delete_volume", "delete", pool, name);
        self.call(&call, |state| {
            state.delete_volume(pool, name);
            Ok(())
        })
    }
}

impl HostState {
    pub(super) fn volume(&self, pool: &str, name: &str) -> Option<Volume> {
        let path = self.known_path(pool, name).ok()?;
        let file = self.files.get(&path)?;
        Some(Volume {
            pool: pool.into(),
            name: name.into(),
            path,
            format: file.format.clone(),
            capacity: Bytes(file.capacity),
            allocation: Bytes(file.allocation),
            backing: file.backing.clone(),
            mode: Some(file.mode),
        })
    }

    /// The path of a volume that libvirt has seen in an active pool.
    pub(super) fn known_path(&self, pool: &str, name: &str) -> StateResult<String> {
        let absent =
            || Failure::from(format!("Storage volume not found: no storage vol with matching name '{name}'"));
        let pool = self.pools.get(pool).filter(|p| p.active).ok_or_else(absent)?;
        if pool.known.contains(name) { Ok(pool.path(name)) } else { Err(absent()) }
    }

    pub(super) fn volume_at(&self, path: &str) -> Option<Volume> {
        let path = &backend::stable_path(path);
        let (directory, name) = path.rsplit_once('/')?;
        let (pool, _) = self.pools.iter().find(|(_, pool)| pool.target == directory)?;
        self.volume(pool, name)
    }

    pub(super) fn file(&mut self, pool: &str, name: &str) -> StateResult<&mut File> {
        let path = self.known_path(pool, name)?;
        let gone = format!("cannot open '{path}': No such file or directory");
        self.files.get_mut(&path).ok_or_else(|| gone.into())
    }

    fn add_volume(&mut self, pool: &str, wish: &VolumeParts, mut made: File) -> StateResult<Volume> {
        let path = self.free_path(pool, &wish.name)?;
        self.check_format(wish)?;
        made.mode = wish.mode.unwrap_or(made.mode);
        if made.format != "qcow2" {
            // By default libvirt fully allocates a raw volume.
            made.allocation = wish.allocation.unwrap_or(made.capacity).min(made.capacity);
        }
        self.existing_pool(pool)?.kind.apply_limits(wish, &mut made)?;
        if made.allocation > self.space.saturating_sub(self.allocated_bytes()).saturating_sub(self.others) {
            return Err(format!(
                "cannot allocate {} bytes in file '{path}': No space left on device",
                made.allocation
            )
            .into());
        }
        self.files.insert(path, made);
        self.existing_pool(pool)?.known.insert(wish.name.clone());
        self.volume(pool, &wish.name).ok_or_else(|| "the volume vanished".into())
    }

    /// An existing file of that name is refused, even if libvirt has not seen it.
    fn free_path(&mut self, pool: &str, name: &str) -> StateResult<String> {
        let cell = self.pool_that_is(true, pool)?;
        if name.contains('/') {
            return Err(
                format!("Requested operation is not valid: volume name '{name}' cannot contain '/'").into()
            );
        }
        if cell.known.contains(name) {
            return Err(format!("storage volume '{name}' exists already").into());
        }
        let path = cell.path(name);
        if matches!(name, "." | "..") || self.files.contains_key(&path) {
            let there =
                format!("Requested operation is not valid: volume target path '{path}' already exists");
            return Err(there.into());
        }
        Ok(path)
    }

    fn check_format(&self, wish: &VolumeParts) -> StateResult<()> {
        if let Some(unknown) = wish.format.as_deref().filter(|f| !FORMATS.contains(f)) {
            return Err(format!("unknown volume format type {unknown}").into());
        }
        let Some(path) = &wish.backing else { return Ok(()) };
        let Some(mut backing) = self.files.get(path).cloned() else {
            let gone = format!("inaccessible backing store volume {path}: No such file or directory");
            return Err(gone.into());
        };
        // qemu-img reads the file, even if libvirt has not seen it.
        backing.probe_file();
        // qemu-img opens the file in the given format; any file can be raw.
        match wish.backing_format.as_deref() {
            Some(said) if said != "raw" && said != backing.format => {
                Err(format!("{path}: Image is not in {said} format").into())
            }
            _ => Ok(()),
        }
    }

    /// A file that was deleted without libvirt counts as deleted.
    pub(super) fn delete_volume(&mut self, pool: &str, name: &str) {
        let Ok(path) = self.known_path(pool, name) else { return };
        self.files.remove(&path);
        self.no_room_for_definitions = false;
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.known.remove(name);
        }
    }
}
