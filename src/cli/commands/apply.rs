//! `foundry apply`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::create::plan_all;
use super::destroy::{destroy_one, destroy_question};
use super::runner::{WantedPool, is_pool_file, plan_pools};
use crate::bulk::run_for_each;
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::consent::require_consent;
use crate::output::Selector;
use crate::ui::Ui;
use crate::vm_selection::find_names;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::manifest::has_manifest_extension;
use foundry_core::names::PoolName;
use foundry_engine::Context;
use foundry_engine::change::{
    Applied, ApplyOptions, ApplyOutcome, FieldDiff, Verdict, WantedVm, apply_vm, plan_apply,
    recorded_manifest,
};
use foundry_engine::vm::destroy::{DestroyOptions, DestroyPlan, plan_destroy};

/// Create VMs or change them, as their manifests say
///
/// Changes nothing that would lose something, and restarts no VM: what a running VM cannot take waits for its next
/// start. Manifests of runner pools get into the directory that 'foundry runner serve' reads.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry apply vm.yaml
  foundry apply vm.yaml --dry-run
  foundry apply -R vms/
  foundry apply vms/ --prune -l env=lab
  foundry apply web --to-revision 3
  cat *.yaml | foundry apply -")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    manifests: ManifestArgs,
    /// Apply revision N of the VMs that are named instead of files, as 'foundry history' lists it
    #[arg(long, value_name = "N", conflicts_with_all = ["prune", "recursive", "filenames", "pool"])]
    to_revision: Option<u64>,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// Also undo what other programs changed
    #[arg(long)]
    force: bool,
    /// Destroy the VMs of foundry that have the labels of -l and are in no manifest
    #[arg(long, requires = "selector")]
    prune: bool,
    /// Labels of the VMs that --prune may destroy: key, key=value, key!=value; separate several with commas
    #[arg(short = 'l', long, value_name = "LABELS", requires = "prune")]
    selector: Option<Selector>,
    /// Do not ask before --prune destroys VMs; required without a terminal
    #[arg(short, long, requires = "prune")]
    yes: bool,
}

/// The manifests that a command reads.
#[derive(Debug, Args)]
pub(crate) struct ManifestArgs {
    /// Manifest files, or directories of them; - for standard input
    #[arg(required_unless_present = "filenames", value_name = "FILE")]
    files: Vec<String>,
    /// Manifest file or directory, as in kubectl
    #[arg(short, long = "filename", value_name = "FILE")]
    filenames: Vec<String>,
    /// Also read the directories in directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Put the disks of new VMs into this pool; overrides the manifest
    #[arg(long)]
    pub(super) pool: Option<PoolName>,
}

impl ManifestArgs {
    /// All files, with those of the directories in the order of their names.
    ///
    /// # Errors
    /// If a directory cannot be read, or has no manifest.
    pub(super) fn files(&self) -> Result<Vec<String>, Error> {
        find_manifest_files(self.files.iter().chain(&self.filenames), self.recursive)
    }
}

/// All these files, with those of the directories among them in the order of their names.
///
/// # Errors
/// If a directory cannot be read, or has no manifest.
pub(super) fn find_manifest_files<'a>(
    given: impl IntoIterator<Item = &'a String>,
    recursive: bool,
) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    for given in given {
        let path = Path::new(given);
        if !path.is_dir() {
            files.push(given.clone());
            continue;
        }
        let before = files.len();
        read_directory(path, recursive, &mut files)?;
        if files.len() == before {
            let deeper = if recursive { "" } else { "; -R also reads the directories in it" };
            let message = format!("directory '{given}' has no manifest (*.yaml, *.yml, *.json){deeper}");
            return Err(Error::new(Code::NoManifest, message));
        }
    }
    Ok(files)
}

fn read_directory(directory: &Path, recursive: bool, files: &mut Vec<String>) -> Result<(), Error> {
    let unreadable = |e: std::io::Error| {
        let message = format!("cannot read directory '{}'", directory.display());
        Error::new(Code::FileUnreadable, message).because(e.to_string())
    };
    let entries = std::fs::read_dir(directory).map_err(unreadable)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(unreadable)?;
    paths.sort();
    for path in paths {
        // A link to a directory may lead back.
        let is_directory = path.symlink_metadata().is_ok_and(|found| found.is_dir());
        if is_directory && recursive {
            read_directory(&path, recursive, files)?;
        } else if path.is_file() && has_manifest_extension(&path) {
            files.push(path.display().to_string());
        }
    }
    Ok(())
}

pub(super) fn run_apply(args: &ApplyArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let all = if args.to_revision.is_some() { Vec::new() } else { args.manifests.files()? };
    let (pools, files): (Vec<String>, Vec<String>) = all.into_iter().partition(|file| is_pool_file(file));
    let pools = plan_pools(&pools, global)?;
    let apply_pools = || run_for_each(&pools, ui, |pool: &WantedPool| pool.apply(args.dry_run, ui));
    if files.is_empty() && args.to_revision.is_none() && !args.prune {
        return apply_pools();
    }
    let (context, wanted) = args.find_wanted(&files, global, ui)?;
    let names: BTreeSet<String> = wanted.iter().map(|vm| vm.name().to_owned()).collect();
    let superfluous = if args.prune { args.find_superfluous(&context, &names, global)? } else { Vec::new() };
    let options = ApplyOptions { force: args.force };
    if args.dry_run {
        apply_pools()?;
        run_for_each(&wanted, ui, |vm| dry_run(&context, vm, options, ui))?;
        return superfluous.iter().try_for_each(|plan| {
            ui.write_line(&format!("virtualmachine/{} pruned (dry run)", plan.domain.name))
        });
    }
    if !superfluous.is_empty() && !args.yes {
        confirm_prune(&superfluous, ui)?;
    }
    interrupt::install_handler(&context.cancel)?;
    apply_pools()?;
    run_for_each(&wanted, ui, |vm| apply_one(&context, vm, options, ui))?;
    // Only after all manifests were applied: a failure may be a mistake in them.
    for plan in &superfluous {
        destroy_one(&context, plan, ui)?;
    }
    Ok(())
}

/// Applies one manifest and prints what it did.
pub(super) fn apply_one(
    context: &Context,
    wanted: &WantedVm,
    options: ApplyOptions,
    ui: &Ui,
) -> Result<(), Error> {
    let applied = apply_vm(context, wanted, options)?;
    if !applied.drift.is_empty() {
        ui.show_warning(&format!(
            "VM '{}': kept what another program changed: {}; --force sets it back",
            wanted.name(),
            applied.drift.join(", ")
        ));
    }
    ui.write_line(&outcome_line(wanted.name(), &applied))
        .map_err(|unwritten| unwritten.outcome(format!("the manifest of VM '{}' was applied", wanted.name())))
}

fn outcome_line(name: &str, applied: &Applied) -> String {
    let word = match applied.outcome {
        ApplyOutcome::Created => "created",
        ApplyOutcome::Configured => "configured",
        ApplyOutcome::Unchanged => "unchanged",
    };
    let waits = match applied.pending.as_slice() {
        [] => String::new(),
        fields => format!(" (restart required: {})", fields.join(", ")),
    };
    format!("virtualmachine/{name} {word}{waits}")
}

fn dry_run(context: &Context, wanted: &WantedVm, options: ApplyOptions, ui: &Ui) -> Result<(), Error> {
    let name = wanted.name();
    let Some(fields) = plan_apply(context, wanted, options)? else {
        return ui.write_line(&format!("virtualmachine/{name} created (dry run)"));
    };
    if fields.is_empty() {
        return ui.write_line(&format!("virtualmachine/{name} unchanged (dry run)"));
    }
    let at_start =
        |field: &FieldDiff| if field.verdict == Verdict::NextStart { " at the next start" } else { "" };
    let mut lines = vec![format!("virtualmachine/{name} configured (dry run)")];
    lines.extend(fields.iter().map(|field| format!("  {}{}", change_line(field), at_start(field))));
    ui.write_text(&(lines.join("\n") + "\n"))
}

/// A field with the value that it has and the one that it gets.
pub(super) fn change_line(field: &FieldDiff) -> String {
    let text = |value: Option<&String>| value.map_or("nothing", String::as_str).to_owned();
    let now = field.persistent.as_ref().or(field.recorded.as_ref());
    format!("{}: {} to {}", field.path, text(now), text(field.wanted.as_ref()))
}

impl ApplyArgs {
    /// The VMs as they are to be, by their manifests or an earlier revision.
    fn find_wanted(
        &self,
        files: &[String],
        global: &Global,
        ui: &Ui,
    ) -> Result<(Context, Vec<WantedVm>), Error> {
        if let Some(revision) = self.to_revision {
            let context = connect_host(global, ui)?;
            let of = |name: &String| recorded_manifest(&context, name)?.with_revision(&context, revision);
            let wanted = self.manifests.files.iter().map(of).collect::<Result<_, Error>>()?;
            return Ok((context, wanted));
        }
        let plans = plan_all(files, &global.engine_settings()?.defaults(self.manifests.pool.clone()))?;
        Ok((connect_host(global, ui)?, plans.into_iter().map(WantedVm::of_manifest).collect()))
    }

    /// The complete VMs of foundry that the selector selects and no manifest names.
    fn find_superfluous(
        &self,
        context: &Context,
        names: &BTreeSet<String>,
        global: &Global,
    ) -> Result<Vec<DestroyPlan>, Error> {
        let Some(selector) = &self.selector else { return Ok(Vec::new()) };
        let mut found = find_names(context, &[], Some(selector))?;
        found.retain(|name| !names.contains(name));
        let timeout = global.resolved().timeout_for(SettingKey::DestroyTimeout);
        let options = DestroyOptions { force: false, keep_disks: false, timeout };
        let plans: Result<Vec<DestroyPlan>, Error> =
            found.iter().map(|name| plan_destroy(context, name, options)).collect();
        // The VMs of a pool are its controller's: their jobs go on.
        Ok(plans?.into_iter().filter(|plan| !plan.is_of_pool()).collect())
    }
}

/// A command that finds by itself what it destroys needs a yes, or --yes where nobody can be asked.
fn confirm_prune(plans: &[DestroyPlan], ui: &Ui) -> Result<(), Error> {
    let otherwise = "nothing was applied or destroyed";
    if !ui.can_ask() {
        let names: Vec<&str> = plans.iter().map(|plan| plan.domain.name.as_str()).collect();
        let message = format!("--prune would destroy {}, and stdin is not a terminal", names.join(", "));
        return Err(Error::new(Code::NobodyToAsk, message)
            .hint("--yes does it without asking")
            .outcome(otherwise));
    }
    require_consent(&destroy_question(plans), otherwise, ui)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_manifests_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("deeper")).unwrap();
        for name in ["b.yaml", "a.yml", "c.json", "notes.txt", "deeper/d.yaml"] {
            std::fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink(directory.path(), at("deeper/loop")).unwrap();
        let files = |given: &[&Path], recursive| {
            let files = given.iter().map(|path| path.display().to_string()).collect();
            let args = ManifestArgs { files, filenames: Vec::new(), recursive, pool: None };
            args.files().map(|found| {
                let short = |file: &String| file.rsplit('/').next().unwrap_or_default().to_owned();
                found.iter().map(short).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(files(&[directory.path()], false).unwrap(), "a.yml b.yaml c.json");
        assert_eq!(files(&[directory.path()], true).unwrap(), "a.yml b.yaml c.json d.yaml");
        assert_eq!(files(&[Path::new("-"), &at("b.yaml")], false).unwrap(), "- b.yaml");
        std::fs::remove_file(at("deeper/d.yaml")).unwrap();
        assert_eq!(files(&[&at("deeper")], true).unwrap_err().code(), Code::NoManifest);
    }
}
