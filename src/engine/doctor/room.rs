//! Checks free space and inodes, and over-committed disks.

use super::Check;
use super::facts::Facts;
use crate::storage::status::FileSystem;
use foundry_core::error::{Advice, Code, Verb};
use foundry_core::units::Bytes;
use foundry_host::Pool;

/// No VM fits into less.
const TOO_LITTLE: u64 = 1 << 30;
/// Of how many parts one must be left.
const SCARCE: u64 = 20;
/// The same for inodes, of which each disk takes one.
const SCARCE_INODES: u64 = 100;

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    let mut checks: Vec<Check> = facts
        .pools
        .iter()
        .flatten()
        .filter(|pool| pool.active && pool.capacity.0 > 0)
        .flat_map(|pool| [Some(room(facts, pool)), inodes(facts, pool)])
        .flatten()
        .collect();
    match &facts.storage {
        Ok(storage) => checks.extend(storage.file_systems.iter().filter_map(overcommit)),
        Err(why) => checks.push(Check::unknown("overcommit", why.clone())),
    }
    checks
}

/// What libvirt saw at its last look, or this machine's kernel now.
fn available(facts: &Facts, pool: &Pool) -> Bytes {
    let is_file_pool = facts.directories().iter().any(|(other, _)| other.name == pool.name);
    let directory =
        facts.local.as_ref().zip(pool.target.as_ref()).and_then(|(local, path)| local.directories.get(path));
    directory.filter(|_| is_file_pool).map_or(pool.available, |directory| Bytes(directory.available))
}

/// Only the pools that VMs get into by themselves can be a problem.
fn room(facts: &Facts, pool: &Pool) -> Check {
    const NAME: &str = "room";
    let available = available(facts, pool);
    let found = format!("{available} of {} available", pool.capacity);
    let is_default = facts.default_pools().contains(&pool.name.as_str());
    let check = if available.0 < TOO_LITTLE && is_default {
        Check::problem(NAME, found)
            .known_as(Code::OutOfSpace)
            .todo(Advice::from(Verb::ImagePrune).text(" removes images that nobody uses"))
    } else if available.0 < TOO_LITTLE || available.0 < pool.capacity.0 / SCARCE {
        Check::warning(NAME, found).todo(Advice::from(Verb::StorageStatus).text(" shows what takes it"))
    } else {
        Check::ok(NAME, found)
    };
    check.of(&pool.name)
}

/// `None` where the file system counts none, or has enough.
fn inodes(facts: &Facts, pool: &Pool) -> Option<Check> {
    const NAME: &str = "inodes";
    let (all, left) = facts.local.as_ref()?.directories.get(pool.target.as_deref()?)?.inodes;
    if all == 0 || left > all / SCARCE_INODES {
        return None;
    }
    let found = format!("{left} of {all} are left on its file system: no more files can be made than that");
    Some(
        if left == 0 {
            Check::problem(NAME, found).known_as(Code::OutOfSpace)
        } else {
            Check::warning(NAME, found)
        }
        .of(&pool.name)
        .todo("df -i shows it; remove small files, or put the pool elsewhere"),
    )
}

fn overcommit(system: &FileSystem) -> Option<Check> {
    let names = system.pools.join(", ");
    (system.overcommit > Bytes(0)).then(|| {
        Check::warning(
            "overcommit",
            format!(
                "the disks can grow by {}, and {} are available: their guests would stop",
                system.growth, system.available
            ),
        )
        .of(names)
        .todo(Advice::from(Verb::StorageStatus).text(" shows which"))
    })
}
