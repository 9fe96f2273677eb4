//! `foundry runner pools`

use clap::Args;

use super::database::DatabaseArgs;
use crate::Global;
use crate::output::{ListingArgs, TableRow, format_age, or_dash};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_jobs::RunnerPoolStatus;

/// List the pools that the controller serves
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry runner pools\n  foundry runner pools -o json")]
pub(super) struct PoolsArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    listing: ListingArgs,
}

pub(super) fn run_pools(args: &PoolsArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let pools = args.database.open()?.pool_statuses()?;
    args.listing.show_list(&pools, "No pools", (global, ui))
}

impl TableRow for RunnerPoolStatus {
    type Object = Self;
    const HEADERS: &'static [&'static str] =
        &["NAME", "MODE", "IDLE", "BUSY", "STARTING", "FAILED", "MAX", "QUEUED", "SEEN"];
    const WIDE_HEADERS: &'static [&'static str] = &["MIN-IDLE", "ENDING", "LABELS", "TROUBLE"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        let runners = self.runners;
        let mut cells = vec![self.name.clone(), self.mode.to_owned()];
        let numbers = [runners.idle, runners.busy, runners.starting, runners.failed, self.max, self.queued];
        cells.extend(numbers.map(|number| number.to_string()));
        cells.push(format_age(&self.seen));
        cells
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![
            self.min_idle.to_string(),
            self.runners.ending.to_string(),
            self.labels.join(","),
            or_dash(self.trouble.clone()),
        ]
    }
}
