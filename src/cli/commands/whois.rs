//! `foundry whois`

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, TableRow};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_engine::vm::whois::{self, WhoisMatch};

/// Show which VM has an address, a MAC address, a tap or a volume
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry whois 10.20.30.40
  foundry whois 52:54:00:12:34:56
  foundry whois vm0a141e28
  foundry whois foundry-vms/web_boot
  foundry whois web_boot -o name

VMs of other tools are shown, too. If no VM has it, the exit code is 4.")]
pub(crate) struct WhoisArgs {
    /// IP address, MAC address, name of a tap, or a volume: POOL/NAME, NAME or path
    #[arg(value_name = "IP|MAC|TAP|VOLUME")]
    what: String,
    #[command(flatten)]
    listing: ListingArgs,
}

pub(super) fn run_whois(args: &WhoisArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let found = whois::find_whois(&context, &args.what)?;
    args.listing.show_list(&found, "No VM has it", (global, ui))
}

impl TableRow for WhoisMatch {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["VM", "STATE", "MANAGED", "WHY"];
    const WIDE_HEADERS: &'static [&'static str] = &["UUID"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.vm.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        let managed = if self.managed { "yes" } else { "no" };
        vec![self.vm.clone(), self.state.clone(), managed.into(), self.reasons.join("; ")]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![self.uuid.clone()]
    }
}
