//! `foundry wait`

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::Global;
use crate::bulk::{BulkArgs, run_for_selected};
use crate::config::SettingKey;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::vm_selection::VmSelectionArgs;
use foundry_core::error::Error;
use foundry_engine::Context;
use foundry_engine::vm::wait::{self, Goal};
use foundry_engine::vm::wait_state::{StateGoal, wait_for_state};

/// Wait until VMs are in a state or ready for use
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry wait web
  foundry wait web db --for=cloud-init --timeout 15m
  foundry wait -l role=web --for=stopped")]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value = "ssh", value_name = "GOAL")]
    goal: WaitGoal,
    /// How long to wait, as in 90s or 5m [default: 5m] [env: FOUNDRY_WAIT_TIMEOUT]
    #[arg(long, value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    bulk: BulkArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WaitGoal {
    /// The guest executes
    Running,
    /// An address of the VM is known
    Ip,
    /// The SSH server answers on the VM's address
    Ssh,
    /// The guest agent answers
    Agent,
    /// Cloud-init has finished without errors
    CloudInit,
    /// The VM is off
    Stopped,
    /// The VM does not exist
    Deleted,
}

pub(super) fn run_wait(args: &WaitArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let timeout = args.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::WaitTimeout));
    run_for_selected((&args.vms, args.bulk), (global, ui), |context, vm| {
        wait_for(context, vm, args.goal, timeout)
    })
}

/// Waits for one VM, and returns its line.
fn wait_for(context: &Context, vm: &str, goal: WaitGoal, timeout: Duration) -> Result<String, Error> {
    let state = |goal| wait_for_state(context, vm, goal, timeout);
    let ready = |goal| wait::wait_for_named(context, vm, goal, timeout);
    let (vm, what) = match goal {
        WaitGoal::Running => (state(StateGoal::Running)?, "running".to_owned()),
        WaitGoal::Stopped => (state(StateGoal::Stopped)?, "stopped".into()),
        WaitGoal::Deleted => (state(StateGoal::Deleted)?, "deleted".into()),
        WaitGoal::Ip => with_addresses("has an address", ready(Goal::Ip)?),
        WaitGoal::Ssh => with_addresses("answers by SSH", ready(Goal::Ssh)?),
        WaitGoal::Agent => with_addresses("its guest agent answers", ready(Goal::Agent)?),
        WaitGoal::CloudInit => with_addresses("cloud-init is done", ready(Goal::CloudInit)?),
    };
    Ok(format!("virtualmachine/{vm} {what}"))
}

fn with_addresses(what: &str, (vm, addresses): (String, Vec<String>)) -> (String, String) {
    match addresses.is_empty() {
        true => (vm, what.to_owned()),
        false => (vm, format!("{what}: {}", addresses.join(", "))),
    }
}
