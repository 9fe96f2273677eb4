//! `foundry inventory`

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::output::to_json;
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_engine::vm::inventory;

/// Print foundry's VMs as an inventory for Ansible
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry inventory --list
  foundry inventory --host web

Ansible runs an inventory script with --list. As an executable file:
  #!/bin/sh
  exec foundry inventory \"$@\"

Groups: label_KEY_VALUE, pool_POOL, state_STATE and context_CONTEXT.")]
#[group(id = "what", required = true, multiple = false)]
pub(crate) struct InventoryArgs {
    /// Print all VMs with their groups and variables
    #[arg(long, group = "what")]
    list: bool,
    /// Print the variables of one VM
    #[arg(long, value_name = "VM", group = "what")]
    host: Option<String>,
}

pub(super) fn run_inventory(args: &InventoryArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let json = match &args.host {
        Some(name) => to_json(&inventory::get_host_vars(&context, name)?)?,
        None => {
            let current = global.effective_config().current_context();
            to_json(&inventory::list_inventory(&context, current.map(|c| c.text.as_str()))?)?
        }
    };
    ui.write_result(&json)
}
