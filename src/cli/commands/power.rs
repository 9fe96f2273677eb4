//! `foundry start`, `stop`, `restart`, `pause` and `resume`

use std::time::Duration;

use clap::Args;

use crate::Global;
use crate::bulk::{BulkArgs, run_for_selected};
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::vm_selection::VmSelectionArgs;
use crate::words::render_power_change;
use foundry_core::error::Error;
use foundry_engine::Context;
use foundry_engine::vm::power::{self, PowerReport, StopOptions};

/// Start VMs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry start web
  foundry start 'ci-*'
  foundry start -l role=web")]
pub(crate) struct StartArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    /// Discard saved memory, and boot instead of continuing from it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    bulk: BulkArgs,
}

/// Ask guests to shut down, and wait until they are off
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry stop web
  foundry stop web db --timeout 5m
  foundry stop --all
  foundry stop web --force")]
pub(crate) struct StopArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    #[command(flatten)]
    stop: StopRequest,
    #[command(flatten)]
    bulk: BulkArgs,
}

/// Stop VMs and start them with their present definition
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry restart web
  foundry restart web --reboot
  foundry restart -l role=web --parallel 1")]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    #[command(flatten)]
    stop: StopRequest,
    /// Only ask the guest to reboot; a changed definition does not take effect
    #[arg(long, conflicts_with_all = ["force", "timeout"])]
    reboot: bool,
    #[command(flatten)]
    bulk: BulkArgs,
}

/// Stop the processors of VMs; their memory is kept
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry pause web\n  foundry pause --all")]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    #[command(flatten)]
    bulk: BulkArgs,
}

/// Let paused or sleeping VMs continue
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry resume web\n  foundry resume --all")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    #[command(flatten)]
    bulk: BulkArgs,
}

/// How guests are stopped.
#[derive(Debug, Clone, Copy, Args)]
struct StopRequest {
    /// Force the guest off at once, as a power failure would
    #[arg(long)]
    force: bool,
    /// How long the guest may take to shut down
    #[arg(long, default_value = "1m", value_parser = parse_duration, conflicts_with = "force")]
    timeout: Duration,
}

impl StopRequest {
    fn options(self) -> StopOptions {
        StopOptions { force: self.force, timeout: self.timeout }
    }
}

pub(super) fn run_start(args: &StartArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    change_all((&args.vms, args.bulk), (global, ui), |context, vm| power::start(context, vm, args.force))
}

pub(super) fn run_stop(args: &StopArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let options = args.stop.options();
    change_all((&args.vms, args.bulk), (global, ui), |context, vm| power::stop(context, vm, options))
}

pub(super) fn run_restart(args: &RestartArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let options = args.stop.options();
    change_all((&args.vms, args.bulk), (global, ui), |context, vm| {
        if args.reboot { power::reboot(context, vm) } else { power::restart(context, vm, options) }
    })
}

pub(super) fn run_pause(args: &PauseArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    change_all((&args.vms, args.bulk), (global, ui), power::pause)
}

pub(super) fn run_resume(args: &ResumeArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    change_all((&args.vms, args.bulk), (global, ui), power::resume)
}

/// Changes all selected VMs side by side, with one line for each.
fn change_all(
    (vms, bulk): (&VmSelectionArgs, BulkArgs),
    (global, ui): (&Global, &Ui),
    change: impl Fn(&Context, &str) -> Result<PowerReport, Error> + Sync,
) -> Result<(), Error> {
    run_for_selected((vms, bulk), (global, ui), |context, vm| {
        let changed = change(context, vm)?;
        Ok(format!("virtualmachine/{} {}", changed.vm, render_power_change(changed.change)))
    })
}
