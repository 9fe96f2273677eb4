//! `foundry schema`

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::config::SettingView;
use super::doctor::ReportView;
use super::gc::LeftoverView;
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

Editors with the YAML language server check a file that begins with this line:
  # yaml-language-server: $schema=foundry.schema.json")]
pub(crate) struct SchemaArgs {
    /// What to describe
    #[arg(value_enum, default_value = "manifest")]
    what: SchemaSubject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemaSubject {
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

pub(super) fn run_schema(args: &SchemaArgs, ui: &Ui) -> Result<(), Error> {
    ui.write_result(&to_json(&schema_of(args.what))?)
}

fn schema_of(what: SchemaSubject) -> Value {
    match what {
        SchemaSubject::Manifest => schema::manifest(),
        SchemaSubject::List => written::<Vec<VirtualMachine>>(),
        SchemaSubject::Get => written::<VirtualMachine>(),
        SchemaSubject::ImageList => written::<Vec<ImageView<'_>>>(),
        SchemaSubject::ImageInfo => written::<ImageView<'_>>(),
        SchemaSubject::ImageOutdated => written::<Vec<FreshnessView<'_>>>(),
        SchemaSubject::ImageCatalog => written::<Vec<CatalogView>>(),
        SchemaSubject::PoolList => written::<Vec<PoolView<'_>>>(),
        SchemaSubject::PoolInfo => written::<PoolView<'_>>(),
        SchemaSubject::DiskList => written::<Vec<DiskView>>(),
        SchemaSubject::StorageStatus => written::<StorageStatus>(),
        SchemaSubject::Gc => written::<Vec<LeftoverView<'_>>>(),
        SchemaSubject::Doctor => written::<ReportView<'_>>(),
        SchemaSubject::Config => config::schema::configuration_schema(),
        SchemaSubject::ConfigOrigins => written::<Vec<SettingView<'_>>>(),
        SchemaSubject::ConfigContexts => config::schema::contexts_schema(),
    }
}
