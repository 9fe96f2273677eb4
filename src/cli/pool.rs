//! `foundry pool`

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::Global;
use super::connect::connect;
use super::interrupt;
use super::output::{Format, json, objects, table};
use super::ui::Ui;
use crate::error::{Error, Kind};
use crate::host::Pool;
use crate::names::PoolName;
use crate::operations::{Session, pools};

/// List, add, refresh and delete storage pools
#[derive(Debug, Args)]
pub(super) struct PoolArgs {
    #[command(subcommand)]
    command: PoolCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PoolType {
    Dir,
}

#[derive(Debug, Subcommand)]
enum PoolCommand {
    /// List pools
    #[command(visible_alias = "ls")]
    List {
        /// Form of the output
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
        /// Leave out the table's headers
        #[arg(long)]
        no_headers: bool,
    },
    /// Show a pool and its volumes
    Info {
        /// Its name
        name: String,
        /// Form of the output
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Add a pool, start it, and have it start with the host
    #[command(after_help = "Example:\n  foundry pool add ssd dir /mnt/ssd/foundry")]
    Add {
        /// Its name
        name: PoolName,
        /// Its type
        #[arg(value_enum)]
        kind: PoolType,
        /// Its directory on the host, absolute; made if it is missing
        path: String,
    },
    /// Make libvirt look at a pool's volumes anew
    Refresh {
        /// Its name
        name: String,
    },
    /// Stop and forget a pool; its volumes stay where they are
    #[command(visible_alias = "rm")]
    Delete {
        /// Its name
        name: String,
        /// Even if it has volumes, or is stopped, so that they cannot be seen
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolView<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    active: bool,
    autostart: bool,
    target: Option<&'a str>,
    capacity: u64,
    allocation: u64,
    available: u64,
}

pub(super) fn run(args: &PoolArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let connected = connect(global, ui)?;
    let session = connected.session();
    match &args.command {
        PoolCommand::List { output, no_headers } => list(&pools::list(&session)?, *output, *no_headers, ui),
        PoolCommand::Info { name, output } => info(&session, name, *output, ui),
        PoolCommand::Add { name, kind: PoolType::Dir, path } => {
            check_path(path)?;
            interrupt::guard(&connected.cancel)?;
            pools::add(&session, name, path)?;
            ui.line(&format!("Successfully added pool '{name}'"))
        }
        PoolCommand::Refresh { name } => {
            pools::refresh(&session, name)?;
            ui.line(&format!("Successfully refreshed pool '{name}'"))
        }
        PoolCommand::Delete { name, force } => {
            interrupt::guard(&connected.cancel)?;
            pools::delete(&session, name, *force)?;
            ui.line(&format!("Successfully deleted pool '{name}'; its volumes stay"))
        }
    }
}

fn check_path(path: &str) -> Result<(), Error> {
    if path.starts_with('/') && !path.contains(char::is_control) && !path.split('/').any(|part| part == "..")
    {
        return Ok(());
    }
    Err(Error::new(Kind::Validation, format!("{path:?} is not an absolute path without '..'"))
        .outcome("nothing was changed"))
}

fn view(pool: &Pool) -> PoolView<'_> {
    PoolView {
        name: &pool.name,
        kind: &pool.kind,
        active: pool.active,
        autostart: pool.autostart,
        target: pool.target.as_deref(),
        capacity: pool.capacity.0,
        allocation: pool.allocation.0,
        available: pool.available.0,
    }
}

fn list(pools: &[Pool], output: Format, no_headers: bool, ui: &Ui) -> Result<(), Error> {
    if pools.is_empty() && matches!(output, Format::Table | Format::Wide) {
        ui.note("No pools; the default ones are made on their first use");
        return Ok(());
    }
    match output {
        Format::Name => ui.names(pools.iter().map(|p| p.name.as_str())),
        Format::Table | Format::Wide => {
            let rows = pools.iter().map(row);
            ui.shown(&table(&["NAME", "TYPE", "STATE", "SIZE", "AVAILABLE", "TARGET"], rows, no_headers))
        }
        Format::Yaml | Format::Json => {
            let views: Vec<PoolView<'_>> = pools.iter().map(view).collect();
            ui.result(&objects(&views.iter().collect::<Vec<_>>(), output)?)
        }
    }
}

fn row(pool: &Pool) -> Vec<String> {
    vec![
        pool.name.clone(),
        pool.kind.clone(),
        if pool.active { "active" } else { "inactive" }.into(),
        if pool.active { pool.capacity.to_string() } else { "-".into() },
        if pool.active { pool.available.to_string() } else { "-".into() },
        pool.target.clone().unwrap_or_else(|| "-".into()),
    ]
}

fn info(session: &Session<'_>, name: &str, output: Format, ui: &Ui) -> Result<(), Error> {
    let (pool, volumes) = pools::info(session, name)?;
    match output {
        Format::Name => ui.names([pool.name.as_str()].into_iter()),
        Format::Json => ui.result(&json(&view(&pool))?),
        Format::Yaml => ui.result(&objects(&[&view(&pool)], Format::Yaml)?),
        Format::Table | Format::Wide => {
            let state = if pool.active { "active" } else { "inactive" };
            let mut text = format!(
                "Name:       {}\nType:       {}\nState:      {state}\nTarget:     {}\nSize:       {}\nAllocated:  {}\nAvailable:  {}\n",
                pool.name,
                pool.kind,
                pool.target.as_deref().unwrap_or("-"),
                pool.capacity,
                pool.allocation,
                pool.available
            );
            let rows = volumes.iter().map(|v| {
                vec![v.name.clone(), v.format.clone(), v.capacity.to_string(), v.allocation.to_string()]
            });
            if !volumes.is_empty() {
                text.push('\n');
                text.push_str(&table(&["VOLUME", "FORMAT", "SIZE", "ALLOCATED"], rows, false));
            }
            ui.shown(&text)
        }
    }
}
