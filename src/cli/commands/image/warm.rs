//! `foundry image warm`

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::InPool;
use super::fetch::image_name;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{VirtualMachine, load_file};
use foundry_core::record::VolumeRef;
use foundry_engine::image::image_extension;
use foundry_engine::warm::{WarmRequest, warm_image};

/// Boot a VM once, and keep it with its memory as an image that VMs start from
///
/// VMs with 'bootDisk.warm: NAME' start from it in seconds. What the manifest gives its guest, keys and passwords, is in
/// each of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image warm ci --from ci.yaml
  foundry image warm ci")]
pub(crate) struct WarmArgs {
    /// Name of the warm image, with or without .qcow2
    #[arg(value_name = "IMAGE")]
    name: String,
    /// Manifest of the VM to boot; - for standard input [default: that of the present image]
    #[arg(long, value_name = "FILE")]
    from: Option<String>,
    /// How long the guest may take until cloud-init has finished
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    pool: InPool,
}

pub(super) fn run_warm(args: &WarmArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let mut name = image_name(Some(&args.name), None, false, &args.name)?.to_string();
    match image_extension(&name) {
        None => name.push_str(".qcow2"),
        Some("qcow2") => {}
        Some(_) => {
            let message = format!("'{name}' cannot be the name of a warm image");
            return Err(Error::new(Code::ImageMisnamed, message)
                .because("its disk has the format qcow2")
                .hint("leave the extension out")
                .unchanged());
        }
    }
    let manifest = args.from.as_deref().map(read_manifest).transpose()?;
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let image = VolumeRef::new(args.pool.pool_name(global), name);
    let request = WarmRequest { image, manifest, timeout: args.timeout };
    warm_image(&context, &request)?;
    ui.write_line(&format!("Successfully made warm image '{}'", request.image.name))
}

fn read_manifest(file: &str) -> Result<VirtualMachine, Error> {
    let mut manifests = load_file(Path::new(file))?;
    match (manifests.pop(), manifests.is_empty()) {
        (Some(manifest), true) => Ok(manifest),
        _ => Err(Error::new(Code::WrongType, format!("{file} must have the manifest of one VM")).unchanged()),
    }
}
