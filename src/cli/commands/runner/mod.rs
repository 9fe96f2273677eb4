//! `foundry runner`

mod list;
mod pool_files;
mod serve;
mod served_pool;

use clap::{Args, Subcommand};

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
    List(list::RunnerListArgs),
}

pub(super) fn run_runner(args: &RunnerArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    match &args.command {
        RunnerCommand::Serve(args) => serve::run_serve(args, global, ui),
        RunnerCommand::List(args) => list::run_list(args, global, ui),
    }
}
