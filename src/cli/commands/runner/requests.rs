//! `foundry runner pause, resume, drain, scale, rotate, delete`
//!
//! Each notes a wish in the database. The controller finds it at once if it runs, and when it starts otherwise.

use std::time::Duration;

use clap::Args;

use super::controller::epoch_now;
use super::database::DatabaseArgs;
use crate::output::parse_duration;
use crate::ui::Ui;
use foundry_core::error::{Code, Error};
use foundry_jobs::{JobDatabase, RunnerPoolStatus};
use foundry_runner::{EpochSeconds, PoolWish};

/// How long a controller may be silent before a user is told, in seconds.
const SILENT_AFTER: u64 = 120;
/// How often a wait looks.
const TICK: Duration = Duration::from_millis(500);

/// Make no new VMs in a pool; jobs go on
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry runner pause linux")]
pub(super) struct PoolPauseArgs {
    #[command(flatten)]
    target: PoolTarget,
}

/// Let a pool do again what its manifest says
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry runner resume linux")]
pub(super) struct PoolResumeArgs {
    #[command(flatten)]
    target: PoolTarget,
}

/// Bring a pool to its end: its VMs go, each after its job
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner drain linux
  foundry runner drain linux --wait 1h")]
pub(super) struct DrainArgs {
    #[command(flatten)]
    target: PoolTarget,
    /// Wait until all are gone, for this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
}

/// Give a pool other numbers of runners than its manifest does
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner scale linux --min-idle 2 --max 8
  foundry runner scale linux --reset")]
pub(super) struct ScaleArgs {
    #[command(flatten)]
    target: PoolTarget,
    /// How many runners wait for jobs
    #[arg(long, value_name = "N", required_unless_present_any = ["max", "reset"])]
    min_idle: Option<usize>,
    /// The most runners
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// The numbers of the manifest again
    #[arg(long, conflicts_with_all = ["min_idle", "max"])]
    reset: bool,
}

/// Replace the VMs of a pool, one after the other, each when it is idle
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry runner rotate linux")]
pub(super) struct RotateArgs {
    #[command(flatten)]
    target: PoolTarget,
}

/// End a runner, after its job if it has one
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner delete linux-4f7a0c2e
  foundry runner delete linux-4f7a0c2e --force")]
pub(super) struct RunnerDeleteArgs {
    /// Name of the runner
    #[arg(value_name = "RUNNER")]
    runner: String,
    /// At once: its job is lost
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Args)]
struct PoolTarget {
    /// Name of the pool
    #[arg(value_name = "POOL")]
    pool: String,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) fn run_pause(args: &PoolPauseArgs, ui: &Ui) -> Result<(), Error> {
    ask_mode(&args.target, Some(PoolWish::Pause), ui)
}

pub(super) fn run_resume(args: &PoolResumeArgs, ui: &Ui) -> Result<(), Error> {
    ask_mode(&args.target, None, ui)
}

pub(super) fn run_drain(args: &DrainArgs, ui: &Ui) -> Result<(), Error> {
    let asked = epoch_now();
    ask_mode(&args.target, Some(PoolWish::Drain), ui)?;
    let Some(most) = args.wait else { return Ok(()) };
    let database = args.target.database.open()?;
    let mut waited = Duration::ZERO;
    loop {
        let left = database.list_present_runners(Some(&args.target.pool))?;
        // What a round saw that had not been asked says nothing: it may have made one since.
        let status = database.pool_status(&args.target.pool)?;
        let has_looked = status.seen_epoch > asked && status.mode == PoolWish::Drain.as_str();
        if left.is_empty() && has_looked {
            return Ok(());
        }
        if waited >= most {
            let names: Vec<&str> = left.iter().map(|one| one.name.as_str()).collect();
            let why = if has_looked { names.join(", ") } else { "no controller has looked at it".to_owned() };
            return Err(Error::new(Code::NotReady, format!("pool '{}' is not at its end", args.target.pool))
                .because(why)
                .hint("wait for their jobs; 'runner delete --force' ends one at once, and its job"));
        }
        std::thread::sleep(TICK);
        waited += TICK;
    }
}

pub(super) fn run_scale(args: &ScaleArgs, ui: &Ui) -> Result<(), Error> {
    let (database, pool) = args.target.open()?;
    if args.reset {
        database.reset_size(&pool.name)?;
    } else {
        database.ask_size(&pool.name, args.min_idle, args.max)?;
    }
    tell_if_silent(pool.seen_epoch, ui);
    Ok(())
}

pub(super) fn run_rotate(args: &RotateArgs, ui: &Ui) -> Result<(), Error> {
    let (database, pool) = args.target.open()?;
    let count = database.ask_rotation(&pool.name)?;
    ui.show_note(&format!("pool {}: {count} VMs are replaced, one after the other", pool.name));
    tell_if_silent(pool.seen_epoch, ui);
    Ok(())
}

pub(super) fn run_delete(args: &RunnerDeleteArgs, ui: &Ui) -> Result<(), Error> {
    let database = args.database.open()?;
    database.ask_end(&args.runner, args.force)?;
    let seen = database.pool_statuses()?.iter().map(|pool| pool.seen_epoch).max();
    tell_if_silent(seen.unwrap_or_default(), ui);
    Ok(())
}

fn ask_mode(target: &PoolTarget, mode: Option<PoolWish>, ui: &Ui) -> Result<(), Error> {
    let (database, pool) = target.open()?;
    database.ask_mode(&pool.name, mode)?;
    tell_if_silent(pool.seen_epoch, ui);
    Ok(())
}

impl PoolTarget {
    fn open(&self) -> Result<(JobDatabase, RunnerPoolStatus), Error> {
        let database = self.database.open()?;
        let status = database.pool_status(&self.pool)?;
        Ok((database, status))
    }
}

/// A wish is no use to who waits for it while no controller runs.
fn tell_if_silent(seen: EpochSeconds, ui: &Ui) {
    if epoch_now().saturating_sub(seen) > SILENT_AFTER {
        ui.show_warning("no controller is at work; it will be done when one runs");
    }
}
