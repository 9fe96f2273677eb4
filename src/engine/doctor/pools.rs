//! Checks the pools: the two default ones exist, are started and autostart; the others are started.

use super::Check;
use super::facts::Facts;
use foundry_core::error::{Advice, Code, Verb};
use foundry_host::Pool;

const NAME: &str = "pool";

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    let pools = match &facts.pools {
        Ok(pools) => pools,
        Err(why) => return vec![Check::problem(NAME, why.clone())],
    };
    let defaults = facts.default_pools();
    let others = pools.iter().filter(|pool| !defaults.contains(&pool.name.as_str()));
    let default = |name: &str| match pools.iter().find(|pool| pool.name == name) {
        Some(pool) => judge(pool),
        None => missing(facts, name),
    };
    defaults.into_iter().map(default).chain(others.map(judge)).collect()
}

fn missing(facts: &Facts, name: &str) -> Check {
    match facts.settings.default_target(name, &facts.uri) {
        Some(target) => Check::ok(NAME, format!("is made on its first use, in {target}")).of(name),
        None => Check::problem(NAME, "there is no such pool")
            .known_as(Code::PoolMissing)
            .of(name)
            .todo(Verb::PoolAdd { pool: name.into() }),
    }
}

fn judge(pool: &Pool) -> Check {
    let start = Verb::PoolStart { pool: pool.name.clone() };
    let place = pool.target.as_deref().map(|target| format!(" at {target}")).unwrap_or_default();
    match (pool.active, pool.autostart) {
        (true, true) => Check::ok(NAME, format!("{}{place}, starts with the host", pool.kind)),
        (true, false) => Check::warning(NAME, format!("{}{place} does not start with the host", pool.kind))
            .todo(Advice::from(start).text(" --autostart")),
        (false, _) => Check::warning(NAME, format!("{}{place} is not started", pool.kind))
            .todo(Advice::from(start).text(" --autostart")),
    }
    .of(&pool.name)
}
