//! `foundry destroy`

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use crate::bulk::{BulkArgs, NO_VMS_MATCH, report_all};
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::consent::{self, list_kept_back, list_volumes};
use crate::output::{Selector, parse_duration};
use crate::ssh_client;
use crate::ui::Ui;
use crate::vm_selection::find_names;
use crate::words;
use crate::words::hints::destroy_file;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{has_manifest_extension, load_file};
use foundry_core::names::VmName;
use foundry_core::text::escape_unseen;
use foundry_engine::Context;
use foundry_engine::vm::destroy::{DestroyOptions, DestroyPlan, execute_destroy, plan_destroy};

/// Stop VMs and delete them with their disks
#[derive(Debug, Args)]
#[command(visible_aliases = ["delete", "rm"], after_help = "Examples:
  foundry destroy web
  foundry destroy web db --yes
  foundry destroy 'ci-*' --force
  foundry destroy -l role=web
  foundry destroy -f web.yaml --ignore-not-found
  foundry destroy web --keep-disks")]
pub(crate) struct DestroyArgs {
    /// Names of the VMs, or patterns with * and ?
    #[arg(value_name = "VM", required_unless_present_any = ["selector", "filenames"])]
    names: Vec<String>,
    /// The VMs with these labels: key, key=value, key!=value; separate several with commas
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["names", "filenames"])]
    selector: Option<Selector>,
    /// The VMs of this manifest file; - for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    filenames: Vec<String>,
    /// A VM that does not exist is no error
    #[arg(long)]
    ignore_not_found: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Do not wait for the guest to shut down; also destroy domains that foundry did not create
    #[arg(long)]
    force: bool,
    /// Keep boot and data disks, and print their volume names
    #[arg(long)]
    keep_disks: bool,
    /// How long the guest may take to shut down [default: 5s] [env: FOUNDRY_DESTROY_TIMEOUT]
    #[arg(long, value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    bulk: BulkArgs,
}

pub(super) fn run_destroy(args: &DestroyArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let mut names = args.names.clone();
    names.extend(read_names(&args.filenames)?);
    let context = connect_host(global, ui)?;
    let names = find_names(&context, &names, args.selector.as_ref())?;
    if names.is_empty() {
        ui.show_note(NO_VMS_MATCH);
        return Ok(());
    }
    let timeout = args.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::DestroyTimeout));
    let options = DestroyOptions { force: args.force, keep_disks: args.keep_disks, timeout };
    // All VMs are planned before the question, so that it lists the disks of all.
    let plans = names.iter().map(|name| plan_destroy(&context, name, options));
    let (found, refused): (Vec<_>, Vec<_>) = plans.partition(Result::is_ok);
    let plans: Vec<DestroyPlan> = found.into_iter().filter_map(Result::ok).collect();
    let mut failures: Vec<Error> = refused.into_iter().filter_map(Result::err).collect();
    if let Some(error) = refuse_manifest_file(args, &failures) {
        return Err(error);
    }
    failures.retain(|error| !(args.ignore_not_found && error.code() == Code::VmMissing));
    let plans = remove_duplicates(plans);
    if let Err(declined) = confirm_destroy(args, &plans, ui) {
        failures.push(declined);
        return report_all(failures, ui);
    }
    // Not earlier: until the question is answered, a signal ends the program at once.
    interrupt::install_handler(&context.cancel)?;
    let is_asked = !args.yes && ui.can_ask();
    failures.extend(args.bulk.collect_failures(&plans, vm_name, &context, ui, |context, plan| {
        if !is_asked && ui.is_watched() {
            list_volumes_to_delete(plan, ui);
        }
        destroy_one(context, plan, ui)
    }));
    report_all(failures, ui)
}

fn vm_name(plan: &DestroyPlan) -> &str {
    &plan.domain.name
}

/// The names of the VMs in manifest files, as `create` gives them.
fn read_names(files: &[String]) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for file in files {
        let documents = load_file(Path::new(file)).map_err(|error| {
            let error = Error::from(error);
            match error.code() {
                Code::FileUnreadable => {
                    error.hint("-f names a manifest file, as in kubectl; --force has no short form")
                }
                _ => error,
            }
        })?;
        for vm in documents {
            let name = vm.metadata.name.unwrap_or_default();
            let name = VmName::parse_normalized(&name)
                .map_err(|why| Error::new(Code::NameUnfit, format!("{file}: metadata.name: {why}")))?;
            names.push(name.to_string());
        }
    }
    Ok(names)
}

/// If no question is asked, the disks are listed before they are deleted.
fn list_volumes_to_delete(plan: &DestroyPlan, ui: &Ui) {
    if !plan.volumes.is_empty() {
        let (vm, volumes) = (&plan.domain.name, plan.named_volumes());
        ui.show_note(&format!("Deleting with VM '{vm}': {}", volumes.join(", ")));
    }
}

/// If a name is a manifest file, says how to destroy the VMs in it and destroys nothing.
fn refuse_manifest_file(args: &DestroyArgs, failures: &[Error]) -> Option<Error> {
    failures.iter().find(|error| error.code() == Code::VmMissing)?;
    let is_manifest = |name: &&String| {
        let path = Path::new(name.as_str());
        has_manifest_extension(path) && path.is_file()
    };
    let file = args.names.iter().find(is_manifest)?;
    Some(
        Error::new(Code::VmMissing, format!("'{file}' is a file; destroy takes names of VMs"))
            .hint(destroy_file(file))
            .outcome("nothing was destroyed"),
    )
}

/// Drops a VM that was named twice, by name and by UUID.
fn remove_duplicates(mut plans: Vec<DestroyPlan>) -> Vec<DestroyPlan> {
    let mut seen = HashSet::new();
    plans.retain(|d| seen.insert(d.domain.uuid));
    plans
}

/// Asks for confirmation on a terminal.
fn confirm_destroy(args: &DestroyArgs, plans: &[DestroyPlan], ui: &Ui) -> Result<(), Error> {
    if plans.is_empty() || args.yes {
        return Ok(());
    }
    consent::require_consent(&destroy_question(plans), "nothing was destroyed", ui)
}

pub(super) fn destroy_one(context: &Context, plan: &DestroyPlan, ui: &Ui) -> Result<(), Error> {
    execute_destroy(context, plan)?;
    ssh_client::forget_known_hosts(plan.domain.uuid);
    let name = &plan.domain.name;
    let kept =
        plan.kept.iter().map(|kept| format!("{}/{}\n", escape_unseen(&kept.pool), escape_unseen(&kept.name)));
    let text =
        kept.chain([format!("Successfully destroyed VM '{}'\n", escape_unseen(name))]).collect::<String>();
    ui.write_text(&text).map_err(|unwritten| unwritten.outcome(format!("VM '{name}' was destroyed")))
}

/// The question, with every disk that would be deleted.
pub(super) fn destroy_question(plans: &[DestroyPlan]) -> String {
    let mut text = String::new();
    for plan in plans {
        let domain = &plan.domain;
        text.push_str(&format!("Destroy VM '{}' ({})\n", escape_unseen(&domain.name), domain.state));
        list_volumes(&mut text, "and delete these disks:", &plan.volumes);
        list_volumes(&mut text, "and keep these disks:", &plan.kept);
        let left = plan
            .left
            .iter()
            .map(|left| (left.what.clone(), words::with_advice(&left.why, left.advice.as_ref())));
        let not_deleted: Vec<(String, String)> = plan.kept_back.iter().cloned().chain(left).collect();
        list_kept_back(&mut text, &not_deleted);
    }
    text.push_str("Continue?");
    text
}
