//! The database of jobs: what events, looks and wishes leave in it.

use foundry::record::{RetireReason, RunnerNote, RunnerState};
use foundry_jobs::{JobDatabase, JobFilter, PoolOverride, PoolRow};
use foundry_runner::{JobEvent, JobState, PoolWish, RunnerWish};
use proptest::prelude::*;
use tempfile::TempDir;

const NOW: u64 = 1_800_000_000;

fn database(directory: &TempDir) -> JobDatabase {
    JobDatabase::open(&directory.path().join("runner.db")).unwrap()
}

pub(super) fn job(id: &str, state: JobState) -> JobEvent {
    JobEvent {
        forge: "forge.example".into(),
        id: id.into(),
        repository: "acme/shop".into(),
        workflow: "ci".into(),
        name: "build".into(),
        url: String::new(),
        labels: vec!["linux".into()],
        state,
        runner: (state == JobState::Running).then(|| format!("ci-{id}")),
        result: (state == JobState::Completed).then(|| "success".into()),
        queued: NOW,
        started: (state == JobState::Running).then_some(NOW + 10),
        ended: (state == JobState::Completed).then_some(NOW + 100),
        reopens: false,
    }
}

fn pool(name: &str) -> PoolRow {
    PoolRow {
        name: name.into(),
        mode: PoolWish::Serve,
        min_idle: 1,
        max: 4,
        labels: vec!["linux".into()],
        trouble: None,
        forge_answered: Some(NOW),
        seen: NOW,
    }
}

proptest! {
    /// Whatever comes twice, late or in another order: the end is the same.
    #[test]
    fn events_in_any_order_give_the_same_job(order in proptest::collection::vec(0usize..3, 1..12)) {
        let directory = TempDir::new().unwrap();
        let database = database(&directory);
        for at in &order {
            database.record_event(&job("7", JobState::ALL[*at]), Some("ci"), NOW).unwrap();
        }
        let row = database.find_jobs("7").unwrap().remove(0);
        let latest = order.iter().max().unwrap();
        prop_assert_eq!(row.event.state, JobState::ALL[*latest]);
        prop_assert_eq!(row.event.runner.is_some(), order.contains(&1));
        prop_assert_eq!(row.event.result.is_some(), order.contains(&2));
        let queued = database.count_queued().unwrap().get("ci").copied().unwrap_or_default();
        prop_assert_eq!(queued, usize::from(*latest == 0));
        prop_assert_eq!(database.list_runners_at_work().unwrap().len(), usize::from(*latest == 1));
    }
}

#[test]
fn a_job_that_is_not_heard_of_again_ends() {
    let directory = TempDir::new().unwrap();
    let mut database = database(&directory);
    // The first was created long ago, as was the second, of which an event came just now: it waited for an approval.
    for (id, state, heard) in
        [("1", JobState::Queued, NOW - 90_000), ("2", JobState::Queued, NOW), ("3", JobState::Running, NOW)]
    {
        let queued = if state == JobState::Queued { NOW - 90_000 } else { NOW };
        database.record_event(&JobEvent { queued, ..job(id, state) }, Some("ci"), heard).unwrap();
    }
    assert_eq!(database.expire_jobs("other", NOW - 86_400, NOW).unwrap(), 0);
    assert_eq!(database.expire_jobs("ci", NOW - 86_400, NOW).unwrap(), 1);
    database.record_event(&job("4", JobState::Queued), Some("gone"), NOW - 90_000).unwrap();
    database.record_pool(&pool("ci")).unwrap();
    assert_eq!(database.expire_forgotten_jobs(NOW - 86_400, NOW).unwrap(), 1);
    let note = RunnerNote::new("ci", "t", NOW).moved(RunnerState::Busy, NOW);
    database.record_runners("ci", &[("ci-3".into(), note)], NOW).unwrap();
    assert_eq!(database.end_lost_jobs(NOW + 5).unwrap(), 0, "its runner is there");
    database.record_runners("ci", &[], NOW + 9).unwrap();
    assert_eq!(database.end_lost_jobs(NOW + 9).unwrap(), 1);
    let results = |id: &str| database.find_jobs(id).unwrap().remove(0).event.result;
    assert_eq!(
        (results("1").as_deref(), results("2"), results("3").as_deref()),
        (Some("expired"), None, Some("lost"))
    );
    // The event was only late.
    database.record_event(&job("3", JobState::Completed), None, NOW + 20).unwrap();
    assert_eq!(results("3").as_deref(), Some("success"));
}

#[test]
fn the_life_of_a_runner_is_kept() {
    let directory = TempDir::new().unwrap();
    let mut database = database(&directory);
    database.record_pool(&pool("ci")).unwrap();
    let at = |state, now| ("ci-a".to_owned(), RunnerNote::new("ci", "t", NOW).moved(state, now));
    let see = |database: &mut JobDatabase, state, now| {
        database.record_runners("ci", &[at(state, now)], now).unwrap()
    };
    assert_eq!(see(&mut database, RunnerState::Booting, NOW + 1).started, Vec::<u64>::new());
    assert_eq!(see(&mut database, RunnerState::Idle, NOW + 30).started, [30]);
    assert_eq!(see(&mut database, RunnerState::Idle, NOW + 30), foundry_jobs::RunnerChanges::default());
    assert_eq!(
        see(&mut database, RunnerState::Busy, NOW + 60).started,
        Vec::<u64>::new(),
        "it was ready before"
    );
    assert_eq!(database.pool_status("ci").unwrap().runners.busy, 1);
    let ending = (
        "ci-a".to_owned(),
        RunnerNote { reason: Some(RetireReason::Done), ..at(RunnerState::Deleting, NOW + 90).1 },
    );
    database.record_runners("ci", &[ending], NOW + 90).unwrap();
    database.ask_end("ci-a", true).unwrap();
    let gone = database.record_runners("ci", &[], NOW + 99).unwrap().gone;
    assert_eq!(gone[0].reason.as_deref(), Some("done"));
    let history = database.find_runner("ci-a").unwrap().unwrap();
    assert_eq!((history.ready, history.busy, history.gone), (Some(NOW + 30), Some(NOW + 60), Some(NOW + 99)));
    assert_eq!(history.state, "gone");
    assert!(database.runner_wishes().unwrap().is_empty(), "a wish goes with its runner");
    assert!(database.ask_end("ci-a", false).is_err());
    database.forget_before(NOW + 99).unwrap();
    assert!(database.find_runner("ci-a").unwrap().is_some());
    database.forget_before(NOW + 100).unwrap();
    assert!(database.find_runner("ci-a").unwrap().is_none());
}

#[test]
fn wishes_are_judged_and_the_stronger_one_stays() {
    let directory = TempDir::new().unwrap();
    let mut database = database(&directory);
    let other = JobDatabase::open(&directory.path().join("runner.db")).unwrap();
    database.record_pool(&pool("ci")).unwrap();
    assert!(!database.has_changed().unwrap(), "one's own writing is no news");
    other.ask_mode("ci", Some(PoolWish::Pause)).unwrap();
    other.ask_size("ci", Some(2), None).unwrap();
    assert!(database.has_changed().unwrap() && !database.has_changed().unwrap());
    let noted = PoolOverride { mode: Some(PoolWish::Pause), min_idle: Some(2), max: None };
    assert_eq!(database.pool_override("ci").unwrap(), noted);
    for (min_idle, max) in [(Some(5), None), (None, Some(0)), (None, Some(501)), (Some(9), Some(8))] {
        assert!(other.ask_size("ci", min_idle, max).is_err(), "{min_idle:?} {max:?}");
    }
    assert_eq!(database.pool_override("ci").unwrap(), noted, "a refused wish changes nothing");
    other.reset_size("ci").unwrap();
    other.ask_mode("ci", None).unwrap();
    assert_eq!(database.pool_override("ci").unwrap(), PoolOverride::default());
    let unknown = other.ask_mode("cj", None).unwrap_err().to_string();
    assert!(unknown.contains("it has served ci"), "{unknown}");
    database.record_runners("ci", &[("ci-a".into(), RunnerNote::new("ci", "t", NOW))], NOW).unwrap();
    for (at_once, then) in [(false, RunnerWish::Leave), (true, RunnerWish::Kill), (false, RunnerWish::Kill)] {
        other.ask_end("ci-a", at_once).unwrap();
        assert_eq!(database.runner_wishes().unwrap()["ci-a"], then);
    }
    assert_eq!(other.ask_rotation("ci").unwrap(), 1);
    assert_eq!(database.runner_wishes().unwrap()["ci-a"], RunnerWish::Kill);
    database.forget_pool("ci").unwrap();
    assert!(database.pool_statuses().unwrap().is_empty());
}

#[test]
fn jobs_are_shown_in_pages() {
    let directory = TempDir::new().unwrap();
    let database = database(&directory);
    for n in 0..25 {
        let repository = if n % 5 == 0 { "Acme/Tool" } else { "acme/shop" };
        let event = JobEvent {
            queued: NOW + n,
            repository: repository.into(),
            ..job(&n.to_string(), JobState::Queued)
        };
        database.record_event(&event, Some("ci"), NOW).unwrap();
    }
    let page = |filter: JobFilter| {
        let found = database.list_jobs(&filter).unwrap();
        (found.total, found.jobs.into_iter().map(|row| row.event.id).collect::<Vec<_>>())
    };
    let ten = JobFilter { limit: 10, ..JobFilter::default() };
    assert_eq!(
        page(JobFilter { skip: 20, ..ten.clone() }),
        (25, ["4", "3", "2", "1", "0"].map(String::from).into())
    );
    assert_eq!(page(JobFilter { repository: Some("acme/tool".into()), ..ten.clone() }).0, 5);
    assert_eq!(page(JobFilter { state: Some(JobState::Running), ..ten.clone() }), (0, Vec::new()));
    assert_eq!(page(JobFilter { pool: Some("x' or '1'='1".into()), ..ten }), (0, Vec::new()));
}

/// The file is the user's own, survives a kill at any point, and a later one is not touched.
#[test]
fn the_file_is_private_and_of_a_known_version() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("runner.db");
    assert!(JobDatabase::open_existing(&path).unwrap().is_none());
    drop(database(&directory));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let raw = rusqlite::Connection::open(&path).unwrap();
    for view in ["active_jobs", "runner_status", "job_durations_by_hour"] {
        raw.query_row(&format!("select count(*) from {view}"), [], |row| row.get::<_, i64>(0)).unwrap();
    }
    raw.pragma_update(None, "user_version", 99).unwrap();
    let error = JobDatabase::open(&path).unwrap_err().to_string();
    assert!(error.contains("a later foundry made it"), "{error}");
    std::fs::write(
        directory.path().join("text"),
        "no database, but longer than a header of SQLite".repeat(9),
    )
    .unwrap();
    assert!(JobDatabase::open(&directory.path().join("text")).is_err());
    assert!(JobDatabase::open(&directory.path().join("missing/x.db")).is_err());
}

/// Gitea runs a job again under its old id; an event that is only late does not bring a job back.
#[test]
fn a_job_that_is_run_again_waits_again() {
    let directory = TempDir::new().unwrap();
    let database = database(&directory);
    let events = |reopens: bool, later: u64| {
        for state in [JobState::Running, JobState::Completed, JobState::Queued] {
            let now = if state == JobState::Queued { NOW + 100 + later } else { NOW + 100 };
            database.record_event(&JobEvent { reopens, ..job("7", state) }, Some("ci"), now).unwrap();
        }
        database.find_job("forge.example", "7").unwrap().unwrap().event
    };
    assert_eq!(events(false, 900).state, JobState::Completed);
    assert_eq!(events(true, 5).state, JobState::Completed, "late");
    let again = events(true, 900);
    assert_eq!((again.state, again.runner, again.result), (JobState::Queued, None, None));
}

#[test]
fn a_waiting_job_can_count_for_another_pool() {
    let directory = TempDir::new().unwrap();
    let database = database(&directory);
    for (id, state) in [("1", JobState::Queued), ("2", JobState::Running)] {
        database.record_event(&job(id, state), Some("old"), NOW).unwrap();
        database.set_job_pool(&job(id, state), "new").unwrap();
    }
    let queued = database.list_queued().unwrap();
    assert_eq!((queued.len(), queued[0].pool.as_deref()), (1, Some("new")));
    assert_eq!(
        database.find_job("forge.example", "2").unwrap().unwrap().pool.as_deref(),
        Some("old"),
        "it runs"
    );
    assert_eq!(database.find_job("other.example", "1").unwrap(), None);
}
