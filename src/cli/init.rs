//! `foundry init`

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use ipnet::Ipv4Net;

use super::Global;
use super::ui::Ui;
use crate::error::{Code, Error};
use crate::manifest::{self, Number};
use crate::names::{BridgeName, NetworkName, VmName};
use crate::ownership;
use crate::plan::VmPlan;
use crate::starter::{Link, Starter};
use crate::text::shell_word;

/// Write a first manifest; on a terminal it asks for what is not given
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry init
  foundry init --name web --image debian-13.qcow2 --network default \\
      --ssh-key ~/.ssh/id_ed25519.pub
  foundry init --name db --image debian-13.qcow2 --bridge br0 \\
      --ip 10.20.30.41/24 --gateway 10.20.30.1 --dns 10.20.30.1 --output -")]
pub(super) struct InitArgs {
    /// The VM's name
    #[arg(long)]
    name: Option<String>,
    /// What it boots: a volume of the image pool, POOL:VOLUME, or an absolute path on the host
    #[arg(long)]
    image: Option<String>,
    /// The bridge of the host that it is attached to
    #[arg(long, conflicts_with = "network")]
    bridge: Option<BridgeName>,
    /// Its IPv4 address on the bridge, with prefix length
    #[arg(long, value_name = "ADDRESS/LENGTH", conflicts_with = "network")]
    ip: Option<Ipv4Net>,
    /// IPv4 gateway; without one the VM is isolated
    #[arg(long, value_name = "ADDRESS", conflicts_with = "network")]
    gateway: Option<Ipv4Addr>,
    /// A name server; once for each
    #[arg(long, value_name = "ADDRESS", conflicts_with = "network")]
    dns: Vec<IpAddr>,
    /// In place of a bridge: a libvirt network, which gives it an address by DHCP
    #[arg(long)]
    network: Option<NetworkName>,
    /// File of a public key that may log in as root; once for each
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<PathBuf>,
    /// Virtual CPUs
    #[arg(long, default_value = "2")]
    vcpus: u32,
    /// Memory in GiB
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = number)]
    memory: Number,
    /// Size of its disk in GiB
    #[arg(long, value_name = "GIB", default_value = "20")]
    disk: u64,
    /// The manifest, - for standard output; one that is there is not replaced [default: NAME.yaml]
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
    let starter = starter(args, asks, ui)?;
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

/// Where nobody can be asked, all that is missing is told at once.
fn incomplete(args: &InitArgs) -> Error {
    Error::new(Code::NobodyToAsk, "nobody can be asked what the manifest is to say")
        .hint(format!("give {}", missing(args).join(", ")))
        .outcome("nothing was written")
}

/// Who has to be asked for one thing is asked for what is useful, too.
fn starter(args: &InitArgs, asks: bool, ui: &Ui) -> Result<Starter, Error> {
    let name = match &args.name {
        // A wrong one is told with whatever else is wrong.
        Some(name) => VmName::normalized(name).map_or_else(|_| name.clone(), |name| name.to_string()),
        None => ask::<Name>(ui, "Name of the VM", Some("web"))?.0,
    };
    let image = match &args.image {
        Some(image) => image.clone(),
        None => ask::<String>(ui, "Image (foundry image list shows them)", Some("debian-13.qcow2"))?,
    };
    let link = match &args.network {
        Some(network) => Link::Network(network.to_string()),
        None => bridge(args, asks, ui)?,
    };
    let ssh_keys = keys(args, asks, ui)?;
    Ok(Starter {
        name,
        vcpus: args.vcpus,
        memory_gib: args.memory,
        disk_gib: args.disk,
        image,
        link,
        ssh_keys,
    })
}

fn bridge(args: &InitArgs, asks: bool, ui: &Ui) -> Result<Link, Error> {
    let bridge = match &args.bridge {
        Some(bridge) => bridge.clone(),
        None => ask(ui, "Bridge of the host", Some("br0"))?,
    };
    let ip: Ipv4Net = match args.ip {
        Some(ip) => ip,
        None => ask(ui, "IPv4 address with prefix length, such as 10.20.30.40/24", None)?,
    };
    let first = ip.hosts().next().filter(|first| *first != ip.addr()).map(|first| first.to_string());
    let gateway = match args.gateway {
        None if asks => Some(ask(ui, "Gateway", first.as_deref())?),
        given => given,
    };
    let dns = match (&args.dns[..], gateway) {
        ([], Some(gateway)) if asks => vec![ask(ui, "Name server", Some(&gateway.to_string()))?],
        (given, _) => given.to_vec(),
    };
    Ok(Link::Bridge { bridge: bridge.to_string(), ip, gateway, dns })
}

/// What is in the files that are named, or in the one that is there on most machines.
fn keys(args: &InitArgs, asks: bool, ui: &Ui) -> Result<Vec<String>, Error> {
    let mut files = args.ssh_key.clone();
    if files.is_empty() && asks {
        let usual = usual_key().map(|file| file.display().to_string());
        files.push(ask::<PathBuf>(ui, "File of your public SSH key", usual.as_deref())?);
    }
    files.iter().map(key).collect()
}

fn usual_key() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME").filter(|home| !home.is_empty())?).join(".ssh");
    ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"]
        .iter()
        .map(|name| home.join(name))
        .find(|file| file.is_file())
}

/// No public key is longer; one of RSA with 16384 bits has 3 KB.
const LARGEST_KEY: u64 = 64 << 10;

fn key(file: &PathBuf) -> Result<String, Error> {
    let text = File::open(file).and_then(|file| ownership::read_text(file, LARGEST_KEY)).map_err(|e| {
        Error::new(Code::FileUnreadable, format!("cannot read the public key {}", file.display()))
            .because(e.to_string())
            .outcome("nothing was written")
    })?;
    Ok(text.trim().to_owned())
}

/// A name as it can stand in a manifest.
struct Name(String);

impl FromStr for Name {
    type Err = crate::names::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        VmName::normalized(text).map(|name| Self(name.to_string()))
    }
}

/// Asks until the answer can be one. None is the answer that is offered.
fn ask<T: FromStr<Err: std::fmt::Display>>(ui: &Ui, what: &str, offered: Option<&str>) -> Result<T, Error> {
    let question = match offered {
        Some(offered) => format!("{what} [{offered}]: "),
        None => format!("{what}: "),
    };
    for _ in 0..TRIES {
        let Some(answer) = ui.typed(&question)? else { break };
        let answer = if answer.is_empty() { offered.unwrap_or_default().to_owned() } else { answer };
        match answer.parse() {
            _ if answer.is_empty() => ui.note("an answer is needed"),
            Ok(value) => return Ok(value),
            Err(error) => ui.note(&format!("'{answer}': {error}")),
        }
    }
    Err(Error::new(Code::NobodyToAsk, format!("no answer to: {what}")).outcome("nothing was written"))
}

/// A keyboard that is none would answer wrongly for ever.
const TRIES: usize = 5;

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
            _ => what(Code::FileUnwritable).because(error.to_string()),
        }
        .outcome("nothing was changed")
    })
}
