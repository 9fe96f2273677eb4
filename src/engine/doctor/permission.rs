//! Checks whether the QEMU user can reach the directories of the pools.

use super::Check;
use super::facts::Facts;
use super::local::{Directory, Local};
use crate::rights::{Rights, User};
use foundry_core::error::Code;
use foundry_core::text::quote_for_shell;
use foundry_host::diagnosis::let_pass;

const NAME: &str = "pool-path";

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    let Some(local) = &facts.local else { return Vec::new() };
    let Some(user) = qemu_user(facts) else {
        return vec![Check::unknown(NAME, "libvirt does not say as whom guests run")];
    };
    let mut checks: Vec<Check> = facts
        .directories()
        .iter()
        .filter_map(|(pool, path)| {
            let directory = local.directories.get(*path)?;
            Some(judge(local, &user, directory).of(&pool.name))
        })
        .collect();
    checks.extend(planned(facts).into_iter().filter_map(|(name, path)| {
        let directory = local.directories.get(&path)?;
        // Where everything is well there is nothing to say of a directory that does not exist.
        Some(judge(local, &user, directory).of(name)).filter(|check| check.state != super::State::Ok)
    }));
    checks
}

/// The default pools that are made on first use.
fn planned(facts: &Facts) -> Vec<(&str, String)> {
    let known = facts.pools.as_deref().unwrap_or_default();
    let missing =
        facts.default_pools().into_iter().filter(|name| !known.iter().any(|pool| pool.name == *name));
    missing.filter_map(|name| Some((name, facts.settings.default_target(name, &facts.uri)?))).collect()
}

fn judge(local: &Local, user: &User, directory: &Directory) -> Check {
    let name = local.accounts.name_of(user.uid);
    let Some(way) = &directory.way else {
        return Check::unknown(NAME, format!("this user cannot look at {}", directory.real));
    };
    match way.iter().find(|(_, rights)| !user.may_pass(rights)) {
        None => Check::ok(NAME, format!("{name}, as whom guests run, reaches {}", directory.real)),
        Some((step, Rights { has_acl: true, .. })) => {
            Check::unknown(NAME, format!("whether {name} may pass {step} is said by its access list"))
                .todo(format!("getfacl {}", quote_for_shell(step)))
        }
        Some((step, rights)) => Check::problem(
            NAME,
            format!("{name}, as whom guests run, may not pass {step} (mode {:o})", rights.mode & 0o7777),
        )
        .known_as(Code::PoolUnreadable)
        .todo(let_pass(&name, user.class_of(rights), step)),
    }
}

/// The user that guests run as: libvirt says so of the system's, and a session's run as whoever asks.
pub(super) fn qemu_user(facts: &Facts) -> Option<User> {
    let local = facts.local.as_ref()?;
    if facts.is_session {
        return Some(local.user.clone());
    }
    let (uid, gid) = facts.capabilities.guest_ids()?;
    Some(local.accounts.user(uid, gid))
}
