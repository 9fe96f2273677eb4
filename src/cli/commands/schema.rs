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
use foundry_core::schema::{self, output_schema};
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
        What::Manifest => schema::manifest_schema(),
        What::List => output_schema::<Vec<VirtualMachine>>(),
        What::Get => output_schema::<VirtualMachine>(),
        What::ImageList => output_schema::<Vec<ImageView<'_>>>(),
        What::ImageInfo => output_schema::<ImageView<'_>>(),
        What::ImageOutdated => output_schema::<Vec<FreshnessView<'_>>>(),
        What::ImageCatalog => output_schema::<Vec<CatalogView>>(),
        What::PoolList => output_schema::<Vec<PoolView<'_>>>(),
        What::PoolInfo => output_schema::<PoolView<'_>>(),
        What::DiskList => output_schema::<Vec<DiskView>>(),
        What::StorageStatus => output_schema::<StorageStatus>(),
        What::Gc => output_schema::<Vec<RemainsView<'_>>>(),
        What::Doctor => output_schema::<ReportView<'_>>(),
        What::Config => config::schema::configuration(),
        What::ConfigOrigins => output_schema::<Vec<SettingView<'_>>>(),
        What::ConfigContexts => config::schema::contexts(),
    }
}
