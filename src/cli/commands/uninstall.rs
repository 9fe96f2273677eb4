//! `foundry uninstall`

use std::time::Duration;

use clap::Args;

use crate::bulk::report_all;
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::consent::{list_kept_back, list_volumes, require_answer};
use crate::output::parse_duration;
use crate::ssh_client::forget_known_hosts;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::Error;
use foundry_core::text::escape_unseen;
use foundry_engine::uninstall::{Removed, UninstallPlan, execute_uninstall, plan_uninstall};
use foundry_engine::vm::destroy::DestroyOptions;

/// Delete all VMs, images and pools that foundry made on this host
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry uninstall --dry-run
  foundry uninstall

Files of yours stay: the program, ~/.config/foundry, ~/.cache/foundry.")]
pub(crate) struct UninstallArgs {
    /// Show what would be deleted, without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation; required when stdin is not a terminal
    #[arg(short, long)]
    yes: bool,
    /// Also delete images that cannot be pulled again
    #[arg(short, long)]
    all: bool,
    /// Do not wait for the guests to shut down
    #[arg(long)]
    force: bool,
    /// How long each guest may take to shut down [default: 5s] [env: FOUNDRY_DESTROY_TIMEOUT]
    #[arg(long, value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn run_uninstall(args: &UninstallArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let timeout = args.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::DestroyTimeout));
    let options = DestroyOptions { force: args.force, keep_disks: false, timeout };
    let plan = plan_uninstall(&context, options, args.all)?;
    if args.dry_run {
        return ui.write_text(&describe_plan(&plan, "Would "));
    }
    if plan.is_empty() {
        let mut text = String::new();
        list_kept_back(&mut text, &plan.kept);
        ui.show_note("Nothing to delete");
        return ui.write_text(&text);
    }
    if !args.yes {
        let question = format!("{}Continue?", describe_plan(&plan, ""));
        require_answer(&question, "deleting all that foundry made", ui)?;
    }
    // Not earlier: until the question is answered, a signal ends the program at once.
    interrupt::install_handler(&context.cancel)?;
    let mut unwritten = Ok(());
    let done = |removed: Removed<'_>| {
        let line = describe_removed(removed);
        if let Removed::Vm(vm) = removed {
            forget_known_hosts(vm.domain.uuid);
        }
        if unwritten.is_ok() {
            unwritten = ui.write_line(&line);
        }
    };
    let mut failures = execute_uninstall(&context, &plan, done).err().unwrap_or_default();
    failures.extend(unwritten.err());
    report_all(failures, ui)
}

fn describe_removed(removed: Removed<'_>) -> String {
    match removed {
        Removed::Vm(vm) => format!("Successfully destroyed VM '{}'", escape_unseen(&vm.domain.name)),
        Removed::Image(image) => format!("Successfully deleted image '{}'", escape_unseen(&image.name)),
        Removed::Pool(pool) => format!("Successfully removed pool '{}'", escape_unseen(&pool.name)),
    }
}

fn describe_plan(plan: &UninstallPlan, begin: &str) -> String {
    let mut text = String::new();
    let mut add = |verb: &str, what: String| {
        let verb = if begin.is_empty() { verb.to_owned() } else { verb.to_lowercase() };
        text.push_str(&format!("{begin}{verb} {what}\n"));
    };
    for vm in &plan.vms {
        let domain = &vm.domain;
        add("Destroy", format!("VM '{}' ({})", escape_unseen(&domain.name), domain.state));
    }
    for found in &plan.images {
        add("Delete", format!("image '{}' ({})", escape_unseen(&found.name), found.allocation));
    }
    for pool in &plan.pools {
        let place = pool.target.as_deref().unwrap_or_default();
        add(
            "Remove",
            format!("pool '{}' and its directory {}", escape_unseen(&pool.name), escape_unseen(place)),
        );
    }
    for vm in &plan.vms {
        list_volumes(&mut text, &format!("disks of VM '{}':", escape_unseen(&vm.domain.name)), &vm.volumes);
    }
    list_kept_back(&mut text, &plan.kept);
    text
}
