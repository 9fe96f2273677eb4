//! `foundry init`

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::Args;
use ipnet::Ipv4Net;

use super::init_answers::starter;
use crate::Global;
use crate::ui::Ui;
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{self, Number};
use foundry_core::names::{BridgeName, NetworkName};
use foundry_core::plan::VmPlan;
use foundry_core::text::{io_cause, shell_word};

/// Create a manifest, prompting for missing values
///
/// What it has no flag for (labels, IPv6, mtu, data disks, user-data, …) is added in the file: 'foundry explain
/// --recursive' lists all fields.
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
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = number)]
    pub(super) memory: Number,
    /// Size of the boot disk in GiB
    #[arg(long, value_name = "GIB", default_value = "20")]
    pub(super) disk: u64,
    /// Output file, - for standard output; never overwritten [default: NAME.yaml]
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
}

/// A number as a manifest has it.
fn number(text: &str) -> Result<Number, String> {
    let real = || text.parse().map(Number::Real).map_err(|_| format!("'{text}' is no number"));
    text.parse().map(Number::Whole).or_else(|_: std::num::ParseIntError| real())
}

pub(super) fn run(args: &InitArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let asks = !missing(args).is_empty();
    if asks && !ui.can_ask() {
        return Err(incomplete(args));
    }
    let starter = starter(args, asks, global, ui)?;
    let text = starter.to_yaml();
    judge(&text, global)?;
    if starter.ssh_keys.is_empty() {
        ui.note("Nobody can log in to this VM: no --ssh-key was given");
    }
    let file = args.output.clone().unwrap_or_else(|| format!("{}.yaml", starter.name));
    if file == "-" {
        return ui.result(&text);
    }
    write_new(&file, &text)?;
    ui.line(&format!("Successfully wrote {file}"))?;
    ui.note(&format!("foundry create {} --wait makes the VM", shell_word(&file)));
    Ok(())
}

/// What every manifest says and nobody has said yet.
fn missing(args: &InitArgs) -> Vec<&'static str> {
    let on_bridge = args.network.is_none();
    let needed = [
        ("--name", args.name.is_none()),
        ("--image", args.image.is_none()),
        ("--bridge (or --network)", on_bridge && args.bridge.is_none()),
        ("--ip", on_bridge && args.ip.is_none()),
    ];
    needed.into_iter().filter(|(_, missing)| *missing).map(|(flag, _)| flag).collect()
}

/// Without a terminal, all missing values are reported together.
fn incomplete(args: &InitArgs) -> Error {
    Error::new(Code::NobodyToAsk, "nobody can be asked what the manifest is to say")
        .hint(format!("give {}", missing(args).join(", ")))
        .outcome("nothing was written")
}

/// What is written can be made: as far as that can be told without a host, and with the same words.
fn judge(text: &str, global: &Global) -> Result<(), Error> {
    let defaults = global.settings()?.defaults(None);
    let judged = manifest::load(text, "the manifest").map_err(Error::from).and_then(|manifests| {
        manifests.iter().try_for_each(|m| VmPlan::from_manifest(m, &defaults).map(drop).map_err(Error::from))
    });
    judged.map_err(|error| error.outcome("nothing was written"))
}

fn write_new(file: &str, text: &str) -> Result<(), Error> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    opened.and_then(|mut opened| opened.write_all(text.as_bytes())).map_err(|error| {
        let what = |code| Error::new(code, format!("cannot write {file}"));
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                what(Code::FileTaken).because("it is there already").hint("--output FILE takes another one")
            }
            _ => what(Code::FileUnwritable).because(io_cause(&error)),
        }
        .outcome("nothing was changed")
    })
}
