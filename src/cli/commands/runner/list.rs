//! `foundry runner list`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, TableRow, format_age, or_dash};
use crate::ui::Ui;
use foundry_core::error::Error;
use foundry_core::record::RunnerNote;
use foundry_core::units::format_epoch;
use foundry_engine::runner::list_pool_vms;
use foundry_engine::vm::labelled::LabelledVm;

/// List the VMs of runner pools
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:\n  foundry runner list\n  foundry runner list linux\n  foundry runner list -o json"
)]
pub(super) struct RunnerListArgs {
    /// Only this pool
    #[arg(value_name = "POOL")]
    pool: Option<String>,
    #[command(flatten)]
    listing: ListingArgs,
}

/// A VM of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunnerRow {
    /// Name of the VM, and of the runner at the forge.
    name: String,
    /// The pool.
    pool: String,
    /// How far the runner is: creating, booting, registering, starting, idle, busy, draining, deleting, failed.
    state: &'static str,
    /// State of the libvirt domain.
    domain: String,
    /// When the runner came into this state (RFC 3339).
    since: String,
    /// When the VM was asked for (RFC 3339).
    made: String,
    /// The forge's id of the registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<String>,
    /// Why it ends, or did not come up.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

pub(super) fn run_list(args: &RunnerListArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let all = list_pool_vms(&context)?.into_iter();
    let is_wanted = |note: &RunnerNote| args.pool.as_ref().is_none_or(|pool| note.pool == *pool);
    let mut rows: Vec<RunnerRow> =
        all.filter(|(_, note)| is_wanted(note)).map(|(vm, note)| RunnerRow::of(vm, note)).collect();
    rows.sort_by(|a, b| (&a.pool, &a.name).cmp(&(&b.pool, &b.name)));
    args.listing.show_list(&rows, "No runners", (global, ui))
}

impl RunnerRow {
    fn of(vm: LabelledVm, note: RunnerNote) -> Self {
        Self {
            name: vm.domain.name,
            state: note.state.as_str(),
            domain: vm.domain.state.to_string(),
            since: format_epoch(note.since),
            made: format_epoch(note.made),
            registration: note.registration,
            reason: note.reason.map(|reason| reason.as_str()),
            pool: note.pool,
        }
    }
}

impl TableRow for RunnerRow {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["NAME", "POOL", "STATE", "FOR", "REASON"];
    const WIDE_HEADERS: &'static [&'static str] = &["DOMAIN", "REGISTRATION"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.pool.clone(),
            self.state.into(),
            format_age(&self.since),
            or_dash(self.reason.map(str::to_owned)),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![self.domain.clone(), or_dash(self.registration.clone())]
    }
}
