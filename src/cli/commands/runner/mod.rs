//! `foundry runner`

mod applied;
mod controller;
mod database;
mod examine;
mod get;
mod jobs;
mod list;
mod pool_files;
mod pools;
mod requests;
mod secret_file;
mod serve;
mod served_pool;
mod trial;

use clap::{Args, Subcommand};

pub(super) use applied::{WantedPool, is_pool_file, plan_pools};
pub(super) use examine::{PoolExam, examine_pools};
pub(super) use list::RunnerRow;

use crate::Global;
use crate::ui::Ui;
use foundry_core::error::Error;

/// Run CI jobs in VMs that are thrown away after one job each
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct RunnerArgs {
    #[command(subcommand)]
    command: RunnerCommand,
}

#[derive(Debug, Subcommand)]
enum RunnerCommand {
    Serve(serve::ServeArgs),
    Try(trial::TryArgs),
    Pools(pools::PoolsArgs),
    List(list::RunnerListArgs),
    Get(get::RunnerGetArgs),
    Jobs(jobs::JobsArgs),
    Pause(requests::PoolPauseArgs),
    Resume(requests::PoolResumeArgs),
    Drain(requests::DrainArgs),
    Scale(requests::ScaleArgs),
    Rotate(requests::RotateArgs),
    Delete(requests::RunnerDeleteArgs),
}

pub(super) fn run_runner(args: &RunnerArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    match &args.command {
        RunnerCommand::Serve(args) => serve::run_serve(args, global, ui),
        RunnerCommand::Try(args) => trial::run_try(args, global, ui),
        RunnerCommand::Pools(args) => pools::run_pools(args, global, ui),
        RunnerCommand::List(args) => list::run_list(args, global, ui),
        RunnerCommand::Get(args) => get::run_get(args, global, ui),
        RunnerCommand::Jobs(args) => jobs::run_jobs(args, global, ui),
        RunnerCommand::Pause(args) => requests::run_pause(args, ui),
        RunnerCommand::Resume(args) => requests::run_resume(args, ui),
        RunnerCommand::Drain(args) => requests::run_drain(args, ui),
        RunnerCommand::Scale(args) => requests::run_scale(args, ui),
        RunnerCommand::Rotate(args) => requests::run_rotate(args, ui),
        RunnerCommand::Delete(args) => requests::run_delete(args, ui),
    }
}
