//! `foundry render`

use clap::{Args, ValueEnum};

use super::create::plan_all;
use crate::Global;
use crate::ui::Ui;
use foundry_core::cloud_init;
use foundry_core::domain_xml::{self, DiskLocation, Placement, VirtType};
use foundry_core::error::{Error, Kind};
use foundry_core::names::PoolName;
use foundry_core::plan::{Arch, BootSource, DiskFormat, ImageRef, VmPlan};
use foundry_core::record::VolumeRole;
use foundry_core::storage_xml::{self, VolumeSpec};
use foundry_core::units::Bytes;
use foundry_engine::Settings;
use foundry_engine::preflight::{PlannedVolume, planned_volumes};
use foundry_engine::vm::console;

/// A fixed instance-id, so that a manifest always renders the same.
const RENDERED_INSTANCE: &str = "00000000-0000-0000-0000-000000000000";

/// Print the generated libvirt XML and cloud-init data, offline
#[derive(Debug, Args)]
#[command(after_help = "Disks and images are named by pool and volume; only the host knows paths.
An image named *.raw is assumed to be raw, any other qcow2.
foundry create --dry-run -o xml prints the exact XML.

Examples:
  foundry render vm.yaml
  foundry render vm.yaml --what=user-data
  foundry render vm.yaml --what=all --virt-type qemu")]
pub(crate) struct RenderArgs {
    /// Manifest files; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// What to print
    #[arg(long, value_enum, default_value = "domain")]
    what: RenderPart,
    /// Put the disks into this pool; overrides the manifest
    #[arg(long)]
    pool: Option<PoolName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RenderPart {
    Domain,
    Volumes,
    UserData,
    MetaData,
    NetworkConfig,
    All,
}

pub(super) fn run_render(args: &RenderArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let settings = global.engine_settings()?;
    let plans = plan_all(&args.files, &settings.defaults(args.pool.clone()))?;
    let mut text = String::new();
    for (index, plan) in plans.iter().enumerate() {
        if index > 0 && args.what != RenderPart::Domain && args.what != RenderPart::Volumes {
            text.push_str("---\n");
        }
        text.push_str(&render_part(plan, args.what, &settings)?);
    }
    ui.write_result(&text)
}

fn render_part(plan: &VmPlan, what: RenderPart, settings: &Settings) -> Result<String, Error> {
    match what {
        RenderPart::Domain => render_domain(plan, settings),
        RenderPart::Volumes => render_volumes(plan),
        RenderPart::UserData => seed_documents(plan).map(|d| d.map_or_else(String::new, |d| d.user_data)),
        RenderPart::MetaData => seed_documents(plan).map(|d| d.map_or_else(String::new, |d| d.meta_data)),
        RenderPart::NetworkConfig => {
            seed_documents(plan).map(|d| d.map_or_else(String::new, |d| d.network_config))
        }
        RenderPart::All => render_all(plan, settings),
    }
}

fn render_all(plan: &VmPlan, settings: &Settings) -> Result<String, Error> {
    let mut parts = vec![("domain", render_domain(plan, settings)?), ("volumes", render_volumes(plan)?)];
    if let Some(seed) = seed_documents(plan)? {
        parts.push(("user-data", seed.user_data));
        parts.push(("meta-data", seed.meta_data));
        parts.push(("network-config", seed.network_config));
    }
    Ok(parts.into_iter().map(|(name, text)| format!("### {name}\n{text}\n")).collect())
}

fn render_domain(plan: &VmPlan, settings: &Settings) -> Result<String, Error> {
    let disks = planned_volumes(plan).into_iter().map(|volume| disk_source(plan, volume)).collect();
    let native = Arch::ALL.into_iter().find(|a| a.as_str() == std::env::consts::ARCH);
    let arch = plan.arch.or(native).unwrap_or(Arch::X86_64);
    let log = console::log_path("qemu:///system", plan.name.as_str());
    let placement = Placement {
        uuid: None,
        virt_type: settings.virt_type.unwrap_or(VirtType::Kvm),
        arch,
        native: native == Some(arch),
        disks,
        console_log: log.as_deref(),
        record: None,
    };
    domain_xml::render_domain(plan, &placement)
}

/// Disks are named by pool and volume, because only the host knows their paths.
fn disk_source(plan: &VmPlan, planned: PlannedVolume) -> DiskLocation {
    let own = DiskLocation::Volume { pool: plan.pool.to_string(), volume: planned.name.to_string() };
    match &plan.boot_disk.source {
        BootSource::Image(image) if planned.is_overlay() => {
            let (image, name) = match image {
                ImageRef::Path(path) => (DiskLocation::File(path.clone()), path.as_str()),
                ImageRef::Volume { pool, volume } => {
                    let place = DiskLocation::Volume { pool: pool.to_string(), volume: volume.to_string() };
                    (place, volume.as_str())
                }
            };
            // Only the host can read the image's format; its name is all there is here.
            let format = if name.ends_with(".raw") { DiskFormat::Raw } else { DiskFormat::Qcow2 };
            let format = format.as_str().to_owned();
            DiskLocation::Overlay { own: Box::new(own), image: Box::new(image), format }
        }
        _ => own,
    }
}

fn render_volumes(plan: &VmPlan) -> Result<String, Error> {
    let mut text = String::new();
    for planned in planned_volumes(plan) {
        let size = if planned.role == VolumeRole::Seed { seed_size(plan)? } else { Bytes(0) };
        let spec = VolumeSpec {
            name: planned.name.to_string(),
            format: planned.format.as_str().into(),
            capacity: planned.capacity.max(size),
            allocation: size,
            backing: None,
        };
        text.push_str(&storage_xml::render_volume(&spec)?);
        text.push('\n');
        if let BootSource::Image(image) = &plan.boot_disk.source
            && planned.role == VolumeRole::Boot
        {
            text.push_str(&image_comment(image, planned.is_overlay()));
        }
    }
    Ok(text)
}

/// A comment in place of the image's path and format, which only the host knows.
fn image_comment(image: &ImageRef, is_overlay: bool) -> String {
    let what = if is_overlay { "backing" } else { "content" };
    // "--" would end the comment (XML 1.0, 2.5).
    let image = image.to_string().replace("--", "- -");
    format!("<!-- {what}: image {image}, its path and format are known on the host only -->\n")
}

/// The size of the seed, which is fully allocated.
fn seed_size(plan: &VmPlan) -> Result<Bytes, Error> {
    let Some(documents) = seed_documents(plan)? else { return Ok(Bytes(0)) };
    let iso = cloud_init::write_iso(&documents).map_err(|e| Error::new(Kind::Vm, e.to_string()))?;
    Ok(Bytes(iso.len() as u64))
}

fn seed_documents(plan: &VmPlan) -> Result<Option<cloud_init::SeedFiles>, Error> {
    let Some(seed) = &plan.seed else { return Ok(None) };
    let instance_id = format!("{}-{RENDERED_INSTANCE}", plan.name);
    cloud_init::build_seed_files(plan, seed, &instance_id).map(Some).map_err(|e| {
        Error::new(Kind::Vm, format!("cannot make the seed of VM '{}'", plan.name)).because(e.to_string())
    })
}
