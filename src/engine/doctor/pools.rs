//! Checks the pools: whether the two default pools exist, and whether all pools are started and start with the host.

use super::HostCheck;
use super::facts::HostFacts;
use foundry_core::error::{Advice, Code, Verb};
use foundry_host::Pool;

const NAME: &str = "pool";

pub(super) fn check_pools(facts: &HostFacts) -> Vec<HostCheck> {
    let pools = match &facts.pools {
        Ok(pools) => pools,
        Err(why) => return vec![HostCheck::problem(NAME, why.clone())],
    };
    let defaults = facts.default_pools();
    let others = pools.iter().filter(|pool| !defaults.contains(&pool.name.as_str()));
    let default = |name: &str| match pools.iter().find(|pool| pool.name == name) {
        Some(pool) => check_pool_state(pool),
        None => check_missing_pool(facts, name),
    };
    defaults.into_iter().map(default).chain(others.map(check_pool_state)).collect()
}

fn check_missing_pool(facts: &HostFacts, name: &str) -> HostCheck {
    match facts.settings.default_target(name, &facts.uri) {
        Some(target) => HostCheck::ok(NAME, format!("created on first use, in {target}")).about(name),
        None => HostCheck::problem(NAME, "no such pool")
            .with_code(Code::PoolMissing)
            .about(name)
            .add_advice(Verb::PoolAdd { pool: name.into() }),
    }
}

fn check_pool_state(pool: &Pool) -> HostCheck {
    let start = Verb::PoolStart { pool: pool.name.clone() };
    let place = pool.target.as_deref().map(|target| format!(" at {target}")).unwrap_or_default();
    match (pool.active, pool.autostart) {
        (true, true) => HostCheck::ok(NAME, format!("{}{place}, starts with the host", pool.kind)),
        (true, false) => {
            HostCheck::warning(NAME, format!("{}{place} does not start with the host", pool.kind))
                .add_advice(Advice::from(start).text(" --autostart"))
        }
        (false, _) => HostCheck::warning(NAME, format!("{}{place} is not started", pool.kind))
            .add_advice(Advice::from(start).text(" --autostart")),
    }
    .about(&pool.name)
}
