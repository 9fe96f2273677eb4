//! `foundry image catalog`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Global;
use crate::config::SettingKey;
use crate::output::{ListingArgs, TableRow};
use crate::ui::Ui;
use foundry_core::error::{Code, Error};
use foundry_core::plan::Arch;
use foundry_fetch::catalog::{self, Alias, Catalog, CatalogEntry, CatalogImage, CatalogUpdate};

/// List and change the short names that `foundry image pull` knows
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image catalog
  foundry image catalog add golden \\
      https://images.example.com/golden-{arch}.qcow2 \\
      --checksum https://images.example.com/SHA256SUMS
  foundry image pull golden")]
pub(crate) struct CatalogArgs {
    #[command(subcommand)]
    command: Option<CatalogCommand>,
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    List(CatalogListArgs),
    Add(CatalogAddArgs),
    Remove(CatalogRemoveArgs),
}

/// List the catalogue (your entries override the built-in ones)
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:
  foundry image catalog list
  foundry image catalog list --arch aarch64 -o wide"
)]
struct CatalogListArgs {
    /// Images for this architecture [default: this machine's]
    #[arg(long, default_value = std::env::consts::ARCH, hide_default_value = true)]
    arch: String,
    #[command(flatten)]
    listing: ListingArgs,
}

/// Add an image to your own catalogue, or replace it there
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry image catalog add golden \\
      https://images.example.com/golden-{arch}.qcow2 \\
      --checksum https://images.example.com/SHA256SUMS")]
struct CatalogAddArgs {
    /// Short name of the image
    name: Alias,
    /// URL of the image; {arch} and {deb-arch} stand for the architecture
    url: String,
    /// Checksum, or the URL of a list like SHA256SUMS
    #[arg(long, value_name = "DIGEST|URL")]
    checksum: Option<String>,
    /// Description
    #[arg(long)]
    description: Option<String>,
    /// Architecture of the image (repeatable) [default: all]
    #[arg(long)]
    arch: Vec<String>,
}

/// Remove an image from your own catalogue
#[derive(Debug, Args)]
#[command(visible_alias = "rm", after_help = "Examples:\n  foundry image catalog remove golden")]
struct CatalogRemoveArgs {
    /// Short name of the image
    name: Alias,
}

pub(super) fn run_catalog(args: &CatalogArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    match &args.command {
        None => list_catalog(std::env::consts::ARCH, &ListingArgs::default(), global, ui),
        Some(CatalogCommand::List(args)) => list_catalog(&args.arch, &args.listing, global, ui),
        Some(CatalogCommand::Add(args)) => add_image(args, global, ui),
        Some(CatalogCommand::Remove(args)) => {
            warn_comments_lost(&catalog::remove_entry(&require_catalog_file(global)?, &args.name)?, ui);
            ui.write_line(&format!("Successfully removed image '{}' from the catalogue", args.name))
        }
    }
}

/// One image of the catalogue.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CatalogView {
    name: String,
    description: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    /// Whether the entry is in the user's own catalogue.
    own: bool,
}

fn list_catalog(arch: &str, listing: &ListingArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let images = load_catalog(global)?.list_images(parse_arch(arch)?)?;
    let views: Vec<CatalogView> = images.iter().map(to_view).collect();
    listing.show_list(&views, "No images", (global, ui))
}

impl TableRow for CatalogView {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["NAME", "DESCRIPTION"];
    const WIDE_HEADERS: &'static [&'static str] = &["OWN", "URL"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.description.clone()]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![if self.own { "yes" } else { "no" }.to_owned(), self.url.clone()]
    }
}

fn to_view(image: &CatalogImage) -> CatalogView {
    CatalogView {
        name: image.alias.to_string(),
        description: image.description.clone(),
        url: image.location.to_string(),
        checksum: image.checksum.as_ref().map(ToString::to_string),
        own: image.own,
    }
}

fn add_image(args: &CatalogAddArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let entry = CatalogEntry {
        description: args.description.clone(),
        url: args.url.clone(),
        checksum: args.checksum.clone(),
        arch: Some(args.arch.clone()).filter(|arch| !arch.is_empty()),
    };
    let written = catalog::add_entry(&require_catalog_file(global)?, &args.name, entry)?;
    let done = if written.replaced { "replaced" } else { "added" };
    warn_comments_lost(&written, ui);
    ui.write_line(&format!("Successfully {done} image '{}' in the catalogue", args.name))
}

fn warn_comments_lost(written: &CatalogUpdate, ui: &Ui) {
    if written.comments_lost {
        ui.show_warning("the comments in the catalogue file were lost: foundry writes its entries only");
    }
}

/// The built-in catalogue with the user's own over it.
pub(super) fn load_catalog(global: &Global) -> Result<Catalog, Error> {
    Catalog::load(global.resolved().catalog_file().as_deref())
}

/// # Errors
/// [`foundry_core::error::Kind::Validation`] for an unsupported architecture.
pub(super) fn parse_arch(text: &str) -> Result<Arch, Error> {
    Arch::ALL.into_iter().find(|arch| arch.as_str() == text).ok_or_else(|| {
        Error::new(Code::CatalogueImageMissing, format!("the catalogue has no images for {text:?}"))
            .hint("it has images for x86_64 and aarch64")
    })
}

/// The file of the user's own catalogue.
fn catalog_file(global: &Global) -> Option<PathBuf> {
    global.effective_config().setting_text(SettingKey::Catalog).map(PathBuf::from)
}

fn require_catalog_file(global: &Global) -> Result<PathBuf, Error> {
    catalog_file(global).ok_or_else(|| {
        Error::new(Code::NoDirectory, "no directory for a catalogue is known")
            .hint("set XDG_CONFIG_HOME or HOME")
    })
}
