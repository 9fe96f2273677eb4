//! The arguments of `foundry init`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Args;
use foundry_core::manifest::Number;
use foundry_core::names::{BridgeName, NetworkName};
use ipnet::Ipv4Net;

/// Create a manifest, prompting for missing values
///
/// Fields without a flag (labels, IPv6, mtu, data disks, user-data, …) are added in the file; 'foundry explain
/// --recursive' lists all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry init
  foundry init --name web --image debian-13.qcow2 --network default \\
      --ssh-key ~/.ssh/id_ed25519.pub
  foundry init --name db --image debian-13.qcow2 --bridge br0 \\
      --ip 10.20.30.41/24 --gateway 10.20.30.1 --dns 10.20.30.1 --output -")]
pub(crate) struct InitArgs {
    /// Name of the VM
    #[arg(long)]
    pub(super) name: Option<String>,
    /// What it boots: a volume of the image pool, POOL:VOLUME, or an absolute path on the host
    #[arg(long)]
    pub(super) image: Option<String>,
    /// Bridge of the host to attach it to
    #[arg(long, conflicts_with = "network")]
    pub(super) bridge: Option<BridgeName>,
    /// IPv4 address on the bridge, with prefix length
    #[arg(long, value_name = "ADDRESS/LENGTH", conflicts_with = "network")]
    pub(super) ip: Option<Ipv4Net>,
    /// IPv4 gateway; without one the VM is isolated
    #[arg(long, value_name = "ADDRESS", conflicts_with = "network")]
    pub(super) gateway: Option<Ipv4Addr>,
    /// Name server (repeatable)
    #[arg(long, value_name = "ADDRESS", conflicts_with = "network")]
    pub(super) dns: Vec<IpAddr>,
    /// libvirt network with DHCP, instead of a bridge
    #[arg(long)]
    pub(super) network: Option<NetworkName>,
    /// File with a public key for root (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(super) ssh_key: Vec<PathBuf>,
    /// Virtual CPUs
    #[arg(long, default_value = "2")]
    pub(super) vcpus: u32,
    /// Memory in GiB
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = parse_number)]
    pub(super) memory: Number,
    /// Size of the boot disk in GiB
    #[arg(long, value_name = "GIB", default_value = "20")]
    pub(super) disk: u64,
    /// Output file, - for standard output; never overwritten [default: NAME.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<String>,
}

/// Parses a number as a manifest has it.
pub(super) fn parse_number(text: &str) -> Result<Number, String> {
    let real = || text.parse().map(Number::Real).map_err(|_| format!("'{text}' is not a number"));
    text.parse().map(Number::Whole).or_else(|_: std::num::ParseIntError| real())
}
