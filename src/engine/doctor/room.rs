//! Checks free space and inodes, and over-committed disks.

use super::HostCheck;
use super::facts::HostFacts;
use crate::storage::status::FileSystem;
use foundry_core::error::{Advice, Code, Verb};
use foundry_core::units::Bytes;
use foundry_host::Pool;

/// Minimum free space, in bytes. No VM fits into less.
const TOO_LITTLE: u64 = 1 << 30;
/// Warns if less than one part in this many is free.
const SCARCE: u64 = 20;
/// The same for inodes: one part in this many. Each disk takes one inode.
const SCARCE_INODES: u64 = 100;

pub(super) fn check_room(facts: &HostFacts) -> Vec<HostCheck> {
    let mut checks: Vec<HostCheck> = facts
        .pools
        .iter()
        .flatten()
        .filter(|pool| pool.active && pool.capacity.0 > 0)
        .flat_map(|pool| [Some(check_bytes(facts, pool)), check_inodes(facts, pool)])
        .flatten()
        .collect();
    match &facts.storage {
        Ok(storage) => checks.extend(storage.file_systems.iter().filter_map(check_overcommit)),
        Err(why) => checks.push(HostCheck::unknown("overcommit", why.clone())),
    }
    checks
}

/// The free bytes of a pool: from the kernel if the pool is a local directory, else as libvirt last saw it.
fn available_bytes(facts: &HostFacts, pool: &Pool) -> Bytes {
    let is_file_pool = facts.directory_pools().iter().any(|(other, _)| other.name == pool.name);
    let directory =
        facts.local.as_ref().zip(pool.target.as_ref()).and_then(|(local, path)| local.directories.get(path));
    directory.filter(|_| is_file_pool).map_or(pool.available, |directory| Bytes(directory.available))
}

/// Too little space is a problem only in the default pools; another pool is used only if a manifest names it.
fn check_bytes(facts: &HostFacts, pool: &Pool) -> HostCheck {
    const NAME: &str = "room";
    let available = available_bytes(facts, pool);
    let found = format!("{available} of {} available", pool.capacity);
    let is_default = facts.default_pools().contains(&pool.name.as_str());
    let check = if available.0 < TOO_LITTLE && is_default {
        HostCheck::problem(NAME, found)
            .with_code(Code::OutOfSpace)
            .add_advice(Advice::from(Verb::ImagePrune).text(" deletes unused images"))
    } else if available.0 < TOO_LITTLE || available.0 < pool.capacity.0 / SCARCE {
        HostCheck::warning(NAME, found)
            .add_advice(Advice::from(Verb::StorageStatus).text(" shows what uses the space"))
    } else {
        HostCheck::ok(NAME, found)
    };
    check.about(&pool.name)
}

/// `None` if the file system does not count inodes, or has enough of them.
fn check_inodes(facts: &HostFacts, pool: &Pool) -> Option<HostCheck> {
    const NAME: &str = "inodes";
    let (all, left) = facts.local.as_ref()?.directories.get(pool.target.as_deref()?)?.inodes;
    if all == 0 || left > all / SCARCE_INODES {
        return None;
    }
    let found = format!("{left} of {all} inodes free on its file system; each new file needs one");
    Some(
        if left == 0 {
            HostCheck::problem(NAME, found).with_code(Code::OutOfSpace)
        } else {
            HostCheck::warning(NAME, found)
        }
        .about(&pool.name)
        .add_advice("df -i shows them; delete small files, or put the pool elsewhere"),
    )
}

fn check_overcommit(system: &FileSystem) -> Option<HostCheck> {
    let names = system.pools.join(", ");
    (system.overcommit > Bytes(0)).then(|| {
        HostCheck::warning(
            "overcommit",
            format!(
                "the disks can grow by {}, but only {} are available; guests pause if it runs out",
                system.growth, system.available
            ),
        )
        .about(names)
        .add_advice(Advice::from(Verb::StorageStatus).text(" shows which"))
    })
}
