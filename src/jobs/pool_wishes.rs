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

    /// Notes what a user wants a pool to do; `None`: what its manifest says.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn set_mode_override(&self, pool: &str, mode: Option<PoolWish>) -> Result<(), Error> {
        const SQL: &str = "insert into pool_wishes (pool, mode) values (?1, ?2)
            on conflict (pool) do update set mode = excluded.mode";
        self.told(self.connection.execute(SQL, (pool, mode.map(PoolWish::as_str))))?;
        Ok(())
    }

    /// Notes what numbers of runners a user wants. What is `None` stays as it was wanted.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn set_size_override(
        &self,
        pool: &str,
        min_idle: Option<usize>,
        max: Option<usize>,
    ) -> Result<(), Error> {
        const SQL: &str = "insert into pool_wishes (pool, min_idle, max) values (?1, ?2, ?3)
            on conflict (pool) do update set min_idle = coalesce(excluded.min_idle, pool_wishes.min_idle),
              max = coalesce(excluded.max, pool_wishes.max)";
        self.told(self.connection.execute(SQL, (pool, min_idle, max)))?;
        Ok(())
    }

    /// Forgets what numbers a user wanted.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn clear_size_override(&self, pool: &str) -> Result<(), Error> {
        const SQL: &str = "update pool_wishes set min_idle = null, max = null where pool = ?1";
        self.told(self.connection.execute(SQL, [pool]))?;
        Ok(())
    }

    /// Forgets all that users wanted of a pool.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn clear_pool_override(&self, pool: &str) -> Result<(), Error> {
        self.told(self.connection.execute("delete from pool_wishes where pool = ?1", [pool]))?;
        Ok(())
    }

    /// Notes what a user wants of a runner. A stronger wish stays.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn add_runner_wish(&self, runner: &str, wish: RunnerWish) -> Result<(), Error> {
        const RANK: &str = "case %.wish when 'replace' then 0 when 'leave' then 1 else 2 end";
        let is_stronger =
            format!("{} > {}", RANK.replace('%', "excluded"), RANK.replace('%', "runner_wishes"));
        let sql = format!(
            "insert into runner_wishes (runner, wish) values (?1, ?2)
             on conflict (runner) do update set wish = excluded.wish where {is_stronger}"
        );
        self.told(self.connection.execute(&sql, (runner, wish.as_str())))?;
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
