//! `foundry schema`

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::config::SettingView;
use super::diff::DiffView;
use super::doctor::ReportView;
use super::events::EventView;
use super::gc::LeftoverView;
use super::history::RevisionView;
use super::image::{CatalogView, FreshnessView, ImageView};
use super::pool::PoolView;
use super::runner::RunnerRow;
use crate::config;
use crate::output::to_json;
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_core::manifest::VirtualMachine;
use foundry_core::schema::{self, input_schema, output_schema};
use foundry_engine::disk::DiskView;
use foundry_engine::network::list::NetworkView;
use foundry_engine::snapshot::SnapshotView;
use foundry_engine::storage::status::StorageStatus;
use foundry_engine::vm::inventory::Inventory;
use foundry_engine::vm::top::LoadView;
use foundry_engine::vm::whois::WhoisMatch;
use foundry_jobs::{JobStatus, RunnerPoolStatus, RunnerStatus};
use foundry_runner::RunnerPool;

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
    /// A manifest, for create, apply and render
    Manifest,
    /// A pool of runners, for runner serve
    RunnerPool,
    /// foundry list
    List,
    /// foundry get, foundry vm info
    Get,
    /// foundry top
    Top,
    /// foundry events: one line
    Events,
    /// foundry diff
    Diff,
    /// foundry history
    History,
    /// foundry whois
    Whois,
    /// foundry inventory --list
    Inventory,
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
    /// foundry snapshot list
    SnapshotList,
    /// foundry network list
    NetworkList,
    /// foundry network info
    NetworkInfo,
    /// foundry storage status
    StorageStatus,
    /// foundry runner list
    RunnerList,
    /// foundry runner pools
    RunnerPools,
    /// foundry runner get
    RunnerGet,
    /// foundry runner jobs
    RunnerJobs,
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
        SchemaSubject::Manifest => schema::manifest_schema(),
        SchemaSubject::RunnerPool => input_schema::<RunnerPool>(),
        SchemaSubject::RunnerList => output_schema::<Vec<RunnerRow>>(),
        SchemaSubject::RunnerPools => output_schema::<Vec<RunnerPoolStatus>>(),
        SchemaSubject::RunnerGet => output_schema::<RunnerStatus>(),
        SchemaSubject::RunnerJobs => output_schema::<Vec<JobStatus>>(),
        SchemaSubject::List => output_schema::<Vec<VirtualMachine>>(),
        SchemaSubject::Get => output_schema::<VirtualMachine>(),
        SchemaSubject::Top => output_schema::<Vec<LoadView>>(),
        SchemaSubject::Events => output_schema::<EventView>(),
        SchemaSubject::History => output_schema::<Vec<RevisionView>>(),
        SchemaSubject::Diff => output_schema::<Vec<DiffView>>(),
        SchemaSubject::Whois => output_schema::<Vec<WhoisMatch>>(),
        SchemaSubject::Inventory => output_schema::<Inventory>(),
        SchemaSubject::ImageList => output_schema::<Vec<ImageView<'_>>>(),
        SchemaSubject::ImageInfo => output_schema::<ImageView<'_>>(),
        SchemaSubject::ImageOutdated => output_schema::<Vec<FreshnessView<'_>>>(),
        SchemaSubject::ImageCatalog => output_schema::<Vec<CatalogView>>(),
        SchemaSubject::PoolList => output_schema::<Vec<PoolView<'_>>>(),
        SchemaSubject::PoolInfo => output_schema::<PoolView<'_>>(),
        SchemaSubject::DiskList => output_schema::<Vec<DiskView>>(),
        SchemaSubject::SnapshotList => output_schema::<Vec<SnapshotView>>(),
        SchemaSubject::NetworkList => output_schema::<Vec<NetworkView>>(),
        SchemaSubject::NetworkInfo => output_schema::<NetworkView>(),
        SchemaSubject::StorageStatus => output_schema::<StorageStatus>(),
        SchemaSubject::Gc => output_schema::<Vec<LeftoverView<'_>>>(),
        SchemaSubject::Doctor => output_schema::<ReportView<'_>>(),
        SchemaSubject::Config => config::schema::configuration_schema(),
        SchemaSubject::ConfigOrigins => output_schema::<Vec<SettingView<'_>>>(),
        SchemaSubject::ConfigContexts => config::schema::contexts_schema(),
    }
}
