//! What users want of pools and runners, until they want something else.

use std::collections::BTreeMap;

use foundry_core::error::Error;
use foundry_runner::{PoolWish, RunnerWish};
use rusqlite::OptionalExtension as _;

use crate::database::JobDatabase;

/// What a user wants of a pool in place of its manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolOverride {
    /// What it does.
    pub mode: Option<PoolWish>,
    /// How many runners wait for jobs.
    pub min_idle: Option<usize>,
    /// The most runners.
    pub max: Option<usize>,
}

impl JobDatabase {
    /// What a user wants of a pool.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn pool_override(&self, pool: &str) -> Result<PoolOverride, Error> {
        let found = self
            .connection
            .query_row("select mode, min_idle, max from pool_wishes where pool = ?1", [pool], |row| {
                let mode: Option<String> = row.get(0)?;
                let mode = mode.as_deref().and_then(PoolWish::from_word);
                Ok(PoolOverride { mode, min_idle: row.get(1)?, max: row.get(2)? })
            })
            .optional();
        Ok(self.told(found)?.unwrap_or_default())
    }

    /// Notes what a user wants of a pool in place of what was wanted.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn set_pool_override(&self, pool: &str, wanted: PoolOverride) -> Result<(), Error> {
        const SQL: &str = "insert into pool_wishes (pool, mode, min_idle, max) values (?1, ?2, ?3, ?4)
            on conflict (pool) do update set mode = excluded.mode, min_idle = excluded.min_idle, max = excluded.max";
        let mode = wanted.mode.map(PoolWish::as_str);
        self.told(self.connection.execute(SQL, (pool, mode, wanted.min_idle, wanted.max)))?;
        Ok(())
    }

    /// Notes what a user wants of a runner. A stronger wish stays.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn add_runner_wish(&self, runner: &str, wish: RunnerWish) -> Result<(), Error> {
        let strongest = self.runner_wishes()?.get(runner).copied().map_or(wish, |noted| noted.max(wish));
        const SQL: &str = "insert or replace into runner_wishes (runner, wish) values (?1, ?2)";
        self.told(self.connection.execute(SQL, (runner, strongest.as_str())))?;
        Ok(())
    }

    /// What users want of single runners.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn runner_wishes(&self) -> Result<BTreeMap<String, RunnerWish>, Error> {
        let rows = self.read_all("select runner, wish from runner_wishes", |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        let known =
            rows.into_iter().filter_map(|(runner, word)| Some((runner, RunnerWish::from_word(&word)?)));
        Ok(known.collect())
    }
}
