//! `foundry create`

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::bulk::{BulkArgs, parse_count, report_all, run_for_each};
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::domain_xml::check_patch;
use foundry_core::error::{Advice, Error, ErrorCodes, Kind, Verb};
use foundry_core::manifest::{PartialDocument, read_file};
use foundry_core::names::PoolName;
use foundry_core::plan::{Defaults, Problems, VmPlan, check_batch};
use foundry_engine::Context;
use foundry_engine::preflight::preflight;
use foundry_engine::vm::create;
use foundry_engine::vm::create::CreatedVm;
use foundry_engine::vm::wait::{self, Goal};

/// Create VMs from a manifest and start them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry create vm.yaml
  foundry create vm.yaml --wait --timeout 3m
  foundry create web.yaml db.yaml
  cat *.yaml | foundry create - --parallel 4
  foundry create vm.yaml --dry-run -o xml")]
pub(crate) struct CreateArgs {
    /// Manifest files; - for standard input
    #[arg(required_unless_present = "filenames", value_name = "FILE")]
    files: Vec<String>,
    /// Manifest file, as in kubectl
    #[arg(short, long = "filename", value_name = "FILE")]
    filenames: Vec<String>,
    /// Put the disks into this pool; overrides the manifest
    #[arg(long)]
    pool: Option<PoolName>,
    /// Run all checks without creating anything
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run, print the domain XML
    #[arg(short, long, value_enum, requires = "dry_run")]
    output: Option<DryRunOutput>,
    /// Wait until the VM is ready [default goal: ssh]
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "ssh", value_name = "GOAL")]
    wait: Option<GoalArg>,
    /// How long to wait, as in 90s or 5m; the VM stays [default: 5m] [env: FOUNDRY_WAIT_TIMEOUT]
    #[arg(long, requires = "wait", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// How many VMs to create at once
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = parse_count)]
    parallel: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum GoalArg {
    /// The SSH server answers on the VM's address
    Ssh,
    /// The guest agent answers
    Agent,
    /// Cloud-init has finished without errors
    CloudInit,
    /// An address of the VM is known
    Ip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DryRunOutput {
    Xml,
}

impl From<GoalArg> for Goal {
    fn from(arg: GoalArg) -> Self {
        match arg {
            GoalArg::Ssh => Self::Ssh,
            GoalArg::Agent => Self::Agent,
            GoalArg::CloudInit => Self::CloudInit,
            GoalArg::Ip => Self::Ip,
        }
    }
}

pub(super) fn run_create(args: &CreateArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let files = [&args.files[..], &args.filenames].concat();
    let plans = plan_all(&files, &global.engine_settings()?.defaults(args.pool.clone()))?;
    let context = connect_host(global, ui)?;
    if args.dry_run {
        return dry_run(args, &context, &plans, ui);
    }
    interrupt::install_handler(&context.cancel)?;
    // The creation of a single VM checks the host itself.
    if plans.len() > 1 {
        check_all(&context, &plans, ui)?;
    }
    let timeout = args.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::WaitTimeout));
    create_all(args, args.wait.map(|goal| (goal.into(), timeout)), &context, &plans, ui)
}

/// Reads and validates all documents of all files, and reports all problems together.
pub(super) fn plan_all(files: &[String], defaults: &Defaults) -> Result<Vec<VmPlan>, Error> {
    let (documents, mut wrong) = read_all(files);
    let mut plans = Vec::new();
    let mut problems: Vec<Problems> = Vec::new();
    for document in &documents {
        let judged = document.manifest.as_ref().map(|manifest| {
            let plan = VmPlan::from_manifest(manifest, defaults)?;
            check_patch(&plan).map(|()| plan)
        });
        match judged {
            Some(Ok(plan)) => plans.push(plan),
            Some(Err(found)) => problems.extend(found.without_fields(&document.unread)),
            None => {}
        }
        wrong.extend(document.errors.iter().cloned().map(Error::from));
    }
    if !problems.is_empty() {
        wrong.push(join_problems(&problems));
    }
    if let Some(error) = Error::combine(&wrong) {
        return Err(error);
    }
    check_batch(&plans, &files.join(", "))?;
    Ok(plans)
}

/// The problems of several VMs as one error; of more than 20 VMs nobody reads all.
fn join_problems(problems: &[Problems]) -> Error {
    const TOLD: usize = 20;
    let codes: ErrorCodes = problems.iter().flat_map(Problems::codes).collect();
    let mut all: Vec<String> = problems.iter().take(TOLD).map(|one| one.message_with(&codes)).collect();
    if problems.len() > TOLD {
        all.push(format!("… and {} more VMs with problems", problems.len() - TOLD));
    }
    let error = Error::of_text(codes.worst_code().unwrap_or(Kind::Validation.into()), all.join("\n"));
    match problems.iter().find_map(Problems::advice) {
        Some(advice) => error.hint(advice.clone()),
        None => error,
    }
}

/// All documents that can be read, and the errors of those that cannot.
fn read_all(files: &[String]) -> (Vec<PartialDocument>, Vec<Error>) {
    let mut documents = Vec::new();
    let mut wrong = Vec::new();
    for file in files {
        match read_file(Path::new(file)) {
            Ok(read) => documents.extend(read),
            Err(error) => wrong.push(error.into()),
        }
    }
    (documents, wrong)
}

fn dry_run(args: &CreateArgs, context: &Context, plans: &[VmPlan], ui: &Ui) -> Result<(), Error> {
    run_for_each(plans, ui, |plan| {
        let blueprint = create::dry_run(context, plan)?;
        let removes = blueprint.removes.join(", ");
        let first = format!("The leftovers of an interrupted creation would be removed first: {removes}");
        match args.output {
            Some(DryRunOutput::Xml) => {
                if !removes.is_empty() {
                    ui.show_note(&first);
                }
                ui.write_result(&blueprint.domain_xml)
            }
            None if !removes.is_empty() => {
                ui.write_line(&first)?;
                ui.write_line(&format!("VM '{}' can be created; nothing was changed", plan.name))
            }
            None => ui.write_line(&format!("VM '{}' can be created; nothing was changed", plan.name)),
        }
    })
}

/// Runs the checks of all VMs on the host before the first one is created.
fn check_all(context: &Context, plans: &[VmPlan], ui: &Ui) -> Result<(), Error> {
    run_for_each(plans, ui, |plan| {
        context.cancel.check().map_err(|stopped| stopped.unchanged())?;
        preflight(context, plan).map(drop)
    })
}

/// Creates all VMs, then waits for those that were created. A failed one is rolled back alone and the others are kept.
/// The worst error is the outcome.
fn create_all(
    args: &CreateArgs,
    wait: Option<(Goal, Duration)>,
    context: &Context,
    plans: &[VmPlan],
    ui: &Ui,
) -> Result<(), Error> {
    let bulk = BulkArgs::new(args.parallel);
    let made: Mutex<Vec<CreatedVm>> = Mutex::default();
    let create = |context: &Context, plan: &VmPlan| create_one(context, plan, &made, ui);
    let mut failures = bulk.collect_failures(plans, plan_name, context, ui, create);
    let made = made.into_inner().unwrap_or_default();
    if let Some(goal) = wait {
        let wait = |context: &Context, vm: &CreatedVm| wait_for(context, vm, goal, ui);
        if context.cancel.is_requested() {
            // Each wait ends at once and says that its VM is kept.
            failures.extend(made.iter().filter_map(|vm| wait(context, vm).err()));
        } else {
            failures.extend(bulk.collect_failures(&made, created_name, context, ui, wait));
        }
    }
    report_all(failures, ui)
}

fn plan_name(plan: &VmPlan) -> &str {
    plan.name.as_str()
}

fn created_name(vm: &CreatedVm) -> &str {
    vm.record.manifest.metadata.name.as_deref().unwrap_or_default()
}

/// Creates one VM and waits for it.
///
/// # Errors
/// Those of the creation, after a rollback; those of the wait, and then the VM is kept.
pub(super) fn create_and_wait(
    context: &Context,
    plan: &VmPlan,
    wait: Option<(Goal, Duration)>,
    ui: &Ui,
) -> Result<(), Error> {
    let made = Mutex::default();
    create_one(context, plan, &made, ui)?;
    let made = made.into_inner().unwrap_or_default();
    made.iter().zip(wait).try_for_each(|(vm, wait)| wait_for(context, vm, wait, ui))
}

/// Creates one VM. It is added to `made` before the success is printed, so it is waited for even if stdout cannot be
/// written.
fn create_one(context: &Context, plan: &VmPlan, made: &Mutex<Vec<CreatedVm>>, ui: &Ui) -> Result<(), Error> {
    let created = create::create_vm(context, plan)?;
    if let Ok(mut made) = made.lock() {
        made.push(created);
    }
    let name = &plan.name;
    ui.write_line(&format!("Successfully created VM '{name}'")).map_err(|unwritten| {
        let destroy = Verb::Destroy { vm: name.to_string(), force: false };
        unwritten.outcome(
            Advice::from(format!("VM '{name}' was created and is kept; ")).run(destroy).text(" removes it"),
        )
    })
}

/// Waits for a VM that was created, and prints its addresses.
pub(super) fn wait_for(
    context: &Context,
    vm: &CreatedVm,
    (goal, timeout): (Goal, Duration),
    ui: &Ui,
) -> Result<(), Error> {
    let addresses = wait::wait_for_vm(context, vm, goal, timeout)?;
    let name = created_name(vm);
    ui.show_note(&format!("VM '{name}' is ready: {}", addresses.join(", ")));
    Ok(())
}
