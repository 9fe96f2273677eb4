//! Pools, as the controller serves them.

use foundry_core::error::Error;
use foundry_runner::{EpochSeconds, PoolWish};
use rusqlite::Row;

use crate::database::JobDatabase;

/// A pool, as the controller saw it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    /// Its name.
    pub name: String,
    /// What it does.
    pub mode: PoolWish,
    /// How many runners wait for jobs.
    pub min_idle: usize,
    /// The most runners.
    pub max: usize,
    /// Labels of its runners.
    pub labels: Vec<String>,
    /// Why it does not work as it should.
    pub trouble: Option<String>,
    /// When the forge answered last.
    pub forge_answered: Option<EpochSeconds>,
    /// When the controller looked last.
    pub seen: EpochSeconds,
}

impl JobDatabase {
    /// Notes a pool.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn record_pool(&self, pool: &PoolRow) -> Result<(), Error> {
        const SQL: &str = "insert into pools (name, mode, min_idle, max, labels, trouble, forge_at, seen_at)
            values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            on conflict (name) do update set mode = excluded.mode, min_idle = excluded.min_idle, max = excluded.max,
              labels = excluded.labels, trouble = excluded.trouble,
              forge_at = coalesce(excluded.forge_at, pools.forge_at), seen_at = excluded.seen_at";
        let labels = serde_json::json!(pool.labels).to_string();
        let values = (
            &pool.name,
            pool.mode.as_str(),
            pool.min_idle,
            pool.max,
            labels,
            &pool.trouble,
            pool.forge_answered,
            pool.seen,
        );
        self.told(self.connection.prepare_cached(SQL).and_then(|mut sql| sql.execute(values)))?;
        Ok(())
    }

    /// Lists the pools by name.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn list_pools(&self) -> Result<Vec<PoolRow>, Error> {
        self.read_all("select * from pools order by name", read_pool)
    }

    /// Forgets a pool that has no manifest and no VM any more, with what users wanted of it. Its history stays.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn forget_pool(&self, name: &str) -> Result<(), Error> {
        self.told(self.connection.execute("delete from pools where name = ?1", [name]))?;
        self.clear_pool_override(name)
    }
}

fn read_pool(row: &Row<'_>) -> rusqlite::Result<PoolRow> {
    let (mode, labels): (String, String) = (row.get("mode")?, row.get("labels")?);
    Ok(PoolRow {
        name: row.get("name")?,
        mode: PoolWish::from_word(&mode).unwrap_or_default(),
        min_idle: row.get("min_idle")?,
        max: row.get("max")?,
        labels: serde_json::from_str(&labels).unwrap_or_default(),
        trouble: row.get("trouble")?,
        forge_answered: row.get("forge_at")?,
        seen: row.get("seen_at")?,
    })
}
