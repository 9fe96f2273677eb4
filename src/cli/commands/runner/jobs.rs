//! `foundry runner jobs`

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::database::DatabaseArgs;
use crate::Global;
use crate::output::{ListingArgs, TableRow, format_age, or_dash};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_jobs::{JobFilter, JobStatus};
use foundry_runner::JobState;

/// List the jobs that forges reported, the latest first
///
/// The database is SQLite. Its views active_jobs, runner_status and job_durations_by_hour answer common questions.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner jobs
  foundry runner jobs linux --state queued
  foundry runner jobs --repository acme/shop -o json")]
pub(super) struct JobsArgs {
    /// Only those of this pool
    #[arg(value_name = "POOL")]
    pool: Option<String>,
    /// Only those in this state
    #[arg(long, value_parser = PossibleValuesParser::new(["queued", "running", "completed"]))]
    state: Option<String>,
    /// Only those of this repository
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

pub(super) fn run_jobs(args: &JobsArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let database = args.database.open()?;
    if let Some(pool) = &args.pool {
        database.pool_status(pool)?;
    }
    let state = JobState::ALL.into_iter().find(|state| args.state.as_deref() == Some(state.as_str()));
    let filter = JobFilter {
        pool: args.pool.clone(),
        repository: args.repository.clone(),
        state,
        skip: 0,
        limit: args.limit,
    };
    let found = database.list_jobs(&filter)?;
    let jobs: Vec<JobStatus> = found.jobs.into_iter().map(JobStatus::from).collect();
    args.listing.show_list(&jobs, "No jobs", (global, ui))?;
    if found.total > jobs.len() && !jobs.is_empty() {
        ui.show_note(&format!("{} of {} jobs; --limit shows more", jobs.len(), found.total));
    }
    Ok(())
}

impl TableRow for JobStatus {
    type Object = Self;
    const HEADERS: &'static [&'static str] =
        &["ID", "REPOSITORY", "NAME", "POOL", "STATE", "RESULT", "RUNNER", "AGE"];
    const WIDE_HEADERS: &'static [&'static str] = &["WORKFLOW", "LABELS", "STARTED", "ENDED"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.id.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.repository.clone(),
            self.name.clone(),
            or_dash(self.pool.clone()),
            self.state.to_owned(),
            or_dash(self.result.clone()),
            or_dash(self.runner.clone()),
            format_age(&self.queued),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![
            self.workflow.clone(),
            self.labels.join(","),
            or_dash(self.started.clone()),
            or_dash(self.ended.clone()),
        ]
    }
}
