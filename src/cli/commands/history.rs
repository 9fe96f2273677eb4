//! `foundry history`

use clap::Args;

use schemars::JsonSchema;
use serde::Serialize;

use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, TableRow, format_age, or_dash};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_core::manifest::VirtualMachine;
use foundry_engine::change::list_revisions;

/// List the earlier manifests of a VM
///
/// The record keeps the last ten, up to 64 KiB of them; 'foundry apply VM --to-revision N' applies one again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry history web
  foundry history web -o yaml
  foundry apply web --to-revision 3")]
pub(crate) struct HistoryArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    #[command(flatten)]
    listing: ListingArgs,
}

/// A version of a VM's manifest.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevisionView {
    /// Number of the version, the VM's generation with it.
    revision: u64,
    /// Whether it is the present one.
    current: bool,
    /// When it was applied (RFC 3339).
    at: String,
    /// Who applied it: USER@HOST, if that is known.
    by: Option<String>,
    /// Digest of the manifest, without secrets.
    digest: String,
    /// The manifest, without secrets; absent if it is not kept.
    manifest: Option<VirtualMachine>,
}

pub(super) fn run_history(args: &HistoryArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let revisions = list_revisions(&context, &args.name)?;
    let present = revisions.last().map(|revision| revision.generation);
    let views: Vec<RevisionView> = revisions
        .into_iter()
        .map(|revision| RevisionView {
            revision: revision.generation,
            current: Some(revision.generation) == present,
            at: revision.at,
            by: revision.by,
            digest: revision.digest,
            manifest: revision.manifest.map(|manifest| *manifest),
        })
        .collect();
    args.listing.show_list(&views, "No revisions", (global, ui))
}

impl TableRow for RevisionView {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["REVISION", "AGE", "BY", "CURRENT", "DIGEST"];
    const WIDE_HEADERS: &'static [&'static str] = &["APPLIED", "KEPT"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.revision.to_string())
    }

    fn row_cells(&self) -> Vec<String> {
        let short: String = self.digest.trim_start_matches("sha256:").chars().take(12).collect();
        let current = if self.current { "yes" } else { "no" };
        vec![
            self.revision.to_string(),
            format_age(&self.at),
            or_dash(self.by.clone()),
            current.to_owned(),
            short,
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        let kept = if self.manifest.is_some() { "yes" } else { "no" };
        vec![self.at.clone(), kept.to_owned()]
    }
}
