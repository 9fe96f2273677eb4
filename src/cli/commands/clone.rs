//! `foundry clone`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::create::{GoalArg, wait_for};
use super::rename::parse_new_name;
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::VmName;
use foundry_core::plan::CloneIdentity;
use foundry_core::text::{describe_io_error, escape_unseen};
use foundry_engine::vm::clone::{CloneDisks, CloneRequest, clone_vm, snapshot_name};

/// Copy a VM that is off, and start the copy
///
/// The copy has the content of all disks, and a name, UUID, MAC addresses, EFI variables, SSH host keys and cloud-init
/// instance of its own. Fixed addresses are not copied: give it its own with --ip.
///
/// With --link, its disks are overlays on a snapshot of the VM. That takes no time and no space, but neither the snapshot
/// nor the files below it can be deleted as long as the copy exists.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry clone web www
  foundry clone web www --ip 10.20.30.41 --wait
  foundry clone db db2 --ip 10.20.30.42/24 --ip fd00::42/64 --wait=cloud-init
  foundry clone web www --link
  foundry clone web www2 --link --snapshot linked-www")]
pub(crate) struct CloneArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    vm: String,
    /// Name of the copy
    #[arg(value_name = "NEW")]
    new: String,
    /// Fixed address of the copy (repeatable, in the order of the original's)
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<String>,
    /// Make the disks overlays on a snapshot of the VM instead of copying them
    #[arg(long)]
    link: bool,
    /// Link to this snapshot instead of a new one; the VM may run
    #[arg(long, value_name = "SNAPSHOT", requires = "link")]
    snapshot: Option<String>,
    /// Network-config of the copy, if the VM has one of its own
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,
    /// Wait until the copy is ready [default goal: ssh]
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "ssh", value_name = "GOAL")]
    wait: Option<GoalArg>,
    /// How long to wait, as in 90s or 5m; the copy stays [default: 5m] [env: FOUNDRY_WAIT_TIMEOUT]
    #[arg(long, requires = "wait", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn run_clone(args: &CloneArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let name = parse_new_name(&args.new)?;
    let network_config = args.network_config.as_ref().map(read_network_config).transpose()?;
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let identity = CloneIdentity { name, addresses: args.ip.clone() };
    let request = CloneRequest { identity, network_config, disks: args.disks() };
    let created = clone_vm(&context, &args.vm, &request)?;
    let (vm, copy) = (&args.vm, &request.identity.name);
    ui.write_line(&format!("virtualmachine/{copy} cloned from {vm}")).map_err(|unwritten| {
        let destroy = Verb::Destroy { vm: copy.to_string(), force: false };
        unwritten.outcome(
            Advice::from(format!("VM '{copy}' was created and is kept; ")).run(destroy).text(" removes it"),
        )
    })?;
    if let Some(snapshot) = args.base(&request.identity.name) {
        ui.show_note(&format!("VM '{copy}' needs snapshot '{snapshot}' of VM '{vm}' as long as it exists"));
    }
    let timeout = args.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::WaitTimeout));
    match args.wait {
        Some(goal) => wait_for(&context, &created, (goal.into(), timeout), ui),
        None => Ok(()),
    }
}

impl CloneArgs {
    fn disks(&self) -> CloneDisks {
        match (&self.snapshot, self.link) {
            (Some(snapshot), _) => CloneDisks::OnSnapshot(snapshot.clone()),
            (None, true) => CloneDisks::OnNewSnapshot,
            (None, false) => CloneDisks::Copied,
        }
    }

    /// The snapshot that a linked copy is based on.
    fn base(&self, copy: &VmName) -> Option<String> {
        let own = self.snapshot.clone().or_else(|| self.link.then(|| snapshot_name(copy)));
        own.map(|name| escape_unseen(&name))
    }
}

fn read_network_config(file: &PathBuf) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|e| {
        Error::new(Code::FileUnreadable, format!("cannot read {}", file.display()))
            .because(describe_io_error(&e))
            .unchanged()
    })
}
