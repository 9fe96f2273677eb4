//! Storage pools.

use super::images::no_pool;
use super::usage::Usage;
use super::{Session, Settings};
use crate::error::{Error, Kind};
use crate::host::{Pool, Volume};
use crate::names::PoolName;
use crate::storage_xml;

/// All pools, by name. Changes nothing.
///
/// # Errors
/// The host's.
pub fn list(session: &Session<'_>) -> Result<Vec<Pool>, Error> {
    let mut pools = session.host.pools()?;
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pools)
}

/// A pool and its volumes.
///
/// # Errors
/// [`Kind::Storage`] where there is no such pool.
pub fn info(session: &Session<'_>, name: &str) -> Result<(Pool, Vec<Volume>), Error> {
    let pool = existing(session, name)?;
    let mut volumes = if pool.active { session.host.volumes(name)? } else { Vec::new() };
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((pool, volumes))
}

fn existing(session: &Session<'_>, name: &str) -> Result<Pool, Error> {
    match session.host.pool(name)? {
        Some(pool) => Ok(pool),
        None => Err(no_pool(session, name)?),
    }
}

/// Adds a directory pool, starts it, and has it start with the host. The directory is made if it is
/// missing; one that exists keeps its owner and mode.
///
/// # Errors
/// [`Kind::Storage`] where the name is taken or libvirt refuses; what was defined is removed again.
pub fn add(session: &Session<'_>, name: &PoolName, path: &str) -> Result<(), Error> {
    if session.host.pool(name.as_str())?.is_some() {
        return Err(Error::new(Kind::Storage, format!("pool '{name}' exists")).outcome("nothing was changed"));
    }
    let xml = storage_xml::directory_pool(name.as_str(), path)
        .map_err(|e| Error::new(Kind::Storage, e.to_string()))?;
    session.host.define_pool(&xml)?;
    start_new(session, name.as_str()).map_err(|error| match session.host.undefine_pool(name.as_str()) {
        Ok(()) => error.outcome("the pool is undefined again"),
        Err(left) => error.outcome(format!("left behind: pool '{name}' ({})", Error::from(left))),
    })
}

fn start_new(session: &Session<'_>, name: &str) -> Result<(), Error> {
    // Building sets owner and mode of a directory that exists, so it is done only if the start fails.
    if session.host.start_pool(name).is_err() {
        session.host.build_pool(name)?;
        session.host.start_pool(name)?;
    }
    Ok(session.host.set_pool_autostart(name, true)?)
}

/// Makes libvirt look at a pool's volumes anew.
///
/// # Errors
/// [`Kind::Storage`] where there is no such pool or it is not started.
pub fn refresh(session: &Session<'_>, name: &str) -> Result<(), Error> {
    existing(session, name)?;
    Ok(session.host.refresh_pool(name)?)
}

/// Stops and undefines a pool. Its volumes stay where they are.
///
/// # Errors
/// [`Kind::Storage`] where it is one of the two default pools, or VMs use its volumes, or, without
/// `force`, it has volumes at all, or is stopped, so that nobody can tell.
pub fn delete(session: &Session<'_>, name: &str, force: bool) -> Result<(), Error> {
    let refused = |message: String| Error::new(Kind::Storage, message).outcome("nothing was changed");
    if [Settings::DEFAULT_VM_POOL, Settings::DEFAULT_IMAGE_POOL].contains(&name) {
        return Err(refused(format!("pool '{name}' is one of foundry's own and is not deleted")));
    }
    let (pool, volumes) = info(session, name)?;
    let users = Usage::look(session, None)?.of_pool(&pool, session.host.is_local());
    if !users.is_empty() {
        return Err(refused(format!("pool '{name}' is in use by VM '{}'", users.join("', '")))
            .hint("destroy them first"));
    }
    if let Some(what) = contents(&pool, &volumes).filter(|_| !force) {
        return Err(refused(what).hint("--force forgets the pool and leaves its volumes where they are"));
    }
    if pool.active {
        session.host.stop_pool(name)?;
    }
    Ok(session.host.undefine_pool(name)?)
}

/// What would be forgotten with a pool, as far as libvirt shows it.
fn contents(pool: &Pool, volumes: &[Volume]) -> Option<String> {
    let name = &pool.name;
    match volumes.len() {
        _ if !pool.active => Some(format!("pool '{name}' is not started, so its volumes cannot be seen")),
        0 => None,
        1 => Some(format!("pool '{name}' has 1 volume")),
        count => Some(format!("pool '{name}' has {count} volumes")),
    }
}
