//! `foundry next-ip`

use std::num::NonZeroU16;

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_engine::network::next_ip;

/// Print the lowest free address of a network
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry next-ip br0
  foundry next-ip 10.20.30.0/24 --count 3
  foundry next-ip 10.20.30.100/24

Not free are addresses of VMs, manifests, leases, gateways, the host and its
neighbours, and the DHCP ranges of libvirt networks. Nothing is reserved.")]
pub(crate) struct NextIpArgs {
    /// A network such as 10.20.30.0/24, a bridge of this host, or a libvirt network
    #[arg(value_name = "CIDR|BRIDGE")]
    place: String,
    /// Number of addresses, one on each line
    #[arg(long, value_name = "N", default_value = "1")]
    count: NonZeroU16,
}

pub(super) fn run_next_ip(args: &NextIpArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let found = next_ip::find_free_addresses(&context, &args.place, usize::from(args.count.get()))?;
    found.iter().try_for_each(|address| ui.write_line(&address.to_string()))
}
