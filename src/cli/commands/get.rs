//! `foundry get` and `foundry vm info`

use clap::{Args, Subcommand};

use crate::Global;
use crate::connect::connect_host;
use crate::output::{OutputArgs, OutputFormat, format_age, render_details};
use crate::ui::Ui;
use crate::usage_hints::KINDS;
use crate::watch::watch_host;
use crate::words;
use crate::words::hints::LIST_OR_GET;
use foundry_core::error::{Code, Error};
use foundry_core::record::{Record, RecordedVolume};
use foundry_engine::change::{DRIFTED, RESTART_REQUIRED, add_change_conditions};
use foundry_engine::snapshot::add_snapshots;
use foundry_engine::vm::inspect::{self, REPAVING, VmView};
use foundry_engine::vm::seed_content;

/// Show one VM: its manifest and its status
#[derive(Debug, Args)]
#[command(
    visible_alias = "describe",
    after_help = "Examples:
  foundry get web
  foundry get web -o yaml > web.yaml
  foundry get web -o yaml --with-secrets
  foundry get web -o jsonpath={.status.addresses[0].address}"
)]
pub(crate) struct GetArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    #[command(flatten)]
    output: OutputArgs,
    /// Also read password hash and user-data from the seed
    #[arg(long)]
    with_secrets: bool,
    /// Keep running and show changes
    #[arg(short, long, conflicts_with = "with_secrets")]
    watch: bool,
}

/// Show one VM (same as get)
#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    #[command(subcommand)]
    command: VmCommand,
}

#[derive(Debug, Subcommand)]
enum VmCommand {
    Info(GetArgs),
}

pub(super) fn run_vm(args: &VmArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    match &args.command {
        VmCommand::Info(args) => run_get(args, global, ui),
    }
}

pub(super) fn run_get(args: &GetArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    if args.watch {
        let mut last = None;
        return watch_host(global, ui, |context| {
            let mut seen = inspect::get_vm(context, &args.name)?;
            add_change_conditions(context, &mut seen)?;
            add_snapshots(context, &mut seen)?;
            words::add_advice(&mut seen);
            let is_same = last.as_ref() == Some(&seen.vm);
            last = Some(seen.vm.clone());
            if is_same { Ok(()) } else { show_changed(args, &seen, (global, ui)) }
        });
    }
    let context = connect_host(global, ui)?;
    let mut seen = inspect::get_vm(&context, &args.name).map_err(|error| hint_for_kind(args, error))?;
    add_change_conditions(&context, &mut seen)?;
    add_snapshots(&context, &mut seen)?;
    words::add_advice(&mut seen);
    if args.with_secrets {
        seed_content::add_secrets(&context, &mut seen)?;
    }
    report_left_out_secrets(args, &seen, ui);
    show_vm(args, &seen, (global, ui))
}

/// Users of kubectl type `get vms`.
fn hint_for_kind(args: &GetArgs, error: Error) -> Error {
    let is_kind = error.code() == Code::VmMissing && KINDS.contains(&args.name.as_str());
    if is_kind { error.hint(LIST_OR_GET) } else { error }
}

fn report_left_out_secrets(args: &GetArgs, seen: &VmView, ui: &Ui) {
    let left_out: Vec<&str> =
        seen.vm.status.iter().flat_map(|s| &s.secrets_left_out).map(String::as_str).collect();
    if !left_out.is_empty() {
        let why = if args.with_secrets {
            "the seed volume does not contain them in their original form"
        } else if seen.record().is_some_and(Record::is_seed_gone) {
            "the seed that held them was ejected; only the guest has them"
        } else {
            "--with-secrets reads them from the seed volume"
        };
        ui.show_note(&format!("secrets omitted: {}; {why}", left_out.join(", ")));
    }
}

fn show_vm(args: &GetArgs, seen: &VmView, terminal: (&Global, &Ui)) -> Result<(), Error> {
    args.output.show_object(&seen.vm, &[&seen.domain.name], |_| describe_vm(seen, terminal.1), terminal)
}

/// Shows a changed VM: on a terminal in place of the previous output, otherwise appended.
fn show_changed(args: &GetArgs, seen: &VmView, (global, ui): (&Global, &Ui)) -> Result<(), Error> {
    match args.output.chosen_format(global) {
        form if form.is_table() && ui.can_redraw() => ui.redraw_screen(&describe_vm(seen, ui)),
        form => {
            let end = match form {
                OutputFormat::Table | OutputFormat::Wide => "\n",
                OutputFormat::Yaml => "---\n",
                _ => "",
            };
            show_vm(args, seen, (global, ui)).and_then(|()| ui.write_result(end))
        }
    }
}

/// The VM as lines for people.
fn describe_vm(seen: &VmView, ui: &Ui) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| lines.push((name.to_owned(), value.to_owned()));
    let domain = &seen.domain;
    line("Name", &domain.name);
    line("State", &domain.state.to_string());
    if let Some(status) = &seen.vm.status {
        line("Phase", status.phase.as_str());
        for condition in &status.conditions {
            match condition.kind.as_str() {
                RESTART_REQUIRED | DRIFTED => line("Changes", &condition.message),
                REPAVING => line("Repave", &condition.message),
                kind => line(kind, &format!("{} ({})", condition.status, condition.message)),
            }
        }
    }
    line("UUID", &domain.uuid.to_string());
    line("VCPUs", &domain.vcpus.to_string());
    line("Memory", &domain.memory.to_string());
    line("Autostart", if domain.autostart { "yes" } else { "no" });
    for (key, value) in &seen.vm.metadata.labels {
        line("Label", &format!("{key}={value}"));
    }
    for address in seen.vm.status.iter().flat_map(|s| &s.addresses) {
        line("Address", &format!("{} ({})", address.address, address.source));
    }
    for snapshot in seen.vm.status.iter().flat_map(|s| &s.snapshots) {
        let made = snapshot.created_at.as_ref().map(|at| format!("  {at} ({} ago)", format_age(at)));
        line("Snapshot", &format!("{}{}", snapshot.name, made.unwrap_or_default()));
    }
    describe_record(seen, &mut line);
    render_details(13, &lines, ui.terminal_columns())
}

fn describe_record(seen: &VmView, line: &mut impl FnMut(&str, &str)) {
    let Some(record) = seen.record() else {
        let first = seen.owner.manifest().is_some();
        line("Managed", if first { "yes, by the first foundry" } else { seen.managed_word() });
        return;
    };
    line("Created", &format!("{} ({} ago)", record.created_at, format_age(&record.created_at)));
    if let Some(image) = &record.image {
        line("Image", image);
    }
    if let Some(origin) = &record.image_origin {
        line("Image from", &origin.source);
        line("", &format!("{} {}", origin.fetched, origin.digest.as_deref().unwrap_or("")));
    }
    for volume in &record.volumes {
        line("Volume", &volume_text(volume));
    }
    for spare in record.repave.iter().flat_map(|note| &note.spare) {
        line("Spare", &volume_text(spare));
    }
    if let Some(log) = &record.console_log {
        line("Console log", log);
    }
}

fn volume_text(volume: &RecordedVolume) -> String {
    format!("{}/{}  {}  {}", volume.pool, volume.name, volume.format, volume.capacity)
}
