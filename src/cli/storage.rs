//! `foundry storage`

use clap::{Args, Subcommand};

use super::Global;
use super::connect::connect;
use super::output::{Format, json, objects, table};
use super::ui::Ui;
use crate::error::Error;
use crate::operations::storage::{self, PoolStatus, StorageStatus};

/// Show what the storage of the host has and has promised
#[derive(Debug, Args)]
pub(super) struct StorageArgs {
    #[command(subcommand)]
    command: StorageCommand,
}

#[derive(Debug, Subcommand)]
enum StorageCommand {
    /// Show all pools together
    Status {
        /// Form of the output
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
        /// Leave out the table's headers
        #[arg(long)]
        no_headers: bool,
    },
}

pub(super) fn run(args: &StorageArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let connected = connect(global, ui)?;
    let StorageCommand::Status { output, no_headers } = &args.command;
    let status = storage::status(&connected.session())?;
    match output {
        Format::Json => ui.result(&json(&status)?),
        Format::Yaml => ui.result(&objects(&[&status], Format::Yaml)?),
        Format::Name => ui.names(status.pools.iter().map(|p| p.name.as_str())),
        Format::Table | Format::Wide => ui.shown(&text(&status, *no_headers)),
    }
}

fn text(status: &StorageStatus, no_headers: bool) -> String {
    let headers = ["POOL", "TYPE", "STATE", "SIZE", "AVAILABLE", "VOLUMES", "ALLOCATED", "CAN GROW TO"];
    let total = format!(
        "\nAll file systems: {} of {} available; the volumes can grow to {}\n",
        status.available, status.capacity, status.promised
    );
    table(&headers, status.pools.iter().map(row), no_headers) + &total
}

fn row(pool: &PoolStatus) -> Vec<String> {
    let size = |bytes: crate::units::Bytes| if pool.active { bytes.to_string() } else { "-".into() };
    vec![
        pool.name.clone(),
        pool.kind.clone(),
        if pool.active { "active" } else { "inactive" }.into(),
        size(pool.capacity),
        size(pool.available),
        pool.volumes.to_string(),
        size(pool.allocation),
        size(pool.promised),
    ]
}
