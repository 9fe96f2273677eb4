//! `foundry launch`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::create::create_and_wait;
use super::image::pull_from_catalog;
use super::init_answers::{default_key_file, keys_in_file};
use super::init_args::parse_number;
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::words::hints;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{self, Number};
use foundry_core::manifest_writer::{InterfaceTemplate, ManifestWriter};
use foundry_core::names::{NetworkName, VmName};
use foundry_core::plan::VmPlan;
use foundry_engine::vm::wait::Goal;
use foundry_engine::{Context, image};

/// The network that libvirt defines when it is installed.
const DEFAULT_NETWORK: &str = "default";

/// Names that are tried for a VM without one: IMAGE, IMAGE-2 and so on.
const NAMES_TRIED: u32 = 1000;

/// Create a VM from an image, without a manifest
///
/// The image is pulled from the catalogue if the image pool does not have it. 'foundry get NAME -o yaml' prints the
/// manifest of the VM.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry launch debian-13
  foundry launch debian-13 web --cpus 4 --memory 8 --disk 40
  foundry launch ubuntu-24.04 ci --network lab --ssh-key ~/.ssh/ci.pub")]
pub(crate) struct LaunchArgs {
    /// Name of an image in the image pool or in the catalogue
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Name of the VM [default: the image's name, with a number if it is taken]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Virtual CPUs
    #[arg(long, value_name = "COUNT", default_value = "2")]
    cpus: u32,
    /// Memory in GiB
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = parse_number)]
    memory: Number,
    /// Size of the boot disk in GiB
    #[arg(long, value_name = "GIB", default_value = "20")]
    disk: u64,
    /// libvirt network with DHCP
    #[arg(long, default_value = DEFAULT_NETWORK)]
    network: NetworkName,
    /// File with a public key for root (repeatable) [default: the one in ~/.ssh]
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<PathBuf>,
    /// Do not wait until the VM's SSH server answers
    #[arg(long)]
    no_wait: bool,
    /// How long to wait, as in 90s or 5m; the VM stays [default: 5m] [env: FOUNDRY_WAIT_TIMEOUT]
    #[arg(long, conflicts_with = "no_wait", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

pub(super) fn run_launch(args: &LaunchArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    // Before anything is pulled: a wrong flag is found at once.
    let ssh_keys = read_keys(args)?;
    let named = args.name.as_deref().map(parse_name).transpose()?;
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let image = find_or_pull(&args.image, &context, global)?;
    let name = match named {
        Some(name) => name,
        None => find_free_name(&context, &image)?,
    };
    let is_reachable = !ssh_keys.is_empty();
    let plan = plan_vm(args, (name, image, ssh_keys), global)?;
    if !is_reachable {
        ui.show_note(
            "There is no public key in ~/.ssh, and no --ssh-key was given: nobody can log in to this VM",
        );
    }
    let timeout = args.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::WaitTimeout));
    let wait = (!args.no_wait).then_some((Goal::Ssh, timeout));
    create_and_wait(&context, &plan, wait, ui)?;
    if is_reachable {
        ui.show_note(&hints::log_in(plan.name.as_str()));
    }
    Ok(())
}

fn read_keys(args: &LaunchArgs) -> Result<Vec<String>, Error> {
    let files = match args.ssh_key.is_empty() {
        true => default_key_file().into_iter().collect(),
        false => args.ssh_key.clone(),
    };
    let read: Result<Vec<_>, Error> = files.iter().map(keys_in_file).collect();
    Ok(read?.concat())
}

fn parse_name(name: &str) -> Result<String, Error> {
    let parsed = VmName::parse_normalized(name);
    let parsed = parsed.map_err(|why| Error::new(Code::NameUnfit, format!("'{name}': {why}")).unchanged())?;
    Ok(parsed.to_string())
}

/// The image of that name in the image pool; otherwise that of the catalogue, which is pulled.
pub(super) fn find_or_pull(wanted: &str, context: &Context, global: &Global) -> Result<String, Error> {
    let pool = context.settings.image_pool.as_str();
    // The pool may not exist before the first image.
    if context.host.pool(pool)?.is_some_and(|pool| pool.active) {
        let name = image::resolve_name(context, pool, wanted)?;
        if image::list_images(context, pool)?.iter().any(|image| image.name == name) {
            return Ok(name);
        }
    }
    pull_from_catalog(wanted, context, global)
}

/// A name after the image that no domain has: `debian-13`, `debian-13-2`.
fn find_free_name(context: &Context, image: &str) -> Result<String, Error> {
    let stem = image.rsplit_once('.').map_or(image, |(stem, _)| stem).replace('.', "-");
    let stem = parse_name(&stem)?;
    let taken: Vec<String> = context.host.domains(false)?.into_iter().map(|domain| domain.name).collect();
    let names = std::iter::once(stem.clone()).chain((2..NAMES_TRIED).map(|n| format!("{stem}-{n}")));
    let mut free = names.filter(|name| !taken.contains(name));
    free.next().ok_or_else(|| {
        Error::new(Code::NameTaken, format!("all names from '{stem}' to '{stem}-{NAMES_TRIED}' are taken"))
            .hint("give the VM a name of its own")
            .unchanged()
    })
}

/// Plans the VM as `create` does, from the same manifest that `init` would write.
fn plan_vm(
    args: &LaunchArgs,
    (name, image, ssh_keys): (String, String, Vec<String>),
    global: &Global,
) -> Result<VmPlan, Error> {
    let writer = ManifestWriter {
        name,
        vcpus: args.cpus,
        memory_gib: args.memory,
        disk_gib: args.disk,
        image,
        link: InterfaceTemplate::Network(args.network.to_string()),
        ssh_keys,
    };
    let text = writer.to_yaml("");
    let defaults = global.engine_settings()?.defaults(None);
    let manifests = manifest::load_text(&text, "the command line").map_err(Error::from)?;
    let plans: Result<Vec<VmPlan>, _> =
        manifests.iter().map(|manifest| VmPlan::from_manifest(manifest, &defaults)).collect();
    let mut plans = plans.map_err(|problems| Error::from(problems).unchanged())?;
    plans.pop().ok_or_else(|| Error::new(Code::NoManifest, "the command line describes no VM"))
}
