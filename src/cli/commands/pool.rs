//! `foundry pool`

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::pool_add::{PoolAddArgs, run_pool_add};
use crate::connect::connect_host;
use crate::output::{ListingArgs, OutputArgs, TableRow, render_details, render_table};
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::Error;
use foundry_core::units::Bytes;
use foundry_engine::Context;
use foundry_engine::storage::pools;
use foundry_engine::storage::pools::PoolInfo;
use foundry_host::Pool;

/// List, add, start, stop and delete storage pools
#[derive(Debug, Args)]
pub(crate) struct PoolArgs {
    #[command(subcommand)]
    command: PoolCommand,
}

#[derive(Debug, Subcommand)]
enum PoolCommand {
    /// List pools
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  foundry pool list\n  foundry pool list -o name"
    )]
    List {
        #[command(flatten)]
        listing: ListingArgs,
    },
    /// Show a pool, its volumes and their users
    #[command(after_help = "Examples:\n  foundry pool info ssd")]
    Info {
        /// Name of the pool
        #[arg(value_name = "POOL")]
        name: String,
        #[command(flatten)]
        output: OutputArgs,
    },
    Add(PoolAddArgs),
    /// Start a pool (mounts its file system)
    #[command(after_help = "Examples:\n  foundry pool start ssd\n  foundry pool start ssd --autostart")]
    Start {
        /// Name of the pool
        #[arg(value_name = "POOL")]
        name: String,
        /// Enable autostart
        #[arg(long)]
        autostart: bool,
    },
    /// Stop a pool that no running VM uses (unmounts its file system)
    #[command(after_help = "Examples:\n  foundry pool stop ssd\n  foundry pool stop ssd --no-autostart")]
    Stop {
        /// Name of the pool
        #[arg(value_name = "POOL")]
        name: String,
        /// Disable autostart
        #[arg(long)]
        no_autostart: bool,
    },
    /// Rescan a pool's volumes
    #[command(after_help = "Examples:\n  foundry pool refresh ssd")]
    Refresh {
        /// Name of the pool
        #[arg(value_name = "POOL")]
        name: String,
    },
    /// Stop a pool and delete its definition; its volumes are kept
    #[command(
        visible_alias = "rm",
        after_help = "Examples:\n  foundry pool delete ssd\n  foundry pool delete ssd --force"
    )]
    Delete {
        /// Name of the pool
        #[arg(value_name = "POOL")]
        name: String,
        /// Delete even if the pool has volumes or is stopped
        #[arg(short, long)]
        force: bool,
    },
}

/// One pool of the listing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PoolView<'a> {
    name: &'a str,
    /// Pool type, as libvirt names it.
    #[serde(rename = "type")]
    kind: &'a str,
    /// Whether the pool is active.
    active: bool,
    /// Whether the pool starts with the host.
    autostart: bool,
    /// Directory or device on the host.
    target: Option<&'a str>,
    /// Capacity of its file system or device, in bytes.
    capacity: u64,
    /// Used space, in bytes.
    allocation: u64,
    /// Free space, in bytes.
    available: u64,
    /// Source of the pool: device, server, volume group.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Number of volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<usize>,
    /// Names of the VMs that have disks in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<&'a [String]>,
}

pub(super) fn run_pool(args: &PoolArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    // The arguments of a new pool are validated before connecting.
    if let PoolCommand::Add(args) = &args.command {
        return run_pool_add(args, global, ui);
    }
    let context = connect_host(global, ui)?;
    if !matches!(args.command, PoolCommand::List { .. } | PoolCommand::Info { .. }) {
        interrupt::install_handler(&context.cancel)?;
    }
    run_subcommand(&args.command, &context, (global, ui))
}

fn run_subcommand(
    command: &PoolCommand,
    context: &Context,
    (global, ui): (&Global, &Ui),
) -> Result<(), Error> {
    match command {
        // Handled by the caller.
        PoolCommand::Add(_) => Ok(()),
        PoolCommand::List { listing } => {
            let pools = pools::list_pools(context)?;
            let views: Vec<PoolView<'_>> = pools.iter().map(pool_view).collect();
            listing.show_list(
                &views,
                "No pools; the default ones are created at their first use",
                (global, ui),
            )
        }
        PoolCommand::Info { name, output } => {
            let found = pools::pool_info(context, name)?;
            let volumes = found.pool.active.then_some(found.volumes.len());
            let view = PoolView { volumes, used_by: Some(&found.users), ..pool_view(&found.pool) };
            output.show_object(
                &view,
                &[view.name],
                |_| describe_pool(&found, ui.terminal_columns()),
                (global, ui),
            )
        }
        PoolCommand::Start { name, autostart } => {
            let done = pools::start_pool(context, name, *autostart)?;
            ui.write_line(&state_change_text(name, done, "started"))
        }
        PoolCommand::Stop { name, no_autostart } => {
            let done = pools::stop_pool(context, name, *no_autostart)?;
            ui.write_line(&state_change_text(name, done, "stopped"))
        }
        PoolCommand::Refresh { name } => {
            pools::refresh_pool(context, name)?;
            ui.write_line(&format!("Successfully refreshed pool '{name}'"))
        }
        PoolCommand::Delete { name, force } => {
            pools::delete_pool(context, name, *force)?;
            ui.write_line(&format!("Successfully deleted pool '{name}'; its volumes are kept"))
        }
    }
}

/// The result of starting or stopping a pool.
fn state_change_text(name: &str, done: bool, state: &str) -> String {
    if done {
        format!("Successfully {state} pool '{name}'")
    } else {
        format!("Pool '{name}' is already {state}")
    }
}

fn pool_view(pool: &Pool) -> PoolView<'_> {
    PoolView {
        name: &pool.name,
        kind: &pool.kind,
        active: pool.active,
        autostart: pool.autostart,
        target: pool.target.as_deref(),
        capacity: pool.capacity.0,
        allocation: pool.allocation.0,
        available: pool.available.0,
        source: source_text(pool),
        volumes: None,
        used_by: None,
    }
}

impl TableRow for PoolView<'_> {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["NAME", "TYPE", "STATE", "SIZE", "AVAILABLE", "TARGET"];
    const WIDE_HEADERS: &'static [&'static str] = &["ALLOCATED", "AUTOSTART", "SOURCE"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.to_owned())
    }

    fn row_cells(&self) -> Vec<String> {
        vec![
            self.name.to_owned(),
            self.kind.to_owned(),
            if self.active { "active" } else { "inactive" }.into(),
            self.size_if_active(self.capacity),
            self.size_if_active(self.available),
            self.target.unwrap_or("-").to_owned(),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        let source = self.source.clone().unwrap_or_else(|| "-".into());
        let autostart = if self.autostart { "yes" } else { "no" };
        vec![self.size_if_active(self.allocation), autostart.into(), source]
    }
}

impl PoolView<'_> {
    /// An inactive pool has no sizes.
    fn size_if_active(&self, bytes: u64) -> String {
        if self.active { Bytes(bytes).to_string() } else { "-".into() }
    }
}

/// The source of the pool; empty for a directory, whose target says it.
fn source_text(pool: &Pool) -> Option<String> {
    Some(pool.source.to_string()).filter(|text| !text.is_empty())
}

fn describe_pool(found: &PoolInfo, columns: Option<u16>) -> String {
    let pool = &found.pool;
    let or_none = |text: Option<String>| text.filter(|t| !t.is_empty()).unwrap_or_else(|| "-".into());
    let format = pool.source.format.as_ref().map(|f| format!(" ({f})")).unwrap_or_default();
    let source = source_text(pool).map(|source| source + &format);
    let count = pool.active.then(|| found.volumes.len().to_string());
    let lines = [
        ("Name", pool.name.clone()),
        ("Type", pool.kind.clone()),
        ("State", if pool.active { "active" } else { "inactive" }.into()),
        ("Autostart", if pool.autostart { "yes" } else { "no" }.into()),
        ("Source", or_none(source)),
        ("Target", or_none(pool.target.clone())),
        ("Size", pool.capacity.to_string()),
        ("Allocated", pool.allocation.to_string()),
        ("Available", pool.available.to_string()),
        ("Volumes", or_none(count)),
        ("Used by", or_none(Some(found.users.join(", ")))),
    ];
    let mut text = render_details(12, &lines.map(|(name, value)| (name.to_owned(), value)), columns);
    let rows = found
        .volumes
        .iter()
        .map(|v| vec![v.name.clone(), v.format.clone(), v.capacity.to_string(), v.allocation.to_string()]);
    if !found.volumes.is_empty() {
        text.push('\n');
        text.push_str(&render_table(&["VOLUME", "FORMAT", "SIZE", "ALLOCATED"], rows, false, columns));
    }
    text
}
