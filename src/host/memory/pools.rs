//! Pools: what libvirt's storage driver does with them.

use std::collections::BTreeSet;

use super::backend::MemoryBackend;
use super::calls::Call;
use super::{HostState, MemoryHost, PoolCell, StateResult, to_failure};
use crate::libvirt_xml::PoolParts;
use crate::{Pool, PoolSource, Pools, Result};
use foundry_core::units::Bytes;

impl PoolCell {
    /// A pool of type `dir` at this path.
    pub(super) fn directory(target: &str) -> Self {
        Self::new(MemoryBackend::Files("dir".into()), target, PoolSource::default())
    }

    fn new(kind: MemoryBackend, target: &str, source: PoolSource) -> Self {
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

impl Pools for MemoryHost {
    fn pools(&self) -> Result<Vec<Pool>> {
        self.call(&Call::about_pools("pools", "list the pools"), |state| {
            Ok(state.pools.keys().filter_map(|name| state.pool(name)).collect())
        })
    }

    fn pool(&self, name: &str) -> Result<Option<Pool>> {
        self.call(&Call::about_pool("pool", "look up", name), |state| Ok(state.pool(name)))
    }

    fn define_pool(&self, xml: &str) -> Result<()> {
        let name = PoolParts::read(xml).map(|p| p.name).unwrap_or_default();
        self.call(&Call::about_pool("define_pool", "define", &name), |state| state.define_pool(xml).map(drop))
    }

    fn build_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::about_pool("build_pool", "make the target of", name), |state| {
            let target = state.pool_that_is(false, name)?.target.clone();
            state.directories.insert(target);
            Ok(())
        })
    }

    fn start_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::about_pool("start_pool", "start", name), |state| {
            let target = state.pool_that_is(false, name)?.target.clone();
            if !state.directories.contains(&target) {
                return Err(format!("cannot open directory '{target}': No such file or directory").into());
            }
            state.existing_pool(name)?.active = true;
            state.refresh_pool(name)
        })
    }

    fn stop_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::about_pool("stop_pool", "stop", name), |state| {
            state.pool_that_is(true, name)?.active = false;
            Ok(())
        })
    }

    fn set_pool_autostart(&self, name: &str, on: bool) -> Result<()> {
        let call = Call::about_pool("set_pool_autostart", "set autostart of", name);
        self.call(&call, |state| {
            state.existing_pool(name)?.autostart = on;
            Ok(())
        })
    }

    fn refresh_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::about_pool("refresh_pool", "refresh", name), |state| state.refresh_pool(name))
    }

    fn remove_pool_directory(&self, name: &str) -> Result<()> {
        self.call(&Call::about_pool("remove_pool_directory", "delete the directory of", name), |state| {
            let target = state.pool_that_is(false, name)?.target.clone();
            if state.files.keys().any(|path| path.starts_with(&format!("{target}/"))) {
                return Err(format!("failed to remove pool '{target}': Directory not empty").into());
            }
            state.directories.remove(&target);
            Ok(())
        })
    }

    fn undefine_pool(&self, name: &str) -> Result<()> {
        self.call(&Call::about_pool("undefine_pool", "undefine", name), |state| {
            if state.existing_pool(name)?.active {
                let still =
                    format!("Requested operation is not valid: storage pool '{name}' is still active");
                return Err(still.into());
            }
            state.pools.remove(name);
            Ok(())
        })
    }
}

impl HostState {
    pub(super) fn existing_pool(&mut self, name: &str) -> StateResult<&mut PoolCell> {
        let absent = || format!("Storage pool not found: no storage pool with matching name '{name}'");
        self.pools.get_mut(name).ok_or_else(|| absent().into())
    }

    pub(super) fn pool_that_is(&mut self, active: bool, name: &str) -> StateResult<&mut PoolCell> {
        let pool = self.existing_pool(name)?;
        if pool.active == active {
            return Ok(pool);
        }
        let word = if active { "not active" } else { "already active" };
        Err(format!("Requested operation is not valid: storage pool '{name}' is {word}").into())
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.files.values().map(|f| f.allocation).sum()
    }

    fn pool(&self, name: &str) -> Option<Pool> {
        let pool = self.pools.get(name)?;
        let measured = |bytes: u64| Bytes(if pool.active { bytes } else { 0 });
        Some(Pool {
            name: name.into(),
            kind: pool.kind.as_str().into(),
            active: pool.active,
            autostart: pool.autostart,
            target: Some(pool.target.clone()).filter(|_| pool.kind != MemoryBackend::Rbd),
            source: pool.source.clone(),
            capacity: measured(self.space),
            allocation: measured(self.allocated_bytes().saturating_add(pool.others_seen)),
            available: measured(
                self.space.saturating_sub(self.allocated_bytes()).saturating_sub(pool.others_seen),
            ),
        })
    }

    pub(super) fn define_pool(&mut self, xml: &str) -> StateResult<String> {
        let PoolParts { name, kind, target, source, .. } =
            PoolParts::read(xml).map_err(|e| to_failure(&e))?;
        if let Some(c) = name.chars().find(|c| matches!(c, '/' | '\n')) {
            return Err(format!("XML error: name {name} cannot contain '{c}'").into());
        }
        if self.pools.contains_key(&name) {
            return Err(format!("operation failed: pool '{name}' already exists with another uuid").into());
        }
        let kind = MemoryBackend::for_pool_type(&kind);
        let target = if kind == MemoryBackend::Rbd { source.name.clone() } else { target };
        let target = target.filter(|t| !t.is_empty()).ok_or("XML error: missing storage pool target path")?;
        if let Some((other, _)) = self.pools.iter().find(|(_, pool)| pool.target == target) {
            return Err(format!("operation failed: Storage source conflict with pool: '{other}'").into());
        }
        self.pools.insert(name.clone(), PoolCell::new(kind, &target, source));
        Ok(name)
    }

    fn refresh_pool(&mut self, name: &str) -> StateResult<()> {
        let pool = self.pool_that_is(true, name)?;
        let (directory, files) = (format!("{}/", pool.target), pool.kind.holds_files());
        let mut known = BTreeSet::new();
        for (path, file) in &mut self.files {
            if let Some(name) = path.strip_prefix(&directory).filter(|name| !name.contains('/')) {
                known.insert(name.to_owned());
                // libvirt does not probe block devices.
                if files {
                    file.probe_file();
                }
            }
        }
        let others = self.others;
        let pool = self.existing_pool(name)?;
        (pool.known, pool.others_seen) = (known, others);
        Ok(())
    }
}
