//! Checks whether the QEMU user can reach the directories of the pools.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::error::Code;
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::let_pass;
use foundry_host::local::{LocalFacts, PoolDirectory};
use foundry_host::local::{UnixPermissions, User};

const NAME: &str = "pool-path";

pub(super) fn check_permissions(facts: &HostFacts) -> Vec<HostCheck> {
    let Some(local) = &facts.local else { return Vec::new() };
    let Some(user) = qemu_user(facts) else {
        return vec![HostCheck::unknown(NAME, "libvirt does not report the user that runs QEMU")];
    };
    let mut checks: Vec<HostCheck> = facts
        .directory_pools()
        .iter()
        .filter_map(|(pool, path)| {
            let directory = local.directories.get(*path)?;
            Some(check_directory(local, &user, directory).about(&pool.name))
        })
        .collect();
    checks.extend(pools_to_make(facts).into_iter().filter_map(|(name, path)| {
        let directory = local.directories.get(&path)?;
        // A directory that does not exist yet is only reported if there is a problem.
        Some(check_directory(local, &user, directory).about(name))
            .filter(|check| check.state != super::CheckState::Ok)
    }));
    checks
}

/// The default pools that do not exist yet, each with its future directory.
fn pools_to_make(facts: &HostFacts) -> Vec<(&str, String)> {
    let known = facts.pools.as_deref().unwrap_or_default();
    let missing =
        facts.default_pools().into_iter().filter(|name| !known.iter().any(|pool| pool.name == *name));
    missing.filter_map(|name| Some((name, facts.settings.default_target(name, &facts.uri)?))).collect()
}

fn check_directory(local: &LocalFacts, user: &User, directory: &PoolDirectory) -> HostCheck {
    let name = local.accounts.name_of(user.uid);
    let Some(way) = &directory.components else {
        return HostCheck::unknown(NAME, format!("this user may not look into {}", directory.real));
    };
    match way.iter().find(|(_, rights)| !user.may_pass(rights)) {
        None => HostCheck::ok(NAME, format!("the QEMU user {name} can reach {}", directory.real)),
        Some((entered, UnixPermissions { has_acl: true, .. })) => HostCheck::unknown(
            NAME,
            format!("an access control list decides whether {name} may enter {entered}"),
        )
        .add_advice(format!("getfacl {}", quote_for_shell(entered))),
        Some((entered, rights)) => HostCheck::problem(
            NAME,
            format!("the QEMU user {name} may not enter {entered} (mode {:o})", rights.mode & 0o7777),
        )
        .with_code(Code::PoolUnreadable)
        .add_advice(let_pass(&name, user.class_of(rights), entered)),
    }
}

/// The user that guests run as. The system's libvirt reports it; a session's guests run as the calling user.
pub(super) fn qemu_user(facts: &HostFacts) -> Option<User> {
    let local = facts.local.as_ref()?;
    if facts.is_session {
        return Some(local.user.clone());
    }
    let (uid, gid) = facts.capabilities.guest_ids()?;
    Some(local.accounts.user_with_groups(uid, gid))
}
