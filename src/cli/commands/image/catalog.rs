//! `foundry image catalog`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Global;
use crate::config::Key;
use crate::output::{Listed, ListingArgs};
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
    List(ListArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// List the catalogue (your entries override the built-in ones)
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:
  foundry image catalog list
  foundry image catalog list --arch aarch64 -o wide"
)]
struct ListArgs {
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
struct AddArgs {
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
struct RemoveArgs {
    /// Short name of the image
    name: Alias,
}

pub(super) fn run(args: &CatalogArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    match &args.command {
        None => list(std::env::consts::ARCH, &ListingArgs::default(), global, ui),
        Some(CatalogCommand::List(args)) => list(&args.arch, &args.listing, global, ui),
        Some(CatalogCommand::Add(args)) => add(args, global, ui),
        Some(CatalogCommand::Remove(args)) => {
            tell_lost(&catalog::remove_entry(&needed_file(global)?, &args.name)?, ui);
            ui.line(&format!("Successfully removed image '{}' from the catalogue", args.name))
        }
    }
}

/// One image of the catalogue.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    name: String,
    description: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    /// Whether the entry is in the user's own catalogue.
    own: bool,
}

fn list(arch: &str, listing: &ListingArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let images = load(global)?.list_images(parse_arch(arch)?)?;
    let views: Vec<View> = images.iter().map(view).collect();
    listing.show(&views, "No images", (global, ui))
}

impl Listed for View {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["NAME", "DESCRIPTION"];
    const WIDE_HEADERS: &'static [&'static str] = &["OWN", "URL"];

    fn object(&self) -> &Self {
        self
    }

    fn name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.description.clone()]
    }

    fn wide_cells(&self) -> Vec<String> {
        vec![if self.own { "yes" } else { "no" }.to_owned(), self.url.clone()]
    }
}

fn view(image: &CatalogImage) -> View {
    View {
        name: image.alias.to_string(),
        description: image.description.clone(),
        url: image.location.to_string(),
        checksum: image.checksum.as_ref().map(ToString::to_string),
        own: image.own,
    }
}

fn add(args: &AddArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let entry = CatalogEntry {
        description: args.description.clone(),
        url: args.url.clone(),
        checksum: args.checksum.clone(),
        arch: Some(args.arch.clone()).filter(|arch| !arch.is_empty()),
    };
    let written = catalog::add_entry(&needed_file(global)?, &args.name, entry)?;
    let done = if written.replaced { "replaced" } else { "added" };
    tell_lost(&written, ui);
    ui.line(&format!("Successfully {done} image '{}' in the catalogue", args.name))
}

fn tell_lost(written: &CatalogUpdate, ui: &Ui) {
    if written.comments_lost {
        ui.warn("the comments of the catalogue are lost: only its entries are written");
    }
}

/// The catalogue of the current user.
pub(super) fn load(global: &Global) -> Result<Catalog, Error> {
    Catalog::load(global.found().catalog().as_deref())
}

/// # Errors
/// [`foundry_core::error::Kind::Validation`] for one that foundry makes no VMs of.
pub(super) fn parse_arch(text: &str) -> Result<Arch, Error> {
    Arch::ALL.into_iter().find(|arch| arch.as_str() == text).ok_or_else(|| {
        Error::new(Code::CatalogueImageMissing, format!("the catalogue has no images for {text:?}"))
            .hint("there are some for x86_64 and aarch64")
    })
}

/// The user's own catalogue.
fn file(global: &Global) -> Option<PathBuf> {
    global.config().text(Key::Catalog).map(PathBuf::from)
}

fn needed_file(global: &Global) -> Result<PathBuf, Error> {
    file(global).ok_or_else(|| {
        Error::new(Code::NoDirectory, "there is no directory for a catalogue")
            .hint("set XDG_CONFIG_HOME or HOME")
    })
}
