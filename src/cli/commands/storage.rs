//! `foundry storage`

use clap::{Args, Subcommand};

use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, OutputFormat, render_table};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_core::units::Bytes;
use foundry_engine::storage::status::{self, FileSystem, Orphan, PoolStatus, StorageStatus, Tally};

/// Show storage capacity, usage and over-commit
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    #[command(subcommand)]
    command: StorageCommand,
}

#[derive(Debug, Subcommand)]
enum StorageCommand {
    /// Show all pools
    #[command(after_help = "Examples:\n  foundry storage status\n  foundry storage status -o wide")]
    Status {
        #[command(flatten)]
        listing: ListingArgs,
    },
}

pub(super) fn run_storage(args: &StorageArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let StorageCommand::Status { listing } = &args.command;
    let status = status::storage_status(&context)?;
    let names: Vec<&str> = status.pools.iter().map(|p| p.name.as_str()).collect();
    let text = |form: &OutputFormat| {
        status_text(&status, *form == OutputFormat::Wide, listing.no_headers, ui.terminal_columns())
    };
    listing.output.show_object(&status, &names, text, (global, ui))?;
    if listing.chosen_format(global).is_table() {
        status.file_systems.iter().filter_map(overcommit_warning).for_each(|text| ui.show_warning(&text));
    }
    Ok(())
}

const HEADERS: [&str; 9] =
    ["POOL", "TYPE", "STATE", "SIZE", "AVAILABLE", "ALLOCATED", "CAN GROW BY", "IMAGES", "DISKS"];
const WIDE_HEADERS: [&str; 3] = ["VOLUMES", "ORPHANS", "TARGET"];
const FILE_SYSTEM_HEADERS: [&str; 6] =
    ["FILE SYSTEM OF", "SIZE", "ALLOCATED", "AVAILABLE", "CAN GROW BY", "WITHOUT ROOM"];
const ORPHAN_HEADERS: [&str; 4] = ["ORPHAN", "POOL", "ALLOCATED", "SIZE"];

fn status_text(status: &StorageStatus, wide: bool, no_headers: bool, fit: Option<u16>) -> String {
    let headers = [&HEADERS[..], if wide { &WIDE_HEADERS } else { &[] }].concat();
    let mut text =
        render_table(&headers, status.pools.iter().map(|pool| pool_row(pool, wide)), no_headers, fit);
    if wide {
        text += &format!(
            "\n{}",
            render_table(
                &FILE_SYSTEM_HEADERS,
                status.file_systems.iter().map(file_system_row),
                no_headers,
                fit
            )
        );
    }
    text += &format!(
        "\nAll file systems: {} of {} available; the disks can grow by {}{}\nImages: {}; disks: {}\n",
        status.available,
        status.capacity,
        status.growth,
        overcommit_text(&status.file_systems),
        tally_text(status.images),
        tally_text(status.disks),
    );
    text + &orphan_text(&status.orphans, wide, no_headers, fit)
}

fn pool_row(pool: &PoolStatus, wide: bool) -> Vec<String> {
    let size = |bytes: Bytes| if pool.active { bytes.to_string() } else { "-".into() };
    let count = |tally: Tally| if pool.active { tally.count.to_string() } else { "-".into() };
    let mut row = vec![
        pool.name.clone(),
        pool.kind.clone(),
        if pool.active { "active" } else { "inactive" }.into(),
        size(pool.capacity),
        size(pool.available),
        size(pool.allocation),
        size(pool.growth),
        count(pool.images),
        count(pool.disks),
    ];
    if wide {
        let volumes = if pool.active { pool.volumes.to_string() } else { "-".into() };
        row.extend([volumes, count(pool.orphans), pool.target.clone().unwrap_or_else(|| "-".into())]);
    }
    row
}

fn file_system_row(file_system: &FileSystem) -> Vec<String> {
    let FileSystem { pools, capacity, allocation, available, growth, overcommit } = file_system;
    let mut row = vec![pools.join(", ")];
    row.extend([capacity, allocation, available, growth, overcommit].map(ToString::to_string));
    row
}

fn overcommit_text(file_systems: &[FileSystem]) -> String {
    match file_systems.iter().map(|f| f.overcommit).fold(Bytes(0), Bytes::saturating_add) {
        Bytes(0) => String::new(),
        overcommit => format!(", {overcommit} more than available"),
    }
}

/// Orphaned volumes: a table with `-o wide`, otherwise one line.
fn orphan_text(orphans: &[Orphan], wide: bool, no_headers: bool, fit: Option<u16>) -> String {
    if orphans.is_empty() {
        return String::new();
    }
    if wide {
        let size = |bytes: Bytes| bytes.to_string();
        let row = |o: &Orphan| vec![o.name.clone(), o.pool.clone(), size(o.allocation), size(o.capacity)];
        return format!("\n{}", render_table(&ORPHAN_HEADERS, orphans.iter().map(row), no_headers, fit));
    }
    let allocation = orphans.iter().map(|o| o.allocation).fold(Bytes(0), Bytes::saturating_add);
    let take = if orphans.len() == 1 { "volume without a VM takes" } else { "volumes without a VM take" };
    format!("Orphans: {} {take} {allocation}; -o wide lists them\n", orphans.len())
}

fn tally_text(tally: Tally) -> String {
    match tally.count {
        0 => "none".into(),
        count => format!("{count}, {} of {}", tally.allocation, tally.capacity),
    }
}

/// A warning if the disks can outgrow their file system.
fn overcommit_warning(file_system: &FileSystem) -> Option<String> {
    (file_system.overcommit > Bytes(0)).then(|| {
        let pools = if file_system.pools.len() == 1 { "pool" } else { "pools" };
        format!(
            "the disks in {pools} '{}' can grow by {}, but only {} are available: guests would stop",
            file_system.pools.join("', '"),
            file_system.growth,
            file_system.available
        )
    })
}
