//! `foundry list`

use clap::Args;

use crate::Global;
use crate::connect::connect_host;
use crate::output::{ListingArgs, OutputFormat, Selector, TableRow, WatchState, format_age, or_dash};
use crate::ui::Ui;
use crate::watch::watch_host;
use crate::words;
use foundry_core::error::Error;
use foundry_core::manifest::{Phase, VirtualMachine};
use foundry_engine::Context;
use foundry_engine::change::{DRIFTED, RESTART_REQUIRED, add_change_conditions};
use foundry_engine::snapshot::add_snapshots_to_all;
use foundry_engine::vm::inspect::{self, VmView};
use foundry_host::DomainState;

/// List running VMs, or all VMs
#[derive(Debug, Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:
  foundry list --all
  foundry list -l role=web -o name
  foundry list --all -o json
  foundry list --watch
  foundry list -o custom-columns=NAME:.metadata.name,PHASE:.status.phase"
)]
pub(crate) struct ListArgs {
    /// Include stopped VMs
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    listing: ListingArgs,
    /// Keep running and show changes
    #[arg(short, long)]
    watch: bool,
    /// Filter by label: key, key=value, key!=value; separate several with commas
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
}

pub(super) fn run_list(args: &ListArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let empty = if args.all { "No VMs" } else { "No running VMs; --all includes stopped ones" };
    if args.watch {
        let mut shown = WatchState::default();
        return watch_host(global, ui, |context| {
            args.listing.show_again(&args.find_vms(context, global)?, empty, &mut shown, (global, ui))
        });
    }
    let context = connect_host(global, ui)?;
    args.listing.show_list(&args.find_vms(&context, global)?, empty, (global, ui))
}

impl ListArgs {
    /// The selected VMs.
    fn find_vms(&self, context: &Context, global: &Global) -> Result<Vec<VmView>, Error> {
        let mut seen = inspect::list_vms(context, self.all)?;
        if let Some(selector) = &self.selector {
            seen.retain(|vm| selector.matches_labels(&vm.vm.metadata.labels));
        }
        // Comparing takes some calls for each VM, which the plain table does without.
        if !matches!(self.listing.chosen_format(global), OutputFormat::Table | OutputFormat::Name) {
            seen.iter_mut().try_for_each(|vm| add_change_conditions(context, vm))?;
            add_snapshots_to_all(context, &mut seen)?;
        }
        seen.iter_mut().for_each(words::add_advice);
        Ok(seen)
    }
}

impl TableRow for VmView {
    type Object = VirtualMachine;
    const HEADERS: &'static [&'static str] =
        &["NAME", "STATE", "VCPUS", "MEMORY", "IP ADDRESS", "AGE", "MANAGED"];
    const WIDE_HEADERS: &'static [&'static str] =
        &["AUTOSTART", "IMAGE", "POOL", "UUID", "SNAPSHOTS", "CHANGES"];

    fn json_object(&self) -> &VirtualMachine {
        &self.vm
    }

    fn row_name(&self) -> Option<String> {
        Some(self.domain.name.clone())
    }

    fn row_cells(&self) -> Vec<String> {
        let addresses: Vec<&str> =
            self.vm.status.iter().flat_map(|s| &s.addresses).map(|a| a.address.as_str()).collect();
        vec![
            self.domain.name.clone(),
            state_word(self),
            self.domain.vcpus.to_string(),
            self.domain.memory.to_string(),
            or_dash((!addresses.is_empty()).then(|| addresses.join(","))),
            or_dash(self.created_at().map(format_age)),
            self.managed_word().into(),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        let record = self.record();
        let image = record.and_then(|r| r.image.clone());
        let pool = record.and_then(|r| r.volumes.first()).map(|v| v.pool.clone());
        let autostart = if self.domain.autostart { "yes" } else { "no" };
        let snapshots: usize = self.vm.status.iter().map(|status| status.snapshots.len()).sum();
        vec![
            autostart.into(),
            or_dash(image),
            or_dash(pool),
            self.domain.uuid.to_string(),
            snapshots.to_string(),
            or_dash(change_words(self)),
        ]
    }
}

/// The changes that wait for a restart, and those that another program made.
fn change_words(seen: &VmView) -> Option<String> {
    let conditions = seen.vm.status.iter().flat_map(|status| &status.conditions);
    let told = conditions.filter(|c| [RESTART_REQUIRED, DRIFTED].contains(&c.kind.as_str()));
    let texts: Vec<&str> = told.map(|condition| condition.message.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// libvirt's word for the state, or foundry's if its record says more.
fn state_word(seen: &VmView) -> String {
    match seen.vm.status.as_ref().map(|s| s.phase) {
        Some(Phase::Pending) => "interrupted".into(),
        Some(Phase::Creating) => "creating".into(),
        Some(Phase::Destroying) => "half destroyed".into(),
        Some(Phase::Saved) => "saved".into(),
        Some(Phase::Failed) if seen.domain.state == DomainState::Crashed => seen.domain.state.to_string(),
        Some(Phase::Failed) => format!("{} ({})", seen.domain.state, seen.domain.why.short_word()),
        _ => seen.domain.state.to_string(),
    }
}
