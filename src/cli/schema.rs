//! `foundry schema`

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::config::SettingView;
use super::image::{CatalogView, FreshnessView, ImageView};
use super::output::to_json;
use super::pool::PoolView;
use super::ui::Ui;
use crate::error::Error;
use crate::manifest::VirtualMachine;
use crate::operations::disks::Disk;
use crate::operations::doctor::Report;
use crate::operations::gc::Remains;
use crate::operations::storage::StorageStatus;
use crate::schema::{self, written};

/// Print the JSON Schema of manifests, configurations, or what a command writes as JSON
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry schema > foundry.schema.json
  foundry schema list

Editors with the YAML language server complete and check what begins with this:
  # yaml-language-server: $schema=foundry.schema.json")]
pub(super) struct SchemaArgs {
    /// The manifest, or the command
    #[arg(value_enum, default_value = "manifest")]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A manifest, which create and render read
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
        What::DiskList => written::<Vec<Disk>>(),
        What::StorageStatus => written::<StorageStatus>(),
        What::Gc => written::<Vec<Remains>>(),
        What::Doctor => written::<Report>(),
        What::Config => schema::configuration(),
        What::ConfigOrigins => written::<Vec<SettingView<'_>>>(),
        What::ConfigContexts => schema::contexts(),
    }
}
