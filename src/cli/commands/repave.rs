//! `foundry repave`

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::bulk::{BulkArgs, NO_VMS_MATCH, report_all};
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::vm_selection::VmSelectionArgs;
use crate::words::{render_advice, render_repave_change};
use crate::{Global, consent, interrupt, ssh_client};
use foundry_core::error::Error;
use foundry_core::record::RecordedVolume;
use foundry_core::text::escape_unseen;
use foundry_engine::Context;
use foundry_engine::vm::power::StopOptions;
use foundry_engine::vm::repave::{
    RepaveReport, RepaveRequest, RepaveSource, accept_repave, plan_repave, repave_vm, roll_back_repave,
};
use foundry_engine::vm::wait::Goal;

/// Give VMs new boot disks from their images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry repave web --wait
  foundry repave web --image debian-13 --wait=cloud-init --timeout 10m
  foundry repave web --rollback
  foundry repave -l role=web --parallel 1 --wait")]
pub(crate) struct RepaveArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    /// The image of the new boot disk; the manifest gets it, too
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Wait until the VM is ready, and bring the old boot disk back if that fails [default goal: ssh]
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "ssh", value_name = "GOAL")]
    wait: Option<TrialGoal>,
    /// How long to wait [default: 5m] [env: FOUNDRY_WAIT_TIMEOUT]
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Bring the previous boot disk and seed back
    #[arg(long, conflicts_with_all = ["image", "wait"])]
    rollback: bool,
    /// Delete the previous boot disk and seed
    #[arg(long, conflicts_with_all = ["image", "wait", "rollback", "force", "stop_timeout"])]
    accept: bool,
    /// Force the guest off at once, as a power failure would
    #[arg(long)]
    force: bool,
    /// How long the guest may take to shut down
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration, conflicts_with = "force")]
    stop_timeout: Duration,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    bulk: BulkArgs,
}

/// What shows that the new boot disk works. A known address does not: the host may remember it from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrialGoal {
    /// The SSH server answers on the VM's address
    Ssh,
    /// The guest agent answers
    Agent,
    /// Cloud-init has finished without errors
    CloudInit,
}

impl From<TrialGoal> for Goal {
    fn from(arg: TrialGoal) -> Self {
        match arg {
            TrialGoal::Ssh => Self::Ssh,
            TrialGoal::Agent => Self::Agent,
            TrialGoal::CloudInit => Self::CloudInit,
        }
    }
}

impl RepaveArgs {
    fn stop(&self) -> StopOptions {
        StopOptions { force: self.force, timeout: self.stop_timeout }
    }

    fn request<'a>(&self, vm: &'a str, global: &Global) -> RepaveRequest<'a> {
        let timeout = self.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::WaitTimeout));
        RepaveRequest {
            vm,
            source: self.image.clone().map_or(RepaveSource::Recorded, RepaveSource::Image),
            stop: self.stop(),
            wait: self.wait.map(|goal| (goal.into(), timeout)),
        }
    }
}

pub(super) fn run_repave(args: &RepaveArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let names = args.vms.find_names(&context)?;
    if names.is_empty() {
        ui.show_note(NO_VMS_MATCH);
        return Ok(());
    }
    if !args.yes && ui.can_ask() {
        consent::require_consent(&question(args, &names, &context, global)?, "nothing was changed", ui)?;
    }
    // Not earlier: until the question is answered, a signal ends the program at once.
    interrupt::install_handler(&context.cancel)?;
    let failures = args.bulk.collect_failures(&names, String::as_str, &context, ui, |context, name| {
        let report = match (args.rollback, args.accept) {
            (true, _) => roll_back_repave(context, name, args.stop()),
            (_, true) => accept_repave(context, name),
            _ => repave_vm(context, &args.request(name, global)),
        }?;
        show_report(&report, ui)
    });
    report_all(failures, ui)
}

/// The question, with the volumes that are replaced.
fn question(
    args: &RepaveArgs,
    names: &[String],
    context: &Context,
    global: &Global,
) -> Result<String, Error> {
    let mut text = String::new();
    for name in names {
        let vm = escape_unseen(name);
        if args.rollback {
            text.push_str(&format!(
                "Bring the previous boot disk of VM '{vm}' back, and delete the present one\n"
            ));
        } else if args.accept {
            text.push_str(&format!("Delete the previous boot disk of VM '{vm}'\n"));
        } else {
            let replaced = plan_repave(context, &args.request(name, global))?;
            let until = match args.wait {
                Some(_) => "delete these volumes when the new ones have passed",
                None => "keep these volumes until you decide",
            };
            text.push_str(&format!("Give VM '{vm}' a new boot disk and {until}:\n"));
            replaced.iter().for_each(|volume| text.push_str(&volume_line(volume)));
        }
    }
    text.push_str("Continue?");
    Ok(text)
}

fn volume_line(volume: &RecordedVolume) -> String {
    format!("    {}/{}  {}\n", escape_unseen(&volume.pool), escape_unseen(&volume.name), volume.capacity)
}

fn show_report(report: &RepaveReport, ui: &Ui) -> Result<(), Error> {
    // The guest may have other host keys now; the file is written again from the record.
    ssh_client::forget_known_hosts(report.uuid);
    let vm = escape_unseen(&report.vm);
    let what = render_repave_change(report.change);
    ui.write_line(&format!("virtualmachine/{vm} {what}"))
        .map_err(|unwritten| unwritten.outcome(format!("VM '{}' is {what}", report.vm)))?;
    if !report.addresses.is_empty() {
        ui.show_note(&format!("VM '{}' is ready: {}", report.vm, report.addresses.join(", ")));
    }
    if let Some(advice) = &report.advice {
        let kept = format!("The previous boot disk of VM '{}' is kept", report.vm);
        ui.show_note(&format!("{kept}: {}", render_advice(advice)));
    }
    Ok(())
}
