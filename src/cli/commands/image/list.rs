//! `foundry image list`, `info` and `outdated`

use clap::Args;
use foundry_core::record::VolumeRef;
use schemars::JsonSchema;
use serde::Serialize;

use super::fetch::http_client;
use super::{InPool, catalog};
use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, OutputArgs, OutputFormat, TableRow, format_age, render_details};
use crate::ui::Ui;
use crate::words::hints::NO_IMAGES;
use foundry_core::error::Error;
use foundry_core::origin::ImageOrigin;
use foundry_core::units::Bytes;
use foundry_engine::Context;
use foundry_engine::image::{self, Age, Freshness, ImageState};
use foundry_engine::warm::warm_view;
use foundry_host::Volume;

/// A warm image that can be used.
const READY: &str = "ready";

/// List images
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:
  foundry image list
  foundry image list --pool ssd -o wide"
)]
pub(crate) struct ImageListArgs {
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    listing: ListingArgs,
}

/// Show an image, its origin and its users
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image info debian-12.qcow2")]
pub(crate) struct InfoArgs {
    /// Name of the image
    #[arg(value_name = "IMAGE")]
    name: String,
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Check which images have a newer version upstream
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image outdated
  foundry image outdated -o name")]
pub(crate) struct OutdatedArgs {
    #[command(flatten)]
    pool: InPool,
    #[command(flatten)]
    listing: ListingArgs,
}

/// One image of the listing.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageView<'a> {
    name: &'a str,
    pool: &'a str,
    format: &'a str,
    /// Virtual size, in bytes.
    virtual_size: u64,
    /// Allocated size on the host, in bytes.
    allocation: u64,
    path: &'a str,
    /// Whether its import was interrupted or is still running.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    /// Of a warm image: `ready`, or why it cannot be used or should be made anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    warm: Option<String>,
    /// Origin; empty if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<ImageOrigin>,
    /// Names of the VMs that use the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_by: Option<&'a [String]>,
    /// Overlays of the image, as POOL/VOLUME.
    #[serde(skip_serializing_if = "Option::is_none")]
    overlays: Option<&'a [String]>,
}

impl ImageView<'_> {
    /// The state of the import or of a warm image, else the format.
    fn shown_format(&self) -> &str {
        match self.warm.as_deref() {
            _ if self.incomplete => "incomplete",
            Some(READY) => "warm",
            Some(_) => "warm, stale",
            None => self.format,
        }
    }
}

fn image_view<'a>(
    context: &Context,
    image: &'a Volume,
    origin: Option<ImageOrigin>,
) -> Result<ImageView<'a>, Error> {
    let wholeness = image::image_state(context, image)?;
    Ok(ImageView {
        name: &image.name,
        pool: &image.pool,
        // libvirt calls everything that it does not recognize "raw".
        format: if wholeness == ImageState::Unknown { "unknown" } else { &image.format },
        virtual_size: image.capacity.0,
        allocation: image.allocation.0,
        path: &image.path,
        incomplete: wholeness == ImageState::Incomplete,
        warm: warm_view(context, image)?.map(|view| view.problem.unwrap_or_else(|| READY.to_owned())),
        origin,
        used_by: None,
        overlays: None,
    })
}

pub(super) fn run_list(args: &ImageListArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let images = image::list_images(&context, &args.pool.pool_name(global))?;
    let form = args.listing.chosen_format(global);
    if form == OutputFormat::Name {
        return ui.write_names(images.iter().map(|i| i.name.as_str()));
    }
    // The table does not need the origins, and each is in a volume of its own.
    let origin = |image: &Volume| match form {
        OutputFormat::Table => Ok(None),
        _ => image::image_origin(&context, &image.reference()),
    };
    let views: Result<Vec<_>, Error> = images.iter().map(|i| image_view(&context, i, origin(i)?)).collect();
    args.listing.show_list(&views?, NO_IMAGES, (global, ui))
}

impl TableRow for ImageView<'_> {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["NAME", "FORMAT", "SIZE", "ALLOCATED"];
    const WIDE_HEADERS: &'static [&'static str] = &["ORIGIN", "PATH"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.to_owned())
    }

    fn row_cells(&self) -> Vec<String> {
        let (size, allocated) = (Bytes(self.virtual_size), Bytes(self.allocation));
        vec![self.name.into(), self.shown_format().into(), size.to_string(), allocated.to_string()]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        let origin = self.origin.as_ref().map_or("unknown", |origin| &origin.source);
        vec![origin.to_owned(), self.path.to_owned()]
    }
}

pub(super) fn run_info(args: &InfoArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let pool = args.pool.pool_name(global);
    let name = image::resolve_name(&context, &pool, &args.name)?;
    let found = image::image_info(&context, &VolumeRef::new(&pool, &name))?;
    let known = image_view(&context, &found.volume, found.origin)?;
    let image = ImageView { used_by: Some(&found.vms), overlays: Some(&found.overlays), ..known };
    args.output.show_object(&image, &[&name], |_| describe_image(&image, ui.terminal_columns()), (global, ui))
}

fn describe_image(image: &ImageView<'_>, columns: Option<u16>) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: &str| lines.push((name.to_owned(), value.to_owned()));
    line("Name", image.name);
    line("Pool", image.pool);
    line("Format", image.shown_format());
    line("Size", &Bytes(image.virtual_size).to_string());
    line("Allocated", &Bytes(image.allocation).to_string());
    line("Path", image.path);
    if let Some(warm) = &image.warm {
        line("Warm", warm);
    }
    describe_origin(image.origin.as_ref(), &mut line);
    line("Used by", &join_users(image.used_by.unwrap_or_default(), image.overlays.unwrap_or_default()));
    render_details(12, &lines, columns)
}

/// VMs and overlays as text.
fn join_users(vms: &[String], overlays: &[String]) -> String {
    let overlays = overlays.iter().map(|overlay| format!("volume {overlay}"));
    let users: Vec<String> = vms.iter().cloned().chain(overlays).collect();
    if users.is_empty() { "-".to_owned() } else { users.join(", ") }
}

fn describe_origin(origin: Option<&ImageOrigin>, line: &mut impl FnMut(&str, &str)) {
    let Some(origin) = origin else { return line("Origin", "unknown") };
    let packed =
        origin.compression.as_ref().map_or(String::new(), |packed| format!(", compressed by {packed}"));
    let converted =
        origin.converted_from.as_ref().map_or(String::new(), |from| format!(", converted from {from}"));
    let alias = origin.alias.as_ref().map_or(String::new(), |alias| format!("{alias}, "));
    line("Origin", &format!("{alias}{}{packed}{converted}", origin.source));
    line("Fetched", &format!("{} ({} ago)", origin.fetched, format_age(&origin.fetched)));
    if let Some(digest) = &origin.digest {
        line("Digest", digest);
    }
    line("Verified", &origin.verified_by.as_ref().map_or("no".to_owned(), |by| format!("by {by}")));
}

/// One image of `image outdated`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FreshnessView<'a> {
    name: &'a str,
    pool: &'a str,
    /// `current`, `outdated` or `unknown`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a ImageOrigin>,
    used_by: &'a [String],
    /// Overlays of the image, as POOL/VOLUME.
    overlays: &'a [String],
}

pub(super) fn run_outdated(args: &OutdatedArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let lists = catalog::load_catalog(global)?.list_checksums()?;
    let context = connect_host(global, ui)?;
    let found = image::find_outdated(&context, &args.pool.pool_name(global), &http_client(), &lists)?;
    let views: Vec<FreshnessView<'_>> = found.iter().map(freshness_view).collect();
    args.listing.show_list(&views, "No images", (global, ui))
}

impl TableRow for FreshnessView<'_> {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["NAME", "STATE", "USED BY", "ORIGIN"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        (self.state == "outdated").then(|| self.name.to_owned())
    }

    fn row_cells(&self) -> Vec<String> {
        let users = join_users(self.used_by, self.overlays);
        let source = self.origin.map_or("unknown", |origin| origin.source.as_str());
        let why = self.reason.map_or_else(|| source.to_owned(), |reason| format!("{source}: {reason}"));
        vec![self.name.to_owned(), self.state.to_owned(), users, why]
    }
}

fn freshness_view(found: &Freshness) -> FreshnessView<'_> {
    let (state, reason) = match &found.age {
        Age::Current => ("current", None),
        Age::Outdated => ("outdated", None),
        Age::Unknown(reason) => ("unknown", Some(reason.as_str())),
    };
    FreshnessView {
        name: &found.image.name,
        pool: &found.image.pool,
        state,
        reason,
        origin: found.origin.as_ref(),
        used_by: &found.vms,
        overlays: &found.overlays,
    }
}
