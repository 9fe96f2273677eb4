//! `foundry rename`

use clap::Args;

use crate::connect::connect_host;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::names::VmName;
use foundry_engine::vm::rename::{RenamedVm, rename_vm};

/// Give a VM that is off another name
///
/// Its UUID, MAC addresses, EFI variables and disks stay. The volumes of the disks keep their names, because libvirt
/// cannot rename volumes. The host name in the guest stays, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry stop web && foundry rename web www && foundry start www")]
pub(crate) struct RenameArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    /// The new name
    #[arg(value_name = "NEW")]
    new: String,
}

pub(super) fn run_rename(args: &RenameArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let new = parse_new_name(&args.new)?;
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let renamed = rename_vm(&context, &args.name, &new)?;
    let RenamedVm { from, to, was_renamed, volumes } = &renamed;
    let verb = if *was_renamed { "already renamed" } else { "renamed" };
    ui.write_line(&format!("virtualmachine/{from} {verb} to {to}"))
        .map_err(|unwritten| unwritten.outcome(format!("VM '{from}' was renamed to '{to}'")))?;
    if !(*was_renamed || volumes.is_empty()) {
        let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
        let names = names.join(", ");
        ui.show_note(&format!(
            "Its volumes keep their names, because libvirt cannot rename volumes: {names}"
        ));
    }
    Ok(())
}

/// Parses the name of a new VM, as in a manifest: capitals become small letters.
pub(super) fn parse_new_name(text: &str) -> Result<VmName, Error> {
    VmName::parse_normalized(text)
        .map_err(|why| Error::new(Code::NameUnfit, format!("the name '{text}' {why}")).unchanged())
}
