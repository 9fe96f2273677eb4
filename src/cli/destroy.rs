//! `foundry destroy`

use std::time::Duration;

use clap::Args;

use super::Global;
use super::connect::connect;
use super::interrupt;
use super::output::parse_duration;
use super::ui::Ui;
use crate::error::{Error, Kind};
use crate::operations::Session;
use crate::operations::destroy::{Demolition, Doomed, Options, carry_out, survey};

/// Stop VMs and delete them with their disks
#[derive(Debug, Args)]
#[command(visible_aliases = ["delete", "rm"], after_help = "Examples:
  foundry destroy web
  foundry destroy web db --yes
  foundry destroy web --keep-disks")]
pub(super) struct DestroyArgs {
    /// Names of the VMs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Do not ask on a terminal
    #[arg(short, long)]
    yes: bool,
    /// Do not wait for the guest to shut down; and destroy domains that foundry did not make
    #[arg(short, long)]
    force: bool,
    /// Keep boot and data disks, and print their names
    #[arg(long)]
    keep_disks: bool,
    /// How long the guest may take to shut down
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
}

pub(super) fn run(args: &DestroyArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let connected = connect(global, ui)?;
    let mut failures: Vec<Error> = Vec::new();
    for (index, name) in args.names.iter().enumerate() {
        if connected.cancel.is_requested() {
            break;
        }
        let first = index == 0;
        if let Err(error) = destroy_one(args, &connected.session(), name, first, ui) {
            failures.push(error);
        }
    }
    // The worst one is told by whoever called.
    failures.sort_by_key(Error::kind);
    let worst = failures.pop();
    failures.iter().for_each(|error| ui.error(error));
    worst.map_or(Ok(()), Err)
}

fn destroy_one(
    args: &DestroyArgs,
    session: &Session<'_>,
    name: &str,
    first: bool,
    ui: &Ui,
) -> Result<(), Error> {
    let options = Options { force: args.force, keep_disks: args.keep_disks, timeout: args.timeout };
    let demolition = survey(session, name, options)?;
    if !args.yes && ui.confirm(&question(&demolition)) == Some(false) {
        return Err(
            Error::new(Kind::Vm, format!("VM '{name}' was not destroyed")).outcome("nothing was changed")
        );
    }
    // Only now: until the answer a signal ends the program at once.
    if first {
        interrupt::guard(session.cancel)?;
    }
    carry_out(session, &demolition)?;
    for kept in &demolition.kept {
        ui.line(&format!("{}/{}", kept.pool, kept.name))?;
    }
    ui.line(&format!("Successfully destroyed VM '{}'", demolition.domain.name))
}

fn question(demolition: &Demolition) -> String {
    let mut text = format!("Destroy VM '{}' ({})", demolition.domain.name, demolition.domain.state.as_str());
    let list = |text: &mut String, title: &str, volumes: &[Doomed]| {
        if !volumes.is_empty() {
            text.push_str(&format!("\n  {title}"));
            for v in volumes {
                let snapshot = if v.role.is_none() { ", made by a snapshot" } else { "" };
                text.push_str(&format!("\n    {}/{}  {}{snapshot}", v.pool, v.name, v.capacity));
            }
        }
    };
    list(&mut text, "and delete these disks for good:", &demolition.volumes);
    list(&mut text, "and keep these disks:", &demolition.kept);
    text.push_str("\nGo ahead?");
    text
}
