//! `foundry gc`

use std::fmt::Write as _;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::bulk::report_all;
use crate::connect::connect_host;
use crate::output::{ListingArgs, TableRow, format_age, or_dash};
use crate::ui::Ui;
use crate::words::{self, hints};
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;
use foundry_core::units::Bytes;
use foundry_engine::gc::{self, Leftover, LeftoverAction, LeftoverName, Leftovers};
use foundry_host::local::LibvirtInstance;

/// Clean up after interrupted commands and list unused volumes
///
/// VMs, disks and images whose creation or deletion was interrupted are completed or deleted, as their records say.
/// Volumes that no VM uses, and EFI variables of deleted domains, are listed; their owner is unknown, so they are
/// deleted only if you name them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry gc --dry-run
  foundry gc --yes
  foundry gc foundry-vms/old_boot")]
pub(crate) struct GcArgs {
    /// Clean up only these (a VM, POOL/VOLUME or EFI variables file, as listed)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Show what would be deleted, without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation; required when stdin is not a terminal
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    listing: ListingArgs,
}

pub(super) fn run_gc(args: &GcArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let paths = LibvirtInstance::of(context.host.uri()).domain_directories();
    let named: Vec<LeftoverName> = args.names.iter().map(|name| name.as_str().into()).collect();
    let found = gc::find_leftovers_for(&context, paths.as_ref(), &named)?;
    let pools = found.unseen_pools.iter().map(words::render_advice);
    let unseen = found.unseen.iter().cloned().chain(pools);
    unseen.for_each(|unseen| ui.show_warning(&format!("skipped: {unseen}")));
    // An unknown name is an error before anything is changed.
    let chosen = gc::choose_leftovers(&context, &found, &named)?;
    show_leftovers(args, &found, (global, ui))?;
    if args.dry_run || chosen.is_empty() {
        return Ok(());
    }
    if !args.yes {
        confirm_cleanup(&chosen, ui)?;
    }
    // Not earlier: until the question is answered, a signal ends the program at once.
    interrupt::install_handler(&context.cancel)?;
    let (mut count, mut freed) = (0, Bytes(0));
    let outcome = gc::execute_cleanup(&context, paths.as_ref(), &chosen, |leftover| {
        (count, freed) = (count + 1, freed.saturating_add(leftover.size.unwrap_or_default()));
    });
    if let Err(failures) = outcome {
        ui.show_note(&format!("{count} of {} cleaned up", chosen.len()));
        return report_all(failures, ui);
    }
    report_success(args.listing.chosen_format(global).is_table(), count, freed, ui)
}

/// Programs get no line after their listing; it goes to stderr.
fn report_success(to_people: bool, count: usize, freed: Bytes, ui: &Ui) -> Result<(), Error> {
    let freed = if freed > Bytes(0) { format!(", {freed}") } else { String::new() };
    let text = format!("Successfully cleaned up {count}{freed}");
    if to_people {
        return ui.write_line(&text);
    }
    ui.show_note(&text);
    Ok(())
}

fn show_leftovers(args: &GcArgs, found: &Leftovers, (global, ui): (&Global, &Ui)) -> Result<(), Error> {
    let nothing = match found.unseen_pools.is_empty() {
        true => "Nothing to clean up",
        false => "Nothing to clean up in what could be checked",
    };
    let views: Vec<LeftoverView<'_>> = found.found.iter().map(LeftoverView::from_leftover).collect();
    args.listing.show_list(&views, nothing, (global, ui))?;
    if args.listing.chosen_format(global).is_table() {
        suggest_next(args, &found.found, ui);
    }
    Ok(())
}

/// One leftover.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LeftoverView<'a> {
    #[serde(flatten)]
    leftover: &'a Leftover,
    /// An alternative: a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl<'a> LeftoverView<'a> {
    fn from_leftover(leftover: &'a Leftover) -> Self {
        Self { leftover, hint: leftover.advice.as_ref().map(words::render_advice) }
    }
}

impl TableRow for LeftoverView<'_> {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["WHAT", "NAME", "AGE", "SIZE", "FATE", "VOLUMES", "REASON"];
    const WIDE_HEADERS: &'static [&'static str] = &["OR"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.leftover.name.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        let Leftover { kind, name, since, size, fate, volumes, reason, .. } = self.leftover;
        let volumes = Some(volumes.join(", ")).filter(|v| !v.is_empty());
        vec![
            kind.as_str().to_owned(),
            name.clone(),
            or_dash(since.as_deref().map(format_age)),
            or_dash(size.map(|size| size.to_string())),
            fate.as_str().to_owned(),
            or_dash(volumes),
            reason.clone(),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![or_dash(self.hint.clone())]
    }
}

/// Suggests the next command.
fn suggest_next(args: &GcArgs, leftover: &[Leftover], ui: &Ui) {
    let has = |fate| leftover.iter().any(|r| r.fate == fate);
    if args.dry_run && has(LeftoverAction::CleanUp) {
        ui.show_note(&hints::run_gc());
    }
    if args.names.is_empty() && has(LeftoverAction::WhenNamed) {
        ui.show_note(hints::NAME_LEFTOVERS);
    }
}

/// Without a terminal this needs `--yes`, because the user did not name what will be deleted.
fn confirm_cleanup(chosen: &[&Leftover], ui: &Ui) -> Result<(), Error> {
    if !ui.can_ask() {
        return Err(Error::new(
            Code::NobodyToAsk,
            "cleaning up needs confirmation, and stdin is not a terminal",
        )
        .hint("--yes cleans up without asking, --dry-run shows what would be deleted")
        .unchanged());
    }
    match ui.ask_yes_no(&cleanup_question(chosen))? {
        true => Ok(()),
        false => Err(Error::new(Code::StorageDeclined, "nothing was changed")),
    }
}

/// The question, one line for each leftover.
fn cleanup_question(chosen: &[&Leftover]) -> String {
    let mut text = String::from("Clean up:\n");
    for leftover in chosen {
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "  {}: {}", escape_unseen(&leftover.to_string()), escape_unseen(&leftover.reason));
        for volume in &leftover.volumes {
            let _ = writeln!(text, "    {}", escape_unseen(volume));
        }
    }
    text + "Continue?"
}
