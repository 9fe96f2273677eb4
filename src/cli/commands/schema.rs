//! `foundry schema`

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::config::SettingView;
use super::doctor::ReportView;
use super::gc::RemainsView;
use super::image::{CatalogView, FreshnessView, ImageView};
use super::pool::PoolView;
use crate::config;
use crate::output::to_json;
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_core::manifest::VirtualMachine;
use foundry_core::schema::{self, written};
use foundry_engine::disk::DiskView;
use foundry_engine::storage::status::StorageStatus;

/// Print the JSON Schema of manifests, configurations or JSON output
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry schema > foundry.schema.json
  foundry schema list

Editors with the YAML language server complete and check what begins with this:
  # yaml-language-server: $schema=foundry.schema.json")]
pub(crate) struct SchemaArgs {
    /// What to describe
    #[arg(value_enum, default_value = "manifest")]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A manifest, for create and render
    Manifest,
    /// foundry list
    List,
    /// foundry get, foundry vm info
    Get,
    /// foundry image list
    ImageList,
    /// foundry image info
    ImageInfo,
    /// foundry image outdated
    ImageOutdated,
    /// foundry image catalog list
    ImageCatalog,
    /// foundry pool list
    PoolList,
    /// foundry pool info
    PoolInfo,
    /// foundry disk list
    DiskList,
    /// foundry storage status
    StorageStatus,
    /// foundry gc
    Gc,
    /// foundry doctor
    Doctor,
    /// A configuration file, and foundry config view
    Config,
    /// foundry config view --origin
    ConfigOrigins,
    /// foundry config get-contexts
    ConfigContexts,
}

pub(super) fn run(args: &SchemaArgs, ui: &Ui) -> Result<(), Error> {
    ui.result(&to_json(&of(args.what))?)
}

fn of(what: What) -> Value {
    match what {
        What::Manifest => schema::manifest(),
        What::List => written::<Vec<VirtualMachine>>(),
        What::Get => written::<VirtualMachine>(),
        What::ImageList => written::<Vec<ImageView<'_>>>(),
        What::ImageInfo => written::<ImageView<'_>>(),
        What::ImageOutdated => written::<Vec<FreshnessView<'_>>>(),
        What::ImageCatalog => written::<Vec<CatalogView>>(),
        What::PoolList => written::<Vec<PoolView<'_>>>(),
        What::PoolInfo => written::<PoolView<'_>>(),
        What::DiskList => written::<Vec<DiskView>>(),
        What::StorageStatus => written::<StorageStatus>(),
        What::Gc => written::<Vec<RemainsView<'_>>>(),
        What::Doctor => written::<ReportView<'_>>(),
        What::Config => config::schema::configuration(),
        What::ConfigOrigins => written::<Vec<SettingView<'_>>>(),
        What::ConfigContexts => config::schema::contexts(),
    }
}
