//! `foundry gc`

use std::fmt::Write as _;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::destroy::tell_all;
use crate::connect::connect;
use crate::output::{Listed, ListingArgs, age, or_dash};
use crate::ui::Ui;
use crate::words::{self, hints};
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;
use foundry_core::units::Bytes;
use foundry_engine::gc::{self, Leftover, LeftoverAction, LeftoverName, Leftovers, LibvirtPaths};

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

pub(super) fn run(args: &GcArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect(global, ui)?;
    let places = LibvirtPaths::of(context.host.uri());
    let named: Vec<LeftoverName> = args.names.iter().map(|name| name.as_str().into()).collect();
    let found = gc::find_leftovers_for(&context, places.as_ref(), &named)?;
    let pools = found.unseen_pools.iter().map(words::advice);
    let unseen = found.unseen.iter().cloned().chain(pools);
    unseen.for_each(|unseen| ui.warn(&format!("not looked at: {unseen}")));
    // A name that is none ends it before anything is done.
    let chosen = gc::choose_leftovers(&context, &found, &named)?;
    show(args, &found, (global, ui))?;
    if args.dry_run || chosen.is_empty() {
        return Ok(());
    }
    if !args.yes {
        agree(&chosen, ui)?;
    }
    // Only now: until the answer a signal ends the program at once.
    interrupt::guard(&context.cancel)?;
    let (mut count, mut freed) = (0, Bytes(0));
    let outcome = gc::execute_cleanup(&context, places.as_ref(), &chosen, |remains| {
        (count, freed) = (count + 1, freed.saturating_add(remains.size.unwrap_or_default()));
    });
    if let Err(failures) = outcome {
        ui.note(&format!("{count} of {} finished or removed", chosen.len()));
        return tell_all(failures, ui);
    }
    tell_success(args.listing.form(global).is_table(), count, freed, ui)
}

/// Behind a listing for a program there is nothing more to read.
fn tell_success(to_people: bool, count: usize, freed: Bytes, ui: &Ui) -> Result<(), Error> {
    let freed = if freed > Bytes(0) { format!(", {freed}") } else { String::new() };
    let text = format!("Successfully cleaned up {count}{freed}");
    if to_people {
        return ui.line(&text);
    }
    ui.note(&text);
    Ok(())
}

fn show(args: &GcArgs, found: &Leftovers, (global, ui): (&Global, &Ui)) -> Result<(), Error> {
    let nothing = match found.unseen_pools.is_empty() {
        true => "Nothing was left",
        false => "Nothing was left where it could be looked",
    };
    let views: Vec<RemainsView<'_>> = found.found.iter().map(RemainsView::of).collect();
    args.listing.show(&views, nothing, (global, ui))?;
    if args.listing.form(global).is_table() {
        hint(args, &found.found, ui);
    }
    Ok(())
}

/// One thing that was left.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RemainsView<'a> {
    #[serde(flatten)]
    remains: &'a Leftover,
    /// What else can be done about it: a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl<'a> RemainsView<'a> {
    fn of(remains: &'a Leftover) -> Self {
        Self { remains, hint: remains.advice.as_ref().map(words::advice) }
    }
}

impl Listed for RemainsView<'_> {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["WHAT", "NAME", "AGE", "SIZE", "FATE", "VOLUMES", "REASON"];
    const WIDE_HEADERS: &'static [&'static str] = &["OR"];

    fn object(&self) -> &Self {
        self
    }

    fn name(&self) -> Option<String> {
        Some(self.remains.name.clone())
    }

    fn cells(&self) -> Vec<String> {
        let Leftover { kind, name, since, size, fate, volumes, reason, .. } = self.remains;
        let volumes = Some(volumes.join(", ")).filter(|v| !v.is_empty());
        vec![
            kind.as_str().to_owned(),
            name.clone(),
            or_dash(since.as_deref().map(age)),
            or_dash(size.map(|size| size.to_string())),
            fate.as_str().to_owned(),
            or_dash(volumes),
            reason.clone(),
        ]
    }

    fn wide_cells(&self) -> Vec<String> {
        vec![or_dash(self.hint.clone())]
    }
}

/// How to go on.
fn hint(args: &GcArgs, remains: &[Leftover], ui: &Ui) {
    let has = |fate| remains.iter().any(|r| r.fate == fate);
    if args.dry_run && has(LeftoverAction::Goes) {
        ui.note(hints::RUN_GC);
    }
    if args.names.is_empty() && has(LeftoverAction::WhenNamed) {
        ui.note(hints::NAME_LEFTOVERS);
    }
}

/// Nobody named what goes by itself, so that silence is no consent.
fn agree(chosen: &[&Leftover], ui: &Ui) -> Result<(), Error> {
    if !ui.can_ask() {
        return Err(Error::new(Code::NobodyToAsk, "nobody can be asked whether what was left may go")
            .hint("--yes removes it without a question, --dry-run shows it")
            .unchanged());
    }
    match ui.confirm(&question(chosen))? {
        true => Ok(()),
        false => Err(Error::new(Code::StorageDeclined, "nothing was changed")),
    }
}

/// One line for each, whatever their names hold.
fn question(chosen: &[&Leftover]) -> String {
    let mut text = String::from("Finish or remove for good:\n");
    for remains in chosen {
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "  {}: {}", escape_unseen(&remains.to_string()), escape_unseen(&remains.reason));
        for volume in &remains.volumes {
            let _ = writeln!(text, "    {}", escape_unseen(volume));
        }
    }
    text + "Go ahead?"
}
