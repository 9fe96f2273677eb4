//! `foundry image`

mod catalog;
mod delete;
mod export;
mod fetch;
mod import;
mod list;
mod login;
mod pull;
mod warm;

pub(super) use catalog::CatalogView;
pub(super) use list::{FreshnessView, ImageView};
pub(super) use pull::pull_from_catalog;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Global;
use crate::config::SettingKey;
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_core::names::PoolName;
use foundry_fetch::catalog::CatalogImage;

/// Import, pull, list and delete images
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    Import(import::ImportArgs),
    Pull(pull::PullArgs),
    List(list::ImageListArgs),
    Info(list::InfoArgs),
    Outdated(list::OutdatedArgs),
    Delete(delete::DeleteArgs),
    Prune(delete::PruneArgs),
    Export(export::ExportArgs),
    Warm(warm::WarmArgs),
    Catalog(catalog::CatalogArgs),
}

/// The pool of an image.
#[derive(Debug, Args)]
struct InPool {
    /// Pool of the image [default: the image pool]
    #[arg(long)]
    pool: Option<PoolName>,
}

impl InPool {
    fn pool_name(&self, global: &Global) -> String {
        let set = global.effective_config().setting_text(SettingKey::ImagePool).unwrap_or_default();
        self.pool.as_ref().map_or(set, PoolName::as_str).to_owned()
    }
}

/// A directory of the XDG Base Directory Specification: from its variable, otherwise below the home directory.
fn user_directory(variable: &str, in_home: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = set(variable).filter(|path| path.is_absolute());
    named.or_else(|| set("HOME").map(|home| home.join(in_home)))
}

/// The images in the catalogue for this machine; `None` if the catalogue cannot be read.
pub(crate) fn known_aliases(global: &Global) -> Option<Vec<CatalogImage>> {
    catalog::load_catalog(global).ok()?.list_images(catalog::parse_arch(std::env::consts::ARCH).ok()?).ok()
}

pub(super) fn run_image(args: &ImageArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    match &args.command {
        ImageCommand::Import(args) => import::run_import(args, global, ui),
        ImageCommand::Pull(args) => pull::run_pull(args, global, ui),
        ImageCommand::List(args) => list::run_list(args, global, ui),
        ImageCommand::Info(args) => list::run_info(args, global, ui),
        ImageCommand::Outdated(args) => list::run_outdated(args, global, ui),
        ImageCommand::Delete(args) => delete::run_delete(args, global, ui),
        ImageCommand::Prune(args) => delete::run_prune(args, global, ui),
        ImageCommand::Export(args) => export::run_export(args, global, ui),
        ImageCommand::Warm(args) => warm::run_warm(args, global, ui),
        ImageCommand::Catalog(args) => catalog::run_catalog(args, global, ui),
    }
}
