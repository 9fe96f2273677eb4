//! Operations on storage pools: list, add, start, stop, refresh, delete.

use std::path::Path;

use super::backend::PoolBackend;
use super::usage::{DomainFilter, Usage};
use crate::disk::own_disk::is_same_file;
use crate::image::no_pool;
use crate::{Context, Settings};
use foundry_core::error::{Advice, Code, Error, Outcome, Remainder, Verb};
use foundry_core::names::PoolName;
use foundry_core::pool::PoolSourceSpec;
use foundry_core::text::quote_for_shell;
use foundry_core::units::Bytes;
use foundry_fetch::file_ownership::TrustedOwners;
use foundry_host::{HostError, Pool, Volume};

/// All pools, sorted by name. Changes nothing.
///
/// # Errors
/// The host's.
pub fn list_pools(context: &Context) -> Result<Vec<Pool>, Error> {
    let mut pools = context.host.pools()?;
    pools.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pools)
}

/// A pool with its volumes and their users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolInfo {
    /// The pool.
    pub pool: Pool,
    /// Its volumes, sorted by name; empty if the pool is stopped, because libvirt lists none then.
    pub volumes: Vec<Volume>,
    /// The domains with a disk in the pool, or with one whose backing file is in it.
    pub users: Vec<String>,
}

/// Returns a pool, its volumes, and the domains that use them.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if there is no such pool.
pub fn pool_info(context: &Context, name: &str) -> Result<PoolInfo, Error> {
    let pool = existing_pool(context, name)?;
    let mut volumes = if pool.active { context.host.volumes(name)? } else { Vec::new() };
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let users = pool_users(context, &pool, DomainFilter::All)?;
    Ok(PoolInfo { pool, volumes, users })
}

fn existing_pool(context: &Context, name: &str) -> Result<Pool, Error> {
    match context.host.pool(name)? {
        Some(pool) => Ok(pool),
        None => Err(no_pool(context, name)?),
    }
}

fn pool_users(context: &Context, pool: &Pool, who: DomainFilter) -> Result<Vec<String>, Error> {
    Ok(Usage::collect(context, None)?.domains_in_pool(pool, context.host.is_local(), who))
}

fn refused_unchanged(code: Code, message: String) -> Error {
    Error::new(code, message).unchanged()
}

/// Returns the XML for a new pool, after checking that its name and directory are free.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if the name is taken.
pub fn plan_pool(context: &Context, name: &PoolName, source: &PoolSourceSpec) -> Result<String, Error> {
    if context.host.pool(name.as_str())?.is_some() {
        return Err(refused_unchanged(Code::PoolTaken, format!("pool '{name}' exists")));
    }
    if let Some(path) = source.local_directory()
        && let Some(other) = context.host.pools()?.into_iter().find(|p| is_at(context, p, path))
    {
        let place = other.target.unwrap_or_default();
        return Err(refused_unchanged(Code::PoolTaken, format!("pool '{}' uses that directory", other.name))
            .because(format!(
                "{path} and {place} are the same directory, so each volume would be listed twice"
            )));
    }
    Ok(source.to_xml(name.as_str())?)
}

/// Defines a pool and starts it; with `autostart` it also starts with the host. A missing directory or mount point is
/// created; an existing one keeps its owner and mode. File systems, volume groups and datasets are never created. If
/// an earlier call was killed, this one completes it.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if the name is taken or libvirt refuses; the definition is removed again
/// then.
pub fn add_pool(
    context: &Context,
    name: &PoolName,
    source: &PoolSourceSpec,
    autostart: bool,
) -> Result<(), Error> {
    // An interrupted addition is continued, so an existing pool is not always an error.
    let known = context.host.pool(name.as_str())?;
    context.cancel.check_unchanged()?;
    if known.is_some_and(|pool| is_begun(&pool, source, autostart)) {
        return start_new(context, name.as_str(), source, autostart).map_err(|e| e.outcome(AGAIN));
    }
    let xml = plan_pool(context, name, source)?;
    context.host.define_pool(&xml).map_err(|refused| {
        let may_be = if refused.outcome_unknown() { AGAIN.into() } else { Outcome::Unchanged };
        Error::from(refused).outcome(may_be)
    })?;
    warn_of_other_writers(context, source);
    start_new(context, name.as_str(), source, autostart).map_err(|error| {
        let error = add_hint(source, error);
        match context.host.undefine_pool(name.as_str()) {
            Ok(()) => error.outcome("the pool is undefined again"),
            Err(left) => {
                let why = Error::from(left).to_string();
                let left = Remainder { object: format!("pool '{name}'"), why };
                error.outcome(Outcome::Left(vec![left])).outcome(AGAIN)
            }
        }
    })
}

/// Warns if other users can write to the pool's directory. libvirtd opens volumes there as root, by name.
fn warn_of_other_writers(context: &Context, source: &PoolSourceSpec) {
    let directory = source.local_directory().filter(|_| context.host.is_local());
    if let Some(who) =
        directory.and_then(|path| TrustedOwners::root_and_caller().find_untrusted_above(Path::new(path)))
    {
        context.warn(format!(
            "{who}: a user who can write there could replace a volume with a link, which libvirtd follows as root"
        ));
    }
}

const AGAIN: &str = "the pool may be half added; the same command again finishes it";

/// Returns whether a pool was left by an interrupted addition of the same directory pool.
fn is_begun(pool: &Pool, source: &PoolSourceSpec, autostart: bool) -> bool {
    let is_same = matches!(source, PoolSourceSpec::Dir { path } if pool.kind == "dir" && pool.target.as_ref() == Some(path));
    is_same && !(pool.active && (pool.autostart || !autostart))
}

fn start_new(context: &Context, name: &str, source: &PoolSourceSpec, autostart: bool) -> Result<(), Error> {
    match context.host.start_pool(name) {
        // Somebody else has started it meanwhile.
        Err(_) if matches!(context.host.pool(name), Ok(Some(now)) if now.active) => {}
        // Building a pool resets owner and mode of an existing directory, so only a missing one is built.
        Err(refused) if refused.outcome_unknown() || !may_be_missing(context, source) => {
            return Err(refused.into());
        }
        Err(_) => {
            context.host.build_pool(name)?;
            let path = source.local_directory().unwrap_or_default();
            let stays = |refused| Error::from(refused).outcome(format!("its directory {path} is kept"));
            context.host.start_pool(name).map_err(stays)?;
        }
        Ok(()) => {}
    }
    check_zfs_found(context, name, source)?;
    if !autostart {
        return Ok(());
    }
    context.host.set_pool_autostart(name, true).map_err(|refused| {
        // An active pool cannot be undefined by the caller.
        let _ = context.host.stop_pool(name);
        Error::from(refused)
    })
}

/// Stops a ZFS pool whose dataset does not exist. libvirt starts it anyway, with size 0, because its ZFS backend ignores
/// errors when it refreshes a pool.
fn check_zfs_found(context: &Context, name: &str, source: &PoolSourceSpec) -> Result<(), Error> {
    let PoolSourceSpec::Zfs { dataset } = source else { return Ok(()) };
    if context.host.pool(name)?.is_some_and(|pool| pool.capacity > Bytes(0)) {
        return Ok(());
    }
    context.host.stop_pool(name)?;
    Err(Error::new(
        Code::PoolSourceMissing,
        format!("libvirt finds no ZFS pool with dataset '{dataset}' on the host"),
    ))
}

/// Returns whether the pool has a directory that is missing, or that may be missing on a remote host.
fn may_be_missing(context: &Context, source: &PoolSourceSpec) -> bool {
    let there = |path: &str| !matches!(std::fs::symlink_metadata(path), Err(e) if e.kind() == std::io::ErrorKind::NotFound);
    source.local_directory().is_some_and(|path| !(context.host.is_local() && there(path)))
}

/// Adds a hint about what must exist before such a pool can start.
fn add_hint(source: &PoolSourceSpec, error: Error) -> Error {
    let hint = match source {
        PoolSourceSpec::Dir { .. } => return error,
        PoolSourceSpec::Fs { device, .. } => {
            format!("does it have a file system? lsblk -f {} shows it", quote_for_shell(device))
        }
        PoolSourceSpec::NetFs { server, .. } => {
            format!("does {server} export it to this host, and is the mount helper installed?")
        }
        PoolSourceSpec::Logical { group } => {
            format!(
                "vgs {0} on the host shows the volume group, vgcreate {0} DEVICE creates it",
                quote_for_shell(group)
            )
        }
        PoolSourceSpec::Zfs { dataset } => {
            format!(
                "zfs list {0} on the host shows the dataset, zfs create {0} creates it",
                quote_for_shell(dataset)
            )
        }
        PoolSourceSpec::Rbd { pool, .. } => {
            format!(
                "ceph osd pool ls shows the pools, rbd pool init {} initializes one",
                quote_for_shell(pool)
            )
        }
        PoolSourceSpec::Iscsi { portal, .. } => {
            format!(
                "iscsiadm -m discovery -t st -p {} on the host shows its targets",
                quote_for_shell(&portal.to_string())
            )
        }
    };
    error.hint(hint)
}

/// Starts a pool; with `autostart` it also starts with the host from now on. Returns whether it was stopped.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if there is no such pool or libvirt cannot start it. A missing directory is not
/// created, because it may be a mount point whose file system is not mounted yet.
pub fn start_pool(context: &Context, name: &str, autostart: bool) -> Result<bool, Error> {
    let pool = existing_pool(context, name)?;
    context.cancel.check_unchanged()?;
    // Another program may have started it since we looked.
    let is_active = || matches!(context.host.pool(name), Ok(Some(now)) if now.active);
    if !pool.active
        && let Err(failed) = context.host.start_pool(name)
        && !is_active()
    {
        return Err(Error::from(failed)
            .hint("does its source exist (directory, device or server)?")
            .unchanged());
    }
    if autostart && !pool.autostart {
        context.host.set_pool_autostart(name, true)?;
    }
    Ok(!pool.active)
}

/// Stops a pool; with `no_autostart` it no longer starts with the host. Returns whether it was started.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if there is no such pool, or a running VM has a disk, or the backing file of
/// a disk, in it.
pub fn stop_pool(context: &Context, name: &str, no_autostart: bool) -> Result<bool, Error> {
    let pool = existing_pool(context, name)?;
    if pool.active {
        let users = pool_users(context, &pool, DomainFilter::Active)?;
        if !users.is_empty() {
            return Err(in_use(name, &users).hint("stop them first"));
        }
        context.cancel.check_unchanged()?;
        context.host.stop_pool(name)?;
    }
    if no_autostart && pool.autostart {
        context.host.set_pool_autostart(name, false)?;
    }
    Ok(pool.active)
}

fn in_use(pool: &str, users: &[String]) -> Error {
    refused_unchanged(Code::PoolInUse, format!("pool '{pool}' is in use by VM '{}'", users.join("', '")))
}

/// Makes libvirt scan a pool's volumes again.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if there is no such pool or it is inactive.
pub fn refresh_pool(context: &Context, name: &str) -> Result<(), Error> {
    existing_pool(context, name)?;
    Ok(context.host.refresh_pool(name)?)
}

/// Stops and undefines a pool. Its volumes are kept.
///
/// # Errors
/// [`foundry_core::error::Kind::Storage`] if it is one of the two default pools, or VMs use its volumes. Without
/// `force`, also if it has any volumes, or is inactive, so that they cannot be listed.
pub fn delete_pool(context: &Context, name: &str, force: bool) -> Result<(), Error> {
    if [Settings::DEFAULT_VM_POOL, Settings::DEFAULT_IMAGE_POOL].contains(&name) {
        return Err(refused_unchanged(
            Code::PoolInUse,
            format!("pool '{name}' is a default pool of foundry and cannot be deleted"),
        ));
    }
    let PoolInfo { pool, volumes, users } = pool_info(context, name)?;
    let twin = same_directory_pool(context, &pool)?;
    // Volumes that another pool lists, too, are not lost with this one, except for domains that name this pool.
    let users = if twin.is_some() { Usage::collect(context, None)?.domains_naming_pool(name) } else { users };
    if !users.is_empty() {
        return Err(in_use(name, &users).hint("destroy them first"));
    }
    if let Some(what) = describe_contents(&pool, &volumes).filter(|_| !force && twin.is_none()) {
        return Err(refused_unchanged(Code::PoolNotEmpty, what)
            .hint("--force deletes the pool's definition and keeps its volumes"));
    }
    context.cancel.check_unchanged()?;
    if pool.active {
        context.host.stop_pool(name).map_err(|e| half_deleted(name, e))?;
    }
    context.host.undefine_pool(name).map_err(|e| half_deleted(name, e))
}

/// Returns whether a pool uses that directory, even by another path. This is only known on this machine.
fn is_at(context: &Context, pool: &Pool, path: &str) -> bool {
    let directory =
        pool.target.as_deref().filter(|_| PoolBackend::of(&pool.kind) == Some(PoolBackend::Files));
    directory.is_some_and(|target| is_same_file(context, target, path))
}

/// Finds another started pool with the same directory.
fn same_directory_pool(context: &Context, pool: &Pool) -> Result<Option<Pool>, Error> {
    let Some(path) = pool.target.as_deref().filter(|_| pool.kind == "dir") else { return Ok(None) };
    let mut others = context.host.pools()?.into_iter().filter(|p| p.active && p.name != pool.name);
    Ok(others.find(|other| is_at(context, other, path)))
}

/// The error for a deletion that stopped halfway. A pool must be stopped before it can be undefined, and a stopped pool
/// shows no volumes, so repeating the command needs `--force`.
fn half_deleted(name: &str, failed: HostError) -> Error {
    Error::from(failed)
        .outcome("the pool may be stopped by now")
        .outcome(Advice::from(Verb::PoolDelete { pool: name.into(), force: true }).text(" finishes it"))
}

/// Describes what is in a pool, as far as libvirt shows it; `None` if it is empty.
fn describe_contents(pool: &Pool, volumes: &[Volume]) -> Option<String> {
    let name = &pool.name;
    match volumes.len() {
        _ if !pool.active => Some(format!("pool '{name}' is not started, so its volumes cannot be seen")),
        0 => None,
        1 => Some(format!("pool '{name}' has 1 volume")),
        count => Some(format!("pool '{name}' has {count} volumes")),
    }
}
