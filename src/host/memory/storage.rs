//! Pools and volumes: what libvirt's storage driver does with them.

use std::collections::BTreeSet;

use super::backend::{self, Backend};
use super::{Answer, Failure, File, PoolCell, State};
use crate::libvirt_xml::{PoolParts, VolumeParts};
use crate::{HostError, Pool, PoolSource, Stopped, Volume, Zeros};
use foundry_core::units::Bytes;
use foundry_fetch::content::{Content, Sink};

/// Formats that a volume of a directory pool can be given.
const FORMATS: [&str; 6] = ["raw", "qcow2", "qcow", "iso", "vmdk", "vdi"];

fn refused(error: &HostError) -> Failure {
    Failure::Refused(format!("XML error: {}", error.cause().unwrap_or_default()))
}

impl PoolCell {
    /// A directory pool.
    pub(super) fn directory(target: &str) -> Self {
        Self::new(Backend::Files("dir".into()), target, PoolSource::default())
    }

    fn new(kind: Backend, target: &str, source: PoolSource) -> Self {
        Self {
            kind,
            target: target.into(),
            source,
            active: false,
            autostart: false,
            known: BTreeSet::new(),
            others_seen: 0,
        }
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.target)
    }
}

impl State {
    fn existing_pool(&mut self, name: &str) -> Answer<&mut PoolCell> {
        let absent = || format!("Storage pool not found: no storage pool with matching name '{name}'");
        self.pools.get_mut(name).ok_or_else(|| absent().into())
    }

    fn pool_that_is(&mut self, active: bool, name: &str) -> Answer<&mut PoolCell> {
        let pool = self.existing_pool(name)?;
        if pool.active == active {
            return Ok(pool);
        }
        let word = if active { "not active" } else { "already active" };
        Err(format!("Requested operation is not valid: storage pool '{name}' is {word}").into())
    }

    fn allocated(&self) -> u64 {
        self.files.values().map(|f| f.allocation).sum()
    }

    pub(super) fn pool(&self, name: &str) -> Option<Pool> {
        let pool = self.pools.get(name)?;
        let measured = |bytes: u64| Bytes(if pool.active { bytes } else { 0 });
        Some(Pool {
            name: name.into(),
            kind: pool.kind.as_str().into(),
            active: pool.active,
            autostart: pool.autostart,
            target: Some(pool.target.clone()).filter(|_| pool.kind != Backend::Rbd),
            source: pool.source.clone(),
            capacity: measured(self.space),
            allocation: measured(self.allocated().saturating_add(pool.others_seen)),
            available: measured(self.space.saturating_sub(self.allocated()).saturating_sub(pool.others_seen)),
        })
    }

    pub(super) fn pools(&self) -> Vec<Pool> {
        self.pools.keys().filter_map(|name| self.pool(name)).collect()
    }

    pub(super) fn define_pool(&mut self, xml: &str) -> Answer<String> {
        let PoolParts { name, kind, target, source, .. } = PoolParts::read(xml).map_err(|e| refused(&e))?;
        if let Some(c) = name.chars().find(|c| matches!(c, '/' | '\n')) {
            return Err(format!("XML error: name {name} cannot contain '{c}'").into());
        }
        if self.pools.contains_key(&name) {
            return Err(format!("operation failed: pool '{name}' already exists with another uuid").into());
        }
        let kind = Backend::of(&kind);
        let target = if kind == Backend::Rbd { source.name.clone() } else { target };
        let target = target.filter(|t| !t.is_empty()).ok_or("XML error: missing storage pool target path")?;
        if let Some((other, _)) = self.pools.iter().find(|(_, pool)| pool.target == target) {
            return Err(format!("operation failed: Storage source conflict with pool: '{other}'").into());
        }
        self.pools.insert(name.clone(), PoolCell::new(kind, &target, source));
        Ok(name)
    }

    pub(super) fn build_pool(&mut self, name: &str) -> Answer<()> {
        let target = self.pool_that_is(false, name)?.target.clone();
        self.directories.insert(target);
        Ok(())
    }

    pub(super) fn start_pool(&mut self, name: &str) -> Answer<()> {
        let target = self.pool_that_is(false, name)?.target.clone();
        if !self.directories.contains(&target) {
            return Err(format!("cannot open directory '{target}': No such file or directory").into());
        }
        self.existing_pool(name)?.active = true;
        self.refresh_pool(name)
    }

    pub(super) fn stop_pool(&mut self, name: &str) -> Answer<()> {
        self.pool_that_is(true, name)?.active = false;
        Ok(())
    }

    pub(super) fn set_pool_autostart(&mut self, name: &str, on: bool) -> Answer<()> {
        self.existing_pool(name)?.autostart = on;
        Ok(())
    }

    pub(super) fn refresh_pool(&mut self, name: &str) -> Answer<()> {
        let pool = self.pool_that_is(true, name)?;
        let (directory, files) = (format!("{}/", pool.target), pool.kind.holds_files());
        let mut known = BTreeSet::new();
        for (path, file) in &mut self.files {
            if let Some(name) = path.strip_prefix(&directory).filter(|name| !name.contains('/')) {
                known.insert(name.to_owned());
                // Into a block device it does not look.
                if files {
                    file.probe();
                }
            }
        }
        let others = self.others;
        let pool = self.existing_pool(name)?;
        (pool.known, pool.others_seen) = (known, others);
        Ok(())
    }

    pub(super) fn undefine_pool(&mut self, name: &str) -> Answer<()> {
        if self.existing_pool(name)?.active {
            let still = format!("Requested operation is not valid: storage pool '{name}' is still active");
            return Err(still.into());
        }
        self.pools.remove(name);
        Ok(())
    }

    pub(super) fn volumes(&mut self, pool: &str) -> Answer<Vec<Volume>> {
        let names: Vec<_> = self.pool_that_is(true, pool)?.known.iter().cloned().collect();
        Ok(names.iter().filter_map(|name| self.volume(pool, name)).collect())
    }

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

    /// Path of a volume that libvirt has seen in an active pool.
    pub(super) fn known_path(&self, pool: &str, name: &str) -> Answer<String> {
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

    fn file(&mut self, pool: &str, name: &str) -> Answer<&mut File> {
        let path = self.known_path(pool, name)?;
        let gone = format!("cannot open '{path}': No such file or directory");
        self.files.get_mut(&path).ok_or_else(|| gone.into())
    }

    pub(super) fn create_volume(&mut self, pool: &str, xml: &str) -> Answer<Volume> {
        let wish = VolumeParts::read(xml).map_err(|e| refused(&e))?;
        let capacity = wish.capacity.ok_or("XML error: missing capacity element")?;
        let kind = &self.existing_pool(pool)?.kind;
        let made = File::new(kind.format(wish.format.as_deref()), capacity, wish.backing.clone());
        self.add_volume(pool, &wish, made)
    }

    /// A clone is never smaller than what it is made from, whatever was asked.
    pub(super) fn clone_volume(&mut self, pool: &str, xml: &str, from: (&str, &str)) -> Answer<Volume> {
        let wish = VolumeParts::read(xml).map_err(|e| refused(&e))?;
        let source = self.file(from.0, from.1)?.clone();
        let kind = &self.existing_pool(pool)?.kind;
        kind.check_clone(pool == from.0, from.1)?;
        let capacity = kind.clones_capacity(wish.capacity.unwrap_or(0), source.capacity);
        let format = kind.format(wish.format.as_deref());
        let mut made = File::new(format, capacity, wish.backing.clone());
        if (format, source.format.as_str()) == ("raw", "raw") {
            made.content = source.content;
        }
        self.add_volume(pool, &wish, made)
    }

    fn add_volume(&mut self, pool: &str, wish: &VolumeParts, mut made: File) -> Answer<Volume> {
        let path = self.free_path(pool, &wish.name)?;
        self.check_format(wish)?;
        made.mode = wish.mode.unwrap_or(made.mode);
        if made.format != "qcow2" {
            // libvirt allocates a raw volume in full where it is not told otherwise.
            made.allocation = wish.allocation.unwrap_or(made.capacity).min(made.capacity);
        }
        self.existing_pool(pool)?.kind.fit(wish, &mut made)?;
        if made.allocation > self.space.saturating_sub(self.allocated()).saturating_sub(self.others) {
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

    /// A file in the way is refused, seen by libvirt or not.
    fn free_path(&mut self, pool: &str, name: &str) -> Answer<String> {
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

    fn check_format(&self, wish: &VolumeParts) -> Answer<()> {
        if let Some(unknown) = wish.format.as_deref().filter(|f| !FORMATS.contains(f)) {
            return Err(format!("unknown volume format type {unknown}").into());
        }
        let Some(path) = &wish.backing else { return Ok(()) };
        let Some(mut backing) = self.files.get(path).cloned() else {
            let gone = format!("inaccessible backing store volume {path}: No such file or directory");
            return Err(gone.into());
        };
        // It looks into the file, whether libvirt has or not.
        backing.probe();
        // qemu-img opens the file as what it is said to be; everything is raw if it is said to be.
        match wish.backing_format.as_deref() {
            Some(said) if said != "raw" && said != backing.format => {
                Err(format!("{path}: Image is not in {said} format").into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn resize_volume(&mut self, pool: &str, name: &str, capacity: u64) -> Answer<()> {
        self.existing_pool(pool)?.kind.check_resize()?;
        let file = self.file(pool, name)?;
        if capacity < file.capacity {
            return Err("invalid argument: Can't shrink capacity below current capacity unless shrink flag explicitly specified".into());
        }
        file.resize(capacity);
        Ok(())
    }

    /// A file that is gone behind libvirt's back is as good as deleted.
    pub(super) fn delete_volume(&mut self, pool: &str, name: &str) {
        let Ok(path) = self.known_path(pool, name) else { return };
        self.files.remove(&path);
        self.no_room_for_definitions = false;
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.known.remove(name);
        }
    }

    /// What came before the content ended or failed is written, as it is on a real host.
    pub(super) fn upload(
        &mut self,
        volume: (&str, &str),
        content: &mut dyn Content,
        offset: u64,
        length: u64,
        zeros: Zeros,
    ) -> Answer<u64> {
        let space = self.space.saturating_sub(self.allocated()).saturating_sub(self.others);
        let kind = self.existing_pool(volume.0)?.kind.clone();
        let file = self.file(volume.0, volume.1)?;
        kind.check_upload()?;
        let mut sent = Sent { length, room: zeros, bytes: Vec::new(), data: 0 };
        let outcome = sent.take_from(content);
        kind.check_end(file, offset + sent.bytes.len() as u64)?;
        let before = file.allocation;
        file.write(offset, &sent.bytes, sent.data);
        if file.allocation.saturating_sub(before) > space {
            // What libvirtd 11.3 does on a full disk: it ends itself, and every client loses it.
            return Err(Failure::Lost("Cannot recv data: Connection reset by peer".into()));
        }
        outcome.map_err(|e| transfer_failed(&e))?;
        Ok(sent.bytes.len() as u64)
    }

    pub(super) fn download(
        &mut self,
        pool: &str,
        name: &str,
        into: &mut dyn Sink,
        (offset, length): (u64, u64),
    ) -> Answer<()> {
        self.existing_pool(pool)?.kind.check_download()?;
        let bytes = self.file(pool, name)?.read(offset.saturating_add(length));
        let from = usize::try_from(offset).map_or(bytes.len(), |from| from.min(bytes.len()));
        into.write_all(&bytes[from..]).map_err(|e| transfer_failed(&e))
    }
}

/// What came out of some content.
struct Sent {
    length: u64,
    room: Zeros,
    bytes: Vec<u8>,
    /// How many of them are no holes.
    data: u64,
}

impl Sent {
    fn take_from(&mut self, content: &mut dyn Content) -> std::io::Result<()> {
        loop {
            let left = self.length - self.bytes.len() as u64;
            let room = match self.room {
                Zeros::Written => left,
                Zeros::Skipped { at_most } => {
                    let hole = content.skip_hole(left)?;
                    self.bytes.resize(self.bytes.len() + hole as usize, 0);
                    (left - hole).min(at_most - self.data)
                }
            };
            let before = self.bytes.len();
            self.bytes.resize(before + room.min(64 << 10) as usize, 0);
            let outcome = content.read(&mut self.bytes[before..]);
            self.bytes.truncate(before + outcome.as_ref().unwrap_or(&0));
            let block = &self.bytes[before..];
            let is_hole = self.room != Zeros::Written && block.iter().all(|byte| *byte == 0);
            self.data += if is_hole { 0 } else { block.len() as u64 };
            if outcome? == 0 {
                return Ok(());
            }
        }
    }
}

fn transfer_failed(error: &std::io::Error) -> Failure {
    // As the adapter tells it: only this is the user's doing.
    let stopped = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Stopped>);
    Failure::Transfer { cause: error.to_string(), interrupted: stopped }
}
