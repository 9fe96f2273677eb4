//! `foundry runner get`

use clap::Args;

use super::database::DatabaseArgs;
use crate::Global;
use crate::output::{OutputArgs, render_details};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_jobs::RunnerStatus;

/// The width of the labels, in characters.
const LABEL_WIDTH: u16 = 8;

/// Show a runner, also one that is gone
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry runner get linux-4f7a0c2e
  foundry runner get linux-4f7a0c2e -o json")]
pub(super) struct RunnerGetArgs {
    /// Name of the runner
    #[arg(value_name = "RUNNER")]
    runner: String,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run_get(args: &RunnerGetArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let status = args.database.open()?.runner_status(&args.runner)?;
    let details = || render_details(LABEL_WIDTH, &rows(&status), ui.terminal_columns());
    args.output.show_object(&status, &[&status.name], |_| details(), (global, ui))
}

fn rows(status: &RunnerStatus) -> Vec<(String, String)> {
    let known = [
        ("Name", Some(status.name.clone())),
        ("Pool", Some(status.pool.clone())),
        ("State", Some(format!("{} since {}", status.state, status.since))),
        ("Reason", status.reason.clone()),
        ("Made", Some(status.made.clone())),
        ("Ready", status.ready.clone()),
        ("Busy", status.busy.clone()),
        ("Gone", status.gone.clone()),
    ];
    known.into_iter().filter_map(|(label, value)| Some((label.to_owned(), value?))).collect()
}
