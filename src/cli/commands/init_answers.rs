//! Answers for `foundry init`: from its flags, and otherwise from the user on a terminal.
//!
//! After an invalid answer the question is repeated. Names that the host has are offered, if it answers in time.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::Ipv4Net;

use super::init_args::InitArgs;
use crate::Global;
use crate::host_query::query_host;
use crate::ui::Ui;
use foundry_core::error::{Code, Error};
use foundry_core::manifest_writer::{InterfaceTemplate, ManifestWriter};
use foundry_core::names::{BridgeName, NetworkName, VmName};
use foundry_core::plan::parse_ipv4_net;
use foundry_engine::image;

/// Input that is not typed could be wrong forever.
const TRIES: usize = 5;
/// The largest file of public keys, in bytes; a device has no end.
const MAX_KEYS: u64 = 1 << 20;

/// Names to offer.
#[derive(Debug, Default)]
struct Offers {
    images: Vec<String>,
    bridges: Vec<String>,
    networks: Vec<String>,
}

/// Collects the values of a manifest. If any required one must be asked, the useful optional ones are asked, too.
pub(super) fn collect_answers(
    args: &InitArgs,
    asks: bool,
    global: &Global,
    ui: &Ui,
) -> Result<ManifestWriter, Error> {
    let offers = if asks { find_offers(global) } else { Offers::default() };
    let name = match &args.name {
        // An invalid name is reported with the other problems of the manifest.
        Some(name) => VmName::parse_normalized(name).map_or_else(|_| name.clone(), |name| name.to_string()),
        None => ask_until_valid::<NameAnswer>(ui, "Name of the VM", Some("web"))?.0,
    };
    let image = match &args.image {
        Some(image) => image.clone(),
        None => {
            let question = question_with_choices("Image", "images", &offers.images);
            ask_until_valid::<String>(
                ui,
                &question,
                Some(offers.images.first().map_or("debian-13.qcow2", |i| i)),
            )?
        }
    };
    let link = match &args.network {
        Some(network) => InterfaceTemplate::Network(network.to_string()),
        None => ask_link(args, asks, &offers, ui)?,
    };
    let ssh_keys = read_ssh_keys(args, ui)?;
    Ok(ManifestWriter {
        name,
        vcpus: args.vcpus,
        memory_gib: args.memory,
        disk_gib: args.disk,
        image,
        link,
        ssh_keys,
    })
}

/// Names from the host; none if it does not answer in time.
fn find_offers(global: &Global) -> Offers {
    query_host(global, |context| {
        let pool = context.settings.image_pool.to_string();
        let images = image::list_images(context, &pool).unwrap_or_default();
        let bridges = context.host.bridges().ok().flatten().unwrap_or_default();
        Some(Offers {
            images: images.into_iter().map(|image| image.name).collect(),
            bridges: bridges.into_iter().map(|bridge| bridge.name).collect(),
            networks: context.host.networks().unwrap_or_default(),
        })
    })
    .unwrap_or_default()
}

/// A question with the choices.
fn question_with_choices(what: &str, kind: &str, names: &[String]) -> String {
    if names.is_empty() { what.to_owned() } else { format!("{what} ({kind}: {})", names.join(", ")) }
}

fn ask_link(args: &InitArgs, asks: bool, offers: &Offers, ui: &Ui) -> Result<InterfaceTemplate, Error> {
    if let Some(bridge) = &args.bridge {
        return ask_bridge_link(bridge, args, asks, ui);
    }
    let question = question_with_choices("Bridge of the host", "bridges", &offers.bridges);
    let question =
        question_with_choices(&format!("{question}, or libvirt network"), "networks", &offers.networks);
    // On a host with networks and without bridges, offer a network.
    let first = match (offers.bridges.first(), offers.networks.first()) {
        (None, Some(network)) => network.as_str(),
        (bridge, _) => bridge.map_or("br0", |bridge| bridge),
    };
    let name: String = ask_until_valid(ui, &question, Some(first))?;
    // A name that is both is a bridge.
    let is_network = offers.networks.contains(&name) && !offers.bridges.contains(&name);
    if is_network && let Ok(network) = name.parse::<NetworkName>() {
        return Ok(InterfaceTemplate::Network(network.to_string()));
    }
    let bridge = name.parse::<BridgeName>().map_err(|error| {
        Error::new(Code::TextUnfit, format!("bridge {name:?}: {error}")).outcome("nothing was written")
    })?;
    ask_bridge_link(&bridge, args, asks, ui)
}

fn ask_bridge_link(
    bridge: &BridgeName,
    args: &InitArgs,
    asks: bool,
    ui: &Ui,
) -> Result<InterfaceTemplate, Error> {
    let ip: Ipv4Net = match args.ip {
        Some(ip) => ip,
        None => {
            ask_until_valid::<AddressAnswer>(
                ui,
                "IPv4 address with prefix length, such as 10.20.30.40/24",
                None,
            )?
            .0
        }
    };
    let first = ip.hosts().next().filter(|first| *first != ip.addr()).map(|first| first.to_string());
    let gateway: Option<Ipv4Addr> = match args.gateway {
        None if asks => Some(ask_until_valid(ui, "Gateway", first.as_deref())?),
        given => given,
    };
    let dns: Vec<IpAddr> = match (&args.dns[..], gateway) {
        ([], Some(gateway)) if asks => vec![ask_until_valid(ui, "Name server", Some(&gateway.to_string()))?],
        (given, _) => given.to_vec(),
    };
    Ok(InterfaceTemplate::Bridge { bridge: bridge.to_string(), ip, gateway, dns })
}

/// The keys in the named files or, on a terminal, in the default file or one that is typed.
fn read_ssh_keys(args: &InitArgs, ui: &Ui) -> Result<Vec<String>, Error> {
    if !args.ssh_key.is_empty() || !ui.can_ask() {
        let read: Result<Vec<_>, Error> = args.ssh_key.iter().map(keys_in_file).collect();
        return Ok(read?.concat());
    }
    let usual = default_key_file().map(|file| file.display().to_string());
    let question = "File of your public SSH key, - for none";
    let answer: KeyFileAnswer = ask_until_valid(ui, question, Some(usual.as_deref().unwrap_or("-")))?;
    Ok(answer.0)
}

/// The user's usual public key, if there is one.
pub(super) fn default_key_file() -> Option<PathBuf> {
    let home = home_directory()?.join(".ssh");
    ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"]
        .iter()
        .map(|name| home.join(name))
        .find(|file| file.is_file())
}

fn home_directory() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME").filter(|home| !home.is_empty())?))
}

/// The keys in a file: one per line as in authorized_keys (sshd(8)), without its comments.
pub(super) fn keys_in_file(file: &PathBuf) -> Result<Vec<String>, Error> {
    let refused = |why: String| {
        Error::new(Code::FileUnreadable, format!("cannot read the public key {}", file.display()))
            .because(why)
            .outcome("nothing was written")
    };
    let is_file = file.metadata().map_err(|e| refused(e.to_string()))?.is_file();
    if !is_file {
        return Err(refused("it is not a regular file".into()));
    }
    let mut text = String::new();
    let opened = File::open(file).map_err(|e| refused(e.to_string()))?;
    opened.take(MAX_KEYS).read_to_string(&mut text).map_err(|e| refused(e.to_string()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// A typed file name and its keys. `~/` is the home directory, as in a shell; `-` means no file.
struct KeyFileAnswer(Vec<String>);

impl FromStr for KeyFileAnswer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Self(Vec::new()));
        }
        let file = match (text.strip_prefix("~/"), home_directory()) {
            (Some(below), Some(home)) => home.join(below),
            _ => PathBuf::from(text),
        };
        keys_in_file(&file).map(Self)
    }
}

/// A VM name, normalized as in a manifest.
struct NameAnswer(String);

impl FromStr for NameAnswer {
    type Err = foundry_core::names::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        VmName::parse_normalized(text).map(|name| Self(name.to_string()))
    }
}

/// An IPv4 address with prefix, with the errors of the manifest.
struct AddressAnswer(Ipv4Net);

impl FromStr for AddressAnswer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_ipv4_net(text).map(Self)
    }
}

/// Asks until the answer is valid. An empty answer selects the offered value.
fn ask_until_valid<T: FromStr<Err: std::fmt::Display>>(
    ui: &Ui,
    what: &str,
    offered: Option<&str>,
) -> Result<T, Error> {
    let question = match offered {
        Some(offered) => format!("{what} [{offered}]: "),
        None => format!("{what}: "),
    };
    for _ in 0..TRIES {
        let Some(answer) = ui.ask_text(&question)? else { break };
        let answer = if answer.is_empty() { offered.unwrap_or_default().to_owned() } else { answer };
        match answer.parse() {
            _ if answer.is_empty() => ui.show_note("an answer is needed"),
            Ok(value) => return Ok(value),
            Err(error) => ui.show_note(&format!("'{answer}': {error}")),
        }
    }
    Err(Error::new(Code::NobodyToAsk, format!("no answer to: {what}")).outcome("nothing was written"))
}
