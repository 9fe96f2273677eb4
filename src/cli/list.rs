//! `foundry list`

use clap::Args;

use super::Global;
use super::connect::connect;
use super::output::{Format, Selector, age, objects, table};
use super::ui::Ui;
use crate::error::Error;
use crate::manifest::{Phase, VirtualMachine};
use crate::operations::inspect::{self, Seen};

/// List running VMs, or all of them
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:
  foundry list --all
  foundry list -l role=web -o name
  foundry list --all -o json"
)]
pub(super) struct ListArgs {
    /// Include VMs that do not run
    #[arg(short, long)]
    all: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
    /// Leave out the table's headers
    #[arg(long)]
    no_headers: bool,
    /// Show VMs with these labels only: key, key=value, key!=value, several with commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
}

const HEADERS: [&str; 7] = ["NAME", "STATE", "VCPUS", "MEMORY", "IP ADDRESS", "AGE", "MANAGED"];
const WIDE_HEADERS: [&str; 3] = ["IMAGE", "POOL", "UUID"];

pub(super) fn run(args: &ListArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let connected = connect(global, ui)?;
    let mut seen = inspect::list(&connected.session(), args.all)?;
    if let Some(selector) = &args.selector {
        seen.retain(|vm| selector.matches(&vm.vm.metadata.labels));
    }
    if seen.is_empty() && matches!(args.output, Format::Table | Format::Wide) {
        ui.note(if args.all { "No VMs" } else { "No running VMs; --all shows the others" });
        return Ok(());
    }
    match args.output {
        Format::Table | Format::Wide => ui.shown(&rows(&seen, args.output == Format::Wide, args.no_headers)),
        Format::Name => ui.names(seen.iter().map(|s| s.domain.name.as_str())),
        Format::Yaml | Format::Json => {
            let vms: Vec<&VirtualMachine> = seen.iter().map(|s| &s.vm).collect();
            ui.result(&objects(&vms, args.output)?)
        }
    }
}

fn rows(seen: &[Seen], wide: bool, no_headers: bool) -> String {
    let mut headers: Vec<&str> = HEADERS.to_vec();
    if wide {
        headers.extend(WIDE_HEADERS);
    }
    let lines = seen.iter().map(|vm| {
        let mut row = short_row(vm);
        if wide {
            row.extend(wide_cells(vm));
        }
        row
    });
    table(&headers, lines, no_headers)
}

fn short_row(seen: &Seen) -> Vec<String> {
    let addresses: Vec<&str> =
        seen.vm.status.iter().flat_map(|s| &s.addresses).map(|a| a.address.as_str()).collect();
    vec![
        seen.domain.name.clone(),
        state_word(seen),
        seen.domain.vcpus.to_string(),
        seen.domain.memory.to_string(),
        if addresses.is_empty() { "-".into() } else { addresses.join(",") },
        seen.created_at().map_or_else(|| "-".into(), age),
        seen.managed().into(),
    ]
}

fn wide_cells(seen: &Seen) -> [String; 3] {
    let record = seen.record();
    let image = record.and_then(|r| r.image.clone());
    let pool = record.and_then(|r| r.volumes.first()).map(|v| v.pool.clone());
    [image.unwrap_or_else(|| "-".into()), pool.unwrap_or_else(|| "-".into()), seen.domain.uuid.to_string()]
}

/// libvirt's word, or foundry's where it knows better.
fn state_word(seen: &Seen) -> String {
    match seen.vm.status.as_ref().map(|s| s.phase) {
        Some(Phase::Pending) => "interrupted".into(),
        Some(Phase::Creating) => "creating".into(),
        Some(Phase::Destroying) => "half destroyed".into(),
        Some(Phase::Failed) => format!("{} (error)", seen.domain.state),
        _ => seen.domain.state.to_string(),
    }
}
