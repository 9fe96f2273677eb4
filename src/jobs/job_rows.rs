//! Jobs.

use std::collections::{BTreeMap, BTreeSet};

use foundry_core::error::Error;
use foundry_runner::{EpochSeconds, JobEvent, JobState};
use rusqlite::{OptionalExtension as _, Row, named_params};

use crate::database::JobDatabase;

/// A job, as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// What its events said.
    pub event: JobEvent,
    /// The pool that it counts for.
    pub pool: Option<String>,
}

/// Which jobs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this pool.
    pub pool: Option<String>,
    /// Of this repository.
    pub repository: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
    /// How many to skip.
    pub skip: usize,
    /// How many at most.
    pub limit: usize,
}

/// Some of the jobs, the latest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// How many there are in all.
    pub total: usize,
}

const COLUMNS: &str = "forge, id, repository, workflow, name, url, labels, state, runner, result, queued_at, \
    started_at, ended_at, pool";

/// How long after its end a job can be waiting again, in seconds. An event that is only late comes sooner.
const REOPENED_AFTER: EpochSeconds = 15;

impl JobRow {
    /// Whether its end was not reported, only supposed.
    pub fn is_supposed(&self) -> bool {
        matches!(self.event.result.as_deref(), Some(LOST | EXPIRED))
    }
}

/// The result of a job whose runner is gone, and whose end was not reported.
const LOST: &str = "lost";
/// The result of a job that has waited too long.
const EXPIRED: &str = "expired";

impl JobDatabase {
    /// Notes what an event says. A job only goes forward: an event that is late or comes twice changes nothing but what
    /// was not known. `pool` is the pool that it counts for, if it is new.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn record_event(&self, event: &JobEvent, pool: Option<&str>, now: EpochSeconds) -> Result<(), Error> {
        if event.reopens && event.state == JobState::Queued {
            const FORGET: &str = "delete from jobs where forge = ?1 and id = ?2 and state = 'completed'
                and ended_at < ?3";
            let before = now.saturating_sub(REOPENED_AFTER);
            self.told(self.connection.execute(FORGET, (&event.forge, &event.id, before)))?;
        }
        // The words of the states are in the order of a life only by this number.
        const RANK: &str = "case %.state when 'queued' then 0 when 'running' then 1 else 2 end";
        let later = format!("{} >= {}", RANK.replace('%', "excluded"), RANK.replace('%', "jobs"));
        let sql = format!(
            "insert into jobs (forge, id, repository, workflow, name, url, labels, pool, state, runner, result,
               queued_at, started_at, ended_at, updated_at)
             values (:forge, :id, :repository, :workflow, :name, :url, :labels, :pool, :state, :runner, :result,
               :queued, :started, :ended, :now)
             on conflict (forge, id) do update set
               state = case when {later} then excluded.state else jobs.state end,
               runner = coalesce(jobs.runner, excluded.runner),
               result = coalesce(excluded.result, jobs.result),
               pool = coalesce(jobs.pool, excluded.pool),
               queued_at = min(jobs.queued_at, excluded.queued_at),
               started_at = coalesce(jobs.started_at, excluded.started_at),
               ended_at = coalesce(jobs.ended_at, excluded.ended_at),
               updated_at = excluded.updated_at"
        );
        let labels = serde_json::json!(event.labels).to_string();
        let state = event.state.as_str();
        let values = named_params! {
            ":forge": event.forge, ":id": event.id, ":repository": event.repository, ":workflow": event.workflow,
            ":name": event.name, ":url": event.url, ":labels": labels, ":pool": pool, ":state": state,
            ":runner": event.runner, ":result": event.result, ":queued": event.queued, ":started": event.started,
            ":ended": event.ended, ":now": now,
        };
        self.told(self.connection.prepare_cached(&sql).and_then(|mut sql| sql.execute(values)))?;
        Ok(())
    }

    /// Counts the jobs of each pool that wait for a runner.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn count_queued(&self) -> Result<BTreeMap<String, usize>, Error> {
        const SQL: &str =
            "select pool, count(*) from jobs where state = 'queued' and pool is not null group by pool";
        self.read_all(SQL, |row| Ok((row.get(0)?, row.get(1)?))).map(|rows| rows.into_iter().collect())
    }

    /// Lists the names of the runners on which a job runs.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn list_runners_at_work(&self) -> Result<BTreeSet<String>, Error> {
        const SQL: &str = "select runner from jobs where state = 'running' and runner is not null";
        self.read_all(SQL, |row| row.get(0)).map(|rows| rows.into_iter().collect())
    }

    /// Ends the jobs of a pool that wait and were not heard of since a time.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn expire_jobs(&self, pool: &str, before: EpochSeconds, now: EpochSeconds) -> Result<usize, Error> {
        const SQL: &str =
            "update jobs set state = 'completed', result = 'expired', ended_at = ?3, updated_at = ?3
            where state = 'queued' and pool = ?1 and updated_at < ?2";
        self.told(self.connection.execute(SQL, (pool, before, now)))
    }

    /// The same for jobs of pools that are not known any more.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn expire_forgotten_jobs(&self, before: EpochSeconds, now: EpochSeconds) -> Result<usize, Error> {
        const SQL: &str = "update jobs set state = 'completed', result = 'expired', ended_at = ?2, updated_at = ?2
            where state = 'queued' and updated_at < ?1 and (pool is null or pool not in (select name from pools))";
        self.told(self.connection.execute(SQL, (before, now)))
    }

    /// Lists the jobs that wait, of all pools.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn list_queued(&self) -> Result<Vec<JobRow>, Error> {
        let sql = format!("select {COLUMNS} from jobs where state = 'queued' and pool is not null");
        self.read_all(&sql, read_job)
    }

    /// Lets a job that waits count for another pool.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn set_job_pool(&self, job: &JobEvent, pool: &str) -> Result<(), Error> {
        const SQL: &str = "update jobs set pool = ?3 where forge = ?1 and id = ?2 and state = 'queued'";
        self.told(self.connection.execute(SQL, (&job.forge, &job.id, pool)))?;
        Ok(())
    }

    /// Ends the jobs whose runner was of this controller and is gone: the event that would tell their end was lost, or is
    /// still to come and will tell the result.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn end_lost_jobs(&self, now: EpochSeconds) -> Result<usize, Error> {
        const SQL: &str =
            "update jobs set state = 'completed', result = 'lost', ended_at = ?1, updated_at = ?1
            where state = 'running'
              and exists (select 1 from runners where name = jobs.runner and gone_at is not null)";
        self.told(self.connection.execute(SQL, [now]))
    }

    /// Lists jobs, the latest first.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn list_jobs(&self, filter: &JobFilter) -> Result<JobPage, Error> {
        const WHERE: &str = "from jobs where (:pool is null or pool = :pool)
            and (:repository is null or repository = :repository collate nocase)
            and (:state is null or state = :state)";
        let state = filter.state.map(JobState::as_str);
        let (skip, limit) = (to_i64(filter.skip), to_i64(filter.limit));
        let read = || {
            let chosen =
                named_params! { ":pool": filter.pool, ":repository": filter.repository, ":state": state };
            let total = self
                .connection
                .prepare_cached(&format!("select count(*) {WHERE}"))?
                .query_row(chosen, |row| row.get::<_, usize>(0))?;
            let sql = format!(
                "select {COLUMNS} {WHERE} order by queued_at desc, id desc limit :limit offset :skip"
            );
            let chosen = named_params! { ":pool": filter.pool, ":repository": filter.repository, ":state": state,
            ":limit": limit, ":skip": skip };
            let mut sql = self.connection.prepare_cached(&sql)?;
            let jobs = sql.query_map(chosen, read_job)?.collect::<rusqlite::Result<Vec<JobRow>>>()?;
            Ok(JobPage { jobs, total })
        };
        self.told(read())
    }

    /// Finds a job of a forge.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn find_job(&self, forge: &str, id: &str) -> Result<Option<JobRow>, Error> {
        let sql = format!("select {COLUMNS} from jobs where forge = ?1 and id = ?2");
        let found = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut sql| sql.query_row([forge, id], read_job).optional());
        self.told(found)
    }

    /// Finds the jobs with an id: one, unless two forges gave the same.
    ///
    /// # Errors
    /// [`foundry_core::error::Code::JobDatabaseUnusable`].
    pub fn find_jobs(&self, id: &str) -> Result<Vec<JobRow>, Error> {
        let sql = format!("select {COLUMNS} from jobs where id = ?1");
        self.told(
            self.connection.prepare_cached(&sql).and_then(|mut sql| sql.query_map([id], read_job)?.collect()),
        )
    }

    pub(crate) fn read_all<T>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        self.told(self.connection.prepare_cached(sql).and_then(|mut sql| sql.query_map([], read)?.collect()))
    }
}

/// Counts and limits fit; SQLite's numbers have 63 bits.
fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn read_job(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    let state: String = row.get("state")?;
    let labels: String = row.get("labels")?;
    let event = JobEvent {
        forge: row.get("forge")?,
        id: row.get("id")?,
        repository: row.get("repository")?,
        workflow: row.get("workflow")?,
        name: row.get("name")?,
        url: row.get("url")?,
        labels: serde_json::from_str(&labels).unwrap_or_default(),
        state: JobState::ALL.into_iter().find(|one| one.as_str() == state).unwrap_or(JobState::Completed),
        runner: row.get("runner")?,
        result: row.get("result")?,
        queued: row.get("queued_at")?,
        started: row.get("started_at")?,
        ended: row.get("ended_at")?,
        reopens: false,
    };
    Ok(JobRow { event, pool: row.get("pool")? })
}
