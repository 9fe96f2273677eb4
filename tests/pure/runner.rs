//! Pools of runners: what is decided, and a whole life of pools with every fault mixed in.

mod command_forge;
mod commands;
mod database;
mod decide;
mod forgejo;
mod gitea;
mod github;
mod github_app;
mod listener;
mod manifest;
mod on_host;
mod simulation;
mod usual_runner;
mod world;

use foundry_runner::{PoolRules, PoolTimeouts, RetryRules};

/// The rules of a pool of up to four.
fn rules() -> PoolRules {
    PoolRules {
        name: "ci".into(),
        min_idle: 1,
        max: 4,
        max_starting: 2,
        template: "t1".into(),
        owner_label: "foundry-here".into(),
        timeouts: PoolTimeouts::default(),
        retry: RetryRules::default(),
        keep_failed: 1,
        keep_failed_for: 600,
    }
}
