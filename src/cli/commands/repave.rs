//! `foundry repave`

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::apply::{change_line, find_manifest_files};
use super::create::plan_all;
use crate::bulk::{BulkArgs, NO_VMS_MATCH, report_all, run_for_each};
use crate::config::SettingKey;
use crate::connect::connect_host;
use crate::output::parse_duration;
use crate::ui::Ui;
use crate::vm_selection::VmSelectionArgs;
use crate::words::{render_advice, render_repave_change};
use crate::{Global, consent, interrupt, ssh_client};
use foundry_core::error::Error;
use foundry_core::plan::VmPlan;
use foundry_core::record::RecordedVolume;
use foundry_core::text::escape_unseen;
use foundry_engine::Context;
use foundry_engine::change::WantedVm;
use foundry_engine::vm::power::StopOptions;
use foundry_engine::vm::repave::{
    RepavePreview, RepaveReport, RepaveRequest, RepaveSource, accept_repave, plan_repave, repave_vm,
    roll_back_repave,
};
use foundry_engine::vm::wait::Goal;

/// Give VMs new boot disks from their images
///
/// With -f, the VMs get everything that their manifests say, as far as the data disks can stay: what 'foundry apply' can
/// change, and what needs a new boot disk or a new seed.
#[derive(Debug, Args)]
#[command(mut_arg("names", |names| names.required_unless_present("filenames")))]
#[command(after_help = "Examples:
  foundry repave web --wait
  foundry repave web --image debian-13 --wait=cloud-init --timeout 10m
  foundry repave -f web.yaml --wait
  foundry repave web --rollback
  foundry repave -l role=web --parallel 1 --wait")]
pub(crate) struct RepaveArgs {
    #[command(flatten)]
    vms: VmSelectionArgs,
    /// Manifest files, or directories of them; - for standard input: repave their VMs to be as they say
    #[arg(short, long = "filename", value_name = "FILE", num_args = 1.., conflicts_with_all = ["names", "selector", "all", "image", "rollback", "accept"])]
    filenames: Vec<String>,
    /// Also read the directories in directories
    #[arg(short = 'R', long, requires = "filenames", conflicts_with_all = ["names", "selector", "all"])]
    recursive: bool,
    /// The image of the new boot disk; the manifest gets it, too
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Wait until the VM is ready, and bring the old boot disk back if that fails [default goal: ssh]
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "ssh", value_name = "GOAL")]
    wait: Option<TrialGoal>,
    /// How long to wait [default: 5m] [env: FOUNDRY_WAIT_TIMEOUT]
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Bring the previous boot disk and seed back
    #[arg(long, conflicts_with_all = ["image", "wait"])]
    rollback: bool,
    /// Delete the previous boot disk and seed
    #[arg(long, conflicts_with_all = ["image", "wait", "rollback", "force", "stop_timeout"])]
    accept: bool,
    /// Force the guest off at once, as a power failure would
    #[arg(long)]
    force: bool,
    /// How long the guest may take to shut down
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration, conflicts_with = "force")]
    stop_timeout: Duration,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    bulk: BulkArgs,
}

/// What shows that the new boot disk works. A known address does not: the host may remember it from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrialGoal {
    /// The SSH server answers on the VM's address
    Ssh,
    /// The guest agent answers
    Agent,
    /// Cloud-init has finished without errors
    CloudInit,
}

impl From<TrialGoal> for Goal {
    fn from(arg: TrialGoal) -> Self {
        match arg {
            TrialGoal::Ssh => Self::Ssh,
            TrialGoal::Agent => Self::Agent,
            TrialGoal::CloudInit => Self::CloudInit,
        }
    }
}

impl RepaveArgs {
    fn stop(&self) -> StopOptions {
        StopOptions { force: self.force, timeout: self.stop_timeout }
    }

    /// The VMs to repave, each with its source.
    fn find_subjects(&self, context: &Context, plans: Vec<VmPlan>) -> Result<Vec<Subject>, Error> {
        if !plans.is_empty() {
            return Ok(plans.into_iter().map(WantedVm::of_manifest).map(Subject::of_manifest).collect());
        }
        let source = self.image.clone().map_or(RepaveSource::Recorded, RepaveSource::Image);
        let names = self.vms.find_names(context)?;
        Ok(names.into_iter().map(|name| Subject { name, source: source.clone() }).collect())
    }

    fn request<'a>(&self, subject: &'a Subject, global: &Global) -> RepaveRequest<'a> {
        let timeout = self.timeout.unwrap_or_else(|| global.resolved().timeout_for(SettingKey::WaitTimeout));
        RepaveRequest {
            vm: &subject.name,
            source: subject.source.clone(),
            stop: self.stop(),
            wait: self.wait.map(|goal| (goal.into(), timeout)),
        }
    }
}

/// A VM to repave.
struct Subject {
    name: String,
    source: RepaveSource,
}

impl Subject {
    fn name(&self) -> &str {
        &self.name
    }

    fn of_manifest(wanted: WantedVm) -> Self {
        Self { name: wanted.name().to_owned(), source: RepaveSource::Manifest(Box::new(wanted)) }
    }
}

pub(super) fn run_repave(args: &RepaveArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let files = find_manifest_files(&args.filenames, args.recursive)?;
    let plans = match files.as_slice() {
        [] => Vec::new(),
        files => plan_all(files, &global.engine_settings()?.defaults(None))?,
    };
    let context = connect_host(global, ui)?;
    let subjects = args.find_subjects(&context, plans)?;
    if subjects.is_empty() {
        ui.show_note(NO_VMS_MATCH);
        return Ok(());
    }
    if !args.yes && ui.can_ask() {
        consent::require_consent(&question(args, &subjects, &context, global)?, "nothing was changed", ui)?;
    } else if !files.is_empty() && subjects.len() > 1 {
        // All are checked before the first is repaved.
        run_for_each(&subjects, ui, |vm| plan_repave(&context, &args.request(vm, global)).map(drop))?;
    }
    // Not earlier: until the question is answered, a signal ends the program at once.
    interrupt::install_handler(&context.cancel)?;
    let failures = args.bulk.collect_failures(&subjects, Subject::name, &context, ui, |context, subject| {
        let report = match (args.rollback, args.accept) {
            (true, _) => roll_back_repave(context, &subject.name, args.stop()),
            (_, true) => accept_repave(context, &subject.name),
            _ => repave_vm(context, &args.request(subject, global)),
        }?;
        show_report(&report, ui)
    });
    report_all(failures, ui)
}

/// The question, with the fields that change and the volumes that are replaced.
fn question(
    args: &RepaveArgs,
    subjects: &[Subject],
    context: &Context,
    global: &Global,
) -> Result<String, Error> {
    let mut text = String::new();
    for subject in subjects {
        let vm = escape_unseen(&subject.name);
        if args.rollback {
            text.push_str(&format!(
                "Bring the previous boot disk of VM '{vm}' back, and delete the present one\n"
            ));
        } else if args.accept {
            text.push_str(&format!("Delete the previous boot disk of VM '{vm}'\n"));
        } else {
            let preview = plan_repave(context, &args.request(subject, global))?;
            text.push_str(&preview_text(&vm, &preview, args.wait.is_some()));
        }
    }
    text.push_str("Continue?");
    Ok(text)
}

fn preview_text(vm: &str, preview: &RepavePreview, has_wait: bool) -> String {
    let mut text = String::new();
    if !preview.fields.is_empty() {
        text.push_str(&format!("Change VM '{vm}':\n"));
        let line = |field| format!("    {}\n", escape_unseen(&change_line(field)));
        text.extend(preview.fields.iter().map(line));
    }
    let until = match has_wait {
        true => "delete these volumes when the new ones have passed",
        false => "keep these volumes until you decide",
    };
    text.push_str(&format!("Give VM '{vm}' a new boot disk and {until}:\n"));
    text.extend(preview.volumes.iter().map(volume_line));
    text
}

fn volume_line(volume: &RecordedVolume) -> String {
    format!("    {}/{}  {}\n", escape_unseen(&volume.pool), escape_unseen(&volume.name), volume.capacity)
}

fn show_report(report: &RepaveReport, ui: &Ui) -> Result<(), Error> {
    // The guest may have other host keys now; the file is written again from the record.
    ssh_client::forget_known_hosts(report.uuid);
    let vm = escape_unseen(&report.vm);
    let what = render_repave_change(report.change);
    ui.write_line(&format!("virtualmachine/{vm} {what}"))
        .map_err(|unwritten| unwritten.outcome(format!("VM '{}' is {what}", report.vm)))?;
    if !report.addresses.is_empty() {
        ui.show_note(&format!("VM '{}' is ready: {}", report.vm, report.addresses.join(", ")));
    }
    if let Some(advice) = &report.advice {
        let kept = format!("The previous boot disk of VM '{}' is kept", report.vm);
        ui.show_note(&format!("{kept}: {}", render_advice(advice)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use foundry_engine::change::{FieldDiff, Verdict};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RepaveArgs,
    }

    #[test]
    fn files_take_the_place_of_names_and_of_an_image() {
        let parsed = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.args);
        let args = parsed("repave -f a.yaml vms -R --wait").unwrap();
        assert_eq!((args.filenames, args.recursive), (vec!["a.yaml".to_owned(), "vms".into()], true));
        assert_eq!(parsed("repave -f - --force").unwrap().filenames, ["-"]);
        for refused in [
            "repave",
            "repave web -f a.yaml",
            "repave -f a.yaml -l role=web",
            "repave -f a.yaml --all",
            "repave -f a.yaml --image b",
            "repave -f a.yaml --rollback",
            "repave -f a.yaml --accept",
            "repave web -R",
        ] {
            assert!(parsed(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn question_shows_the_fields_that_change() {
        let field = FieldDiff {
            path: "spec.cloudInit.fqdn".into(),
            wanted: Some("www.example.org".into()),
            recorded: None,
            persistent: None,
            live: None,
            verdict: Verdict::Repave,
            why: None,
            drift: false,
            pending: false,
        };
        let preview = RepavePreview { volumes: Vec::new(), fields: vec![field] };
        let text = preview_text("web", &preview, true);
        assert_eq!(
            text,
            "Change VM 'web':\n    spec.cloudInit.fqdn: nothing to www.example.org\n\
             Give VM 'web' a new boot disk and delete these volumes when the new ones have passed:\n"
        );
        let plain = RepavePreview { volumes: Vec::new(), fields: Vec::new() };
        assert!(!preview_text("web", &plain, false).contains("Change"));
    }
}
