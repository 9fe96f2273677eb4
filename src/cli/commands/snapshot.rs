//! `foundry snapshot`

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::connect::connect_host;
use crate::consent::{self, list_volumes};
use crate::output::{ListingArgs, TableRow, format_age, or_dash, parse_duration};
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::Error;
use foundry_core::names::SnapshotName;
use foundry_core::text::escape_unseen;
use foundry_engine::Context;
use foundry_engine::snapshot::{self, DeletePlan, RestorePlan, SnapshotRequest, SnapshotView};
use foundry_engine::vm::power::StopOptions;

/// Make, list, restore and delete snapshots of the disks of VMs
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Make a snapshot of all disks of a VM
    ///
    /// A running guest goes on; its agent freezes the file systems for a moment. Memory, EFI variables and the seed are
    /// not in the snapshot.
    #[command(after_help = "Examples:
  foundry snapshot create web
  foundry snapshot create web before-upgrade --description bookworm
  foundry snapshot create web --no-freeze")]
    Create {
        /// Name of the VM
        vm: String,
        /// Name of the snapshot [default: the time, in UTC]
        #[arg(value_name = "NAME")]
        name: Option<SnapshotName>,
        /// Do not freeze the file systems: the disks are then as after a power failure
        #[arg(long)]
        no_freeze: bool,
        /// A line about it
        #[arg(long, value_name = "TEXT", value_parser = parse_description)]
        description: Option<String>,
    },
    /// List the snapshots of one VM, or of all VMs
    #[command(
        visible_alias = "ls",
        after_help = "Examples:\n  foundry snapshot list\n  foundry snapshot list web -o wide"
    )]
    List {
        /// Name of the VM
        vm: Option<String>,
        #[command(flatten)]
        listing: ListingArgs,
    },
    /// Set the disks of a VM back to a snapshot
    ///
    /// Everything that was written since is deleted. A running VM is stopped first and started afterwards. Its definition
    /// stays as it is now.
    #[command(after_help = "Examples:
  foundry snapshot restore web before-upgrade
  foundry snapshot restore web before-upgrade --force --yes
  foundry snapshot restore web first --delete-later")]
    Restore {
        /// Name of the VM
        vm: String,
        /// Name of the snapshot
        snapshot: String,
        /// Also delete the snapshots that were made after it
        #[arg(long)]
        delete_later: bool,
        /// Force a running guest off at once, as a power failure would
        #[arg(long)]
        force: bool,
        /// How long the guest may take to shut down
        #[arg(long, default_value = "1m", value_parser = parse_duration, conflicts_with = "force")]
        timeout: Duration,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
    /// Delete a snapshot; the disks stay as they are now
    ///
    /// What was written since is merged into the disks of that time, which takes as long as copying it. The guest may run
    /// meanwhile.
    #[command(visible_alias = "rm", after_help = "Examples:\n  foundry snapshot delete web before-upgrade")]
    Delete {
        /// Name of the VM
        vm: String,
        /// Name of the snapshot
        snapshot: String,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

/// libvirt keeps it as XML, which has no form for control characters.
fn parse_description(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("it must be one line, without control characters".into());
    }
    if text.len() > 1024 {
        return Err(format!("it has {} bytes; the maximum is 1024", text.len()));
    }
    Ok(text.to_owned())
}

pub(super) fn run_snapshot(args: &SnapshotArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    match &args.command {
        SnapshotCommand::Create { vm, name, no_freeze, description } => {
            interrupt::install_handler(&context.cancel)?;
            let (name, description) = (name.clone(), description.clone());
            let request = SnapshotRequest { vm, name, description, freeze: !no_freeze };
            create(&context, &request, ui)
        }
        SnapshotCommand::List { vm, listing } => listing.show_list(
            &snapshot::list_snapshots(&context, vm.as_deref())?,
            "No snapshots",
            (global, ui),
        ),
        SnapshotCommand::Restore { vm, snapshot, delete_later, force, timeout, yes } => {
            let plan = snapshot::plan_restore(&context, vm, snapshot, *delete_later)?;
            if !yes {
                consent::require_consent(&restore_question(&plan, *force), "nothing was restored", ui)?;
            }
            // Not earlier: until the question is answered, a signal ends the program at once.
            interrupt::install_handler(&context.cancel)?;
            restore(&context, &plan, StopOptions { force: *force, timeout: *timeout }, ui)
        }
        SnapshotCommand::Delete { vm, snapshot, yes } => {
            let plan = snapshot::plan_delete(&context, vm, snapshot)?;
            if !yes {
                consent::require_consent(&delete_question(&plan), "nothing was deleted", ui)?;
            }
            interrupt::install_handler(&context.cancel)?;
            snapshot::delete_snapshot(&context, &plan)?;
            let done = format!("snapshot/{}/{} deleted", plan.vm, plan.snapshot);
            ui.write_line(&done).map_err(|unwritten| unwritten.outcome("the snapshot was deleted"))
        }
    }
}

fn create(context: &Context, request: &SnapshotRequest<'_>, ui: &Ui) -> Result<(), Error> {
    let made = snapshot::create_snapshot(context, request)?;
    let done = format!("snapshot/{}/{} created", made.vm, made.snapshot);
    ui.write_line(&done).map_err(|unwritten| unwritten.outcome("the snapshot was made"))?;
    if made.frozen {
        ui.show_note("The file systems of the guest were frozen meanwhile and are thawed.");
    }
    Ok(())
}

fn restore(context: &Context, plan: &RestorePlan, stop: StopOptions, ui: &Ui) -> Result<(), Error> {
    let restored = snapshot::restore_snapshot(context, plan, stop)?;
    let started = if restored.started { " and started" } else { "" };
    let done = format!("virtualmachine/{} restored to {}{started}", restored.vm, restored.snapshot);
    ui.write_line(&done).map_err(|unwritten| unwritten.outcome("the snapshot was restored"))
}

fn restore_question(plan: &RestorePlan, force: bool) -> String {
    let RestorePlan { vm, snapshot, created, runs, later, discarded, .. } = plan;
    let mut text = format!("Set VM '{}' back to snapshot '{}'", escape_unseen(vm), escape_unseen(snapshot));
    text.push_str(&made_ago(*created));
    if *runs {
        let how = if force { "is forced off" } else { "is stopped" };
        text.push_str(&format!("  The VM is running: it {how} first, and started afterwards.\n"));
    }
    if !later.is_empty() {
        text.push_str(&format!("  and delete the later snapshots: {}\n", escape_unseen(&later.join(", "))));
    }
    list_volumes(&mut text, "and delete what was written since:", discarded);
    text + "Continue?"
}

fn delete_question(plan: &DeletePlan) -> String {
    let DeletePlan { vm, snapshot, created, .. } = plan;
    let mut text = format!("Delete snapshot '{}' of VM '{}'", escape_unseen(snapshot), escape_unseen(vm));
    text.push_str(&made_ago(*created));
    text.push_str("  The disks stay as they are now.\n");
    text + "Continue?"
}

fn made_ago(created: Option<u64>) -> String {
    let at = created.and_then(|seconds| i64::try_from(seconds).ok());
    let at = at.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "\n".to_owned(), |at| format!(", made {} ago\n", format_age(&at.to_string())))
}

impl TableRow for SnapshotView {
    type Object = Self;
    const HEADERS: &'static [&'static str] = &["VM", "SNAPSHOT", "AGE", "DISKS", "MADE BY"];
    const WIDE_HEADERS: &'static [&'static str] = &["CREATED", "PARENT", "MEMORY", "DESCRIPTION"];

    fn json_object(&self) -> &Self {
        self
    }

    fn row_name(&self) -> Option<String> {
        Some(format!("{}/{}", self.vm, self.name))
    }

    fn row_cells(&self) -> Vec<String> {
        vec![
            self.vm.clone(),
            self.name.clone(),
            self.created_at.as_deref().map_or_else(|| "-".to_owned(), format_age),
            or_dash(Some(self.disks.join(",")).filter(|disks| !disks.is_empty())),
            self.made_by.as_str().to_owned(),
        ]
    }

    fn wide_row_cells(&self) -> Vec<String> {
        vec![
            or_dash(self.created_at.clone()),
            or_dash(self.parent.clone()),
            if self.memory { "yes" } else { "no" }.to_owned(),
            or_dash(self.description.clone()),
        ]
    }
}
