//! Runners, also those that are gone.

use foundry_core::error::Error;
use foundry_core::record::{RunnerNote, RunnerState};
use foundry_runner::EpochSeconds;
use rusqlite::{OptionalExtension as _, Row};

use crate::database::JobDatabase;

/// What a look at a pool's VMs brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunnerChanges {
    /// Runners whose VMs are gone.
    pub gone: Vec<RunnerHistory>,
    /// For each runner that is online at the forge for the first time: how long it took, in seconds.
    pub started: Vec<u64>,
}

/// What is known of a runner over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerHistory {
    /// Its name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// The word for its last state; `gone` if its VM is gone.
    pub state: String,
    /// When its VM was asked for.
    pub made: EpochSeconds,
    /// When it came into its state.
    pub since: EpochSeconds,
    /// When it was online at the forge.
    pub ready: Option<EpochSeconds>,
    /// When its job was seen first.
    pub busy: Option<EpochSeconds>,
    /// When its VM was gone.
    pub gone: Option<EpochSeconds>,
    /// Why it ended.
    pub reason: Option<String>,
}

const COLUMNS: &str = "name, pool, state, made_at, since, ready_at, busy_at, gone_at, reason";

impl JobDatabase {
    /// Notes the VMs that a pool has now; those that it had and are not among them are gone.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn record_runners(
        &mut self,
        pool: &str,
        present: &[(String, RunnerNote)],
        now: EpochSeconds,
    ) -> Result<RunnerChanges, Error> {
        let known = self.list_present_runners(Some(pool))?;
        let is_present = |one: &RunnerHistory| present.iter().any(|(name, _)| *name == one.name);
        let gone: Vec<RunnerHistory> = known.iter().filter(|one| !is_present(one)).cloned().collect();
        let is_new = |name: &str, note: &RunnerNote| {
            known.iter().find(|one| one.name == name).is_none_or(|one| one.state != note.state.as_str())
        };
        let news: Vec<_> = present.iter().filter(|(name, note)| is_new(name, note)).collect();
        // A round in which nothing happened writes nothing.
        if gone.is_empty() && news.is_empty() {
            return Ok(RunnerChanges::default());
        }
        let was_ready = |name: &str| known.iter().any(|one| one.name == name && one.ready.is_some());
        let started = news.iter().filter(|(name, note)| is_ready(note) && !was_ready(name));
        let started = started.map(|(_, note)| note.since.saturating_sub(note.made)).collect();
        let written = self.connection.transaction().and_then(|change| {
            for (name, note) in &news {
                change.prepare_cached(UPSERT)?.execute((
                    name,
                    pool,
                    note.state.as_str(),
                    note.made,
                    note.since,
                    is_ready(note).then_some(note.since),
                    (note.state == RunnerState::Busy).then_some(note.since),
                    note.reason.map(|reason| reason.as_str()),
                ))?;
            }
            for one in &gone {
                const GONE: &str =
                    "update runners set state = 'gone', since = ?2, gone_at = ?2 where name = ?1";
                change.prepare_cached(GONE)?.execute((&one.name, now))?;
                change.execute("delete from runner_wishes where runner = ?1", [&one.name])?;
            }
            change.commit()
        });
        self.told(written)?;
        Ok(RunnerChanges { gone, started })
    }

    /// Lists the runners whose VMs are there, of one pool or of all.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn list_present_runners(&self, pool: Option<&str>) -> Result<Vec<RunnerHistory>, Error> {
        let sql = format!(
            "select {COLUMNS} from runners where gone_at is null and (?1 is null or pool = ?1) order by pool, name"
        );
        self.told(
            self.connection
                .prepare_cached(&sql)
                .and_then(|mut sql| sql.query_map([pool], read_runner)?.collect()),
        )
    }

    /// Finds a runner, also one that is gone.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn find_runner(&self, name: &str) -> Result<Option<RunnerHistory>, Error> {
        let sql = format!("select {COLUMNS} from runners where name = ?1");
        self.told(self.connection.query_row(&sql, [name], read_runner).optional())
    }
}

/// A runner may become busy between two looks, so it counts as ready then, too.
fn is_ready(note: &RunnerNote) -> bool {
    matches!(note.state, RunnerState::Idle | RunnerState::Busy)
}

const UPSERT: &str = "insert into runners (name, pool, state, made_at, since, ready_at, busy_at, reason)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    on conflict (name) do update set state = excluded.state, since = excluded.since,
      ready_at = coalesce(runners.ready_at, excluded.ready_at),
      busy_at = coalesce(runners.busy_at, excluded.busy_at), reason = excluded.reason";

fn read_runner(row: &Row<'_>) -> rusqlite::Result<RunnerHistory> {
    Ok(RunnerHistory {
        name: row.get("name")?,
        pool: row.get("pool")?,
        state: row.get("state")?,
        made: row.get("made_at")?,
        since: row.get("since")?,
        ready: row.get("ready_at")?,
        busy: row.get("busy_at")?,
        gone: row.get("gone_at")?,
        reason: row.get("reason")?,
    })
}
