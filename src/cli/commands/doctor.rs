//! `foundry doctor`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::create::plan_all;
use super::runner::{PoolExam, examine_pools, is_pool_file};
use crate::connect::{connect_host, libvirt_uri};
use crate::output::{OutputArgs, render_table};
use crate::ui::Ui;
use crate::words;
use crate::{Global, interrupt};
use foundry_core::error::{Error, Kind};
use foundry_core::names::PoolName;
use foundry_engine::doctor::{self, CheckState, HostCheck, HostReport};
use foundry_host::is_local_uri;

/// Check the host, or check whether it can run the given manifests
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry doctor
  foundry doctor --probe
  foundry doctor -o json
  foundry doctor vm.yaml
  foundry doctor pool.yaml")]
pub(crate) struct DoctorArgs {
    /// Manifest files, also of runner pools: run only their checks; - for standard input
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Also start a diskless test guest for two seconds
    #[arg(long, conflicts_with = "files")]
    probe: bool,
    /// Check as if created with this pool
    #[arg(long, requires = "files")]
    pool: Option<PoolName>,
    #[command(flatten)]
    output: OutputArgs,
    /// Omit the headers of the table
    #[arg(long)]
    no_headers: bool,
}

pub(super) fn run_doctor(args: &DoctorArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    if args.files.is_empty() { check_host(args, global, ui) } else { check_manifests(args, global, ui) }
}

/// Checks the host. If libvirt does not answer, doctor still reports what it can see, and exits like any other command.
fn check_host(args: &DoctorArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = match connect_host(global, ui) {
        Ok(context) => context,
        Err(error) if error.kind() == Kind::Connection => {
            let uri = libvirt_uri(global);
            let report = doctor::examine_without_libvirt(&uri, is_local_uri(&uri), &error);
            show_report(&report, args, (global, ui))?;
            show_verdict(&report, "VMs", args, (global, ui))?;
            return Err(error);
        }
        Err(error) => return Err(error),
    };
    if args.probe {
        interrupt::install_handler(&context.cancel)?;
    }
    let report = doctor::examine_host(&context, args.probe)?;
    show_report(&report, args, (global, ui))?;
    show_verdict(&report, "VMs", args, (global, ui))?;
    report.outcome()
}

fn check_manifests(args: &DoctorArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let defaults = global.engine_settings()?.defaults(args.pool.clone());
    let (pools, files): (Vec<String>, Vec<String>) =
        args.files.iter().cloned().partition(|f| is_pool_file(f));
    let plans = plan_all(&files, &defaults)?;
    let context = connect_host(global, ui)?;
    let pools = examine_pools(&pools, &context, &defaults)?;
    let mut report = HostReport { checks: Vec::new(), left_out: Vec::new() };
    let mut worst: Option<Error> = None;
    for plan in &plans {
        let found = doctor::examine_vm(&context, plan)?;
        report.checks.extend(found.checks);
        let error = found.outcome.err();
        // The exit code is that of the worst problem of all VMs.
        worst = worst.into_iter().chain(error).max_by_key(Error::kind);
    }
    let mut names: Vec<String> = plans.iter().map(|plan| plan.name.to_string()).collect();
    for PoolExam { name, checks, worst: found } in pools {
        report.checks.extend(checks);
        worst = worst.into_iter().chain(found).max_by_key(Error::kind);
        names.push(format!("the VMs of pool {name}"));
    }
    show_report(&report, args, (global, ui))?;
    show_verdict(&report, &names.join(", "), args, (global, ui))?;
    worst.map_or(Ok(()), |error| {
        let problems = report.checks.iter().filter(|check| check.state == CheckState::Problem).count();
        let problem = if problems == 1 { "problem" } else { "problems" };
        Err(Error::new(error.code(), format!("{problems} {problem} found")))
    })
}

fn show_report(report: &HostReport, args: &DoctorArgs, (global, ui): (&Global, &Ui)) -> Result<(), Error> {
    let names: Vec<String> = report.checks.iter().map(check_name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = || {
        let rows = report.checks.iter().flat_map(check_rows);
        render_table(&["CHECK", "STATE", "FOUND"], rows, args.no_headers, ui.terminal_columns())
    };
    args.output.show_object(&ReportView::from_report(report), &names, |_| rows(), (global, ui))?;
    if args.output.chosen_format(global).is_table() && !report.left_out.is_empty() {
        ui.show_note(&format!(
            "Skipped, because the host is another machine: {}",
            report.left_out.join("; ")
        ));
    }
    Ok(())
}

/// The last line of a table: whether VMs can be created here, or what prevents it.
fn show_verdict(
    report: &HostReport,
    what: &str,
    args: &DoctorArgs,
    (global, ui): (&Global, &Ui),
) -> Result<(), Error> {
    if !args.output.chosen_format(global).is_table() {
        return Ok(());
    }
    let of = |state| report.checks.iter().filter(move |check| check.state == state);
    let mut problems: Vec<String> = of(CheckState::Problem).map(HostCheck::title).collect();
    problems.dedup();
    if !problems.is_empty() {
        return ui.write_line(&format!(
            "Not ready: {what} cannot be created here because of: {}",
            problems.join(", ")
        ));
    }
    let warnings = match of(CheckState::Warning).count() {
        0 => String::new(),
        1 => " (1 warning)".into(),
        n => format!(" ({n} warnings)"),
    };
    ui.write_line(&format!("Ready: {what} can be created here{warnings}"))
}

/// The result of `foundry doctor`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReportView<'a> {
    /// Ordered so that a check comes after those that it depends on.
    checks: Vec<CheckView<'a>>,
    /// Checks that were skipped because the host is another machine.
    left_out: &'a [&'static str],
}

/// One check.
#[derive(Debug, Serialize, JsonSchema)]
struct CheckView<'a> {
    #[serde(flatten)]
    check: &'a HostCheck,
    /// Remedies: sentences or commands.
    todo: Vec<String>,
}

impl<'a> ReportView<'a> {
    fn from_report(report: &'a HostReport) -> Self {
        let view = |check: &'a HostCheck| CheckView {
            check,
            todo: check.advice.iter().map(words::render_advice).collect(),
        };
        Self { checks: report.checks.iter().map(view).collect(), left_out: &report.left_out }
    }
}

/// The name of a check, as kubectl prints TYPE/NAME.
fn check_name(check: &HostCheck) -> String {
    check.object.as_ref().map_or_else(|| check.name.to_string(), |object| format!("{}/{object}", check.name))
}

/// The rows of a check: the finding, and below it a row for each remedy.
fn check_rows(check: &HostCheck) -> Vec<Vec<String>> {
    let code = check.code.map(|code| format!(" [{code}]")).unwrap_or_default();
    let first = vec![check.title(), check.state.as_str().to_owned(), format!("{}{code}", check.found)];
    let todo = check.advice.iter().map(words::render_advice);
    let todo = todo.map(|what| vec![String::new(), String::new(), format!("→ {what}")]);
    std::iter::once(first).chain(todo).collect()
}
