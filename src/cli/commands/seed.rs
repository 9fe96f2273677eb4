//! `foundry seed`

use clap::{Args, Subcommand};

use crate::connect::connect_host;
use crate::consent::{self, list_kept_back, list_volumes};
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::Error;
use foundry_core::text::escape_unseen;
use foundry_engine::vm::seed::{self, EjectPlan};

/// Delete the cloud-init seed of a VM
#[derive(Debug, Args)]
pub(crate) struct SeedArgs {
    #[command(subcommand)]
    command: SeedCommand,
}

#[derive(Debug, Subcommand)]
enum SeedCommand {
    /// Detach the seed and delete its volume, once cloud-init is done
    ///
    /// After that its content (password hash, user-data) exists only in the guest and in your manifest.
    #[command(
        after_help = "Examples:\n  foundry create web.yaml --wait=cloud-init && foundry seed eject web"
    )]
    Eject {
        /// Name of the VM
        #[arg(value_name = "VM")]
        name: String,
        /// Eject even if cloud-init may not be done, or failed
        #[arg(short, long)]
        force: bool,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

pub(super) fn run_seed(args: &SeedArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let SeedCommand::Eject { name, force, yes } = &args.command;
    let Some(ejection) = seed::plan_eject(&context, name, *force)? else {
        return ui.write_line(&format!("The seed of VM '{name}' is already ejected"));
    };
    if !yes {
        consent::require_consent(&eject_question(&ejection), "nothing was ejected", ui)?;
    }
    // Not earlier: until the question is answered, a signal ends the program at once.
    interrupt::install_handler(&context.cancel)?;
    seed::eject_seed(&context, &ejection)?;
    let vm = &ejection.vm;
    ui.write_line(&format!("Successfully ejected the seed of VM '{vm}'"))
        .map_err(|unwritten| unwritten.outcome(format!("the seed of VM '{vm}' was ejected")))
}

fn eject_question(ejection: &EjectPlan) -> String {
    let EjectPlan { vm, live, volume, kept_back, .. } = ejection;
    let runs = if *live { ", which is running" } else { "" };
    let mut text = format!("Detach the seed of VM '{}'{runs}\n", escape_unseen(vm));
    list_volumes(&mut text, "and delete:", volume.as_slice());
    list_kept_back(&mut text, kept_back.as_slice());
    text + "Continue?"
}
