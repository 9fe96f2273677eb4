//! `foundry network`

use clap::{Args, Subcommand};

use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, OutputArgs, TableRow, or_dash, render_details};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_engine::network::list::{self, NetworkView};

/// List libvirt networks and bridges, and show who uses them
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    command: NetworkCommand,
}

#[derive(Debug, Subcommand)]
enum NetworkCommand {
    List(NetworkListArgs),
    Info(NetworkInfoArgs),
}

/// List libvirt's networks and the bridges of this host
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:\n  foundry network list\n  foundry network list -o wide"
)]
struct NetworkListArgs {
    #[command(flatten)]
    listing: ListingArgs,
}

/// Show one network or bridge
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  foundry network info default\n  foundry network info br0 -o json")]
struct NetworkInfoArgs {
    /// Name of a libvirt network or of a bridge
    #[arg(value_name = "NETWORK")]
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run_network(args: &NetworkArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    match &args.command {
        NetworkCommand::List(args) => {
            args.listing.show_list(&list::list_networks(&context)?, "No networks", (global, ui))
        }
        NetworkCommand::Info(args) => {
            let view = list::get_network(&context, &args.name)?;
            let details = |_: &_| render_details(10, &detail_rows(&view), ui.terminal_columns());
            args.output.show_object(&view, &[&view.name], details, (global, ui))
        }
    }
}

impl TableRow for NetworkView {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["NAME", "KIND", "STATE", "ADDRESSES", "VMS"];
    const WIDE_HEADERS: &'static [&'static str] = &["BRIDGE", "FORWARD", "DHCP", "MTU", "VLANS"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.kind.as_str().into(),
            state_word(self).into(),
            or_dash(join(self.addresses.iter().cloned())),
            or_dash(join(self.vms.iter().cloned())),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![
            or_dash(self.bridge.clone()),
            or_dash(self.forward.clone()),
            or_dash(join(self.dhcp_ranges.iter().cloned())),
            or_dash(self.mtu.map(|mtu| mtu.to_string())),
            or_dash(self.filters_vlans.map(|filters| if filters { "yes" } else { "no" }.into())),
        ]
    }
}

fn state_word(view: &NetworkView) -> &'static str {
    if view.active { "active" } else { "inactive" }
}

/// The parts with commas between them; `None` if there are none.
fn join(parts: impl Iterator<Item = String>) -> Option<String> {
    let text = parts.collect::<Vec<_>>().join(",");
    (!text.is_empty()).then_some(text)
}

fn detail_rows(view: &NetworkView) -> Vec<(String, String)> {
    let text = |label: &str, value: Option<String>| value.map(|value| (label.to_owned(), value));
    let each = |label: &str, values: Vec<String>| -> Vec<(String, String)> {
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        labels.zip(values).map(|(label, value)| (label.to_owned(), value)).collect()
    };
    let vlans = view.filters_vlans.map(|filters| if filters { "filtered" } else { "not filtered" }.into());
    let single = [
        text("Name", Some(view.name.clone())),
        text("Kind", Some(view.kind.as_str().into())),
        text("State", Some(state_word(view).into())),
        text("Bridge", view.bridge.clone()),
        text("Forward", view.forward.clone()),
        text("MTU", view.mtu.map(|mtu| mtu.to_string())),
        text("VLANs", vlans),
    ];
    let mut rows: Vec<(String, String)> = single.into_iter().flatten().collect();
    rows.extend(each("Addresses", view.addresses.clone()));
    rows.extend(each("DHCP", view.dhcp_ranges.clone()));
    rows.extend(each("VMs", view.vms.clone()));
    rows
}
