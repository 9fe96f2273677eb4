//! `foundry diff`

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::apply::ManifestArgs;
use super::create::plan_all;
use crate::Global;
use crate::connect::connect_host;
use crate::output::{OutputArgs, OutputFormat, or_dash, render_table, to_json, to_yaml};
use crate::ui::Ui;
use crate::words::command_line;
use foundry_core::error::{Error, Verb};
use foundry_engine::change::{FieldDiff, Verdict, WantedVm, diff_vm};

/// The exit code if a VM differs from its manifest. It is not a failure.
pub(crate) const EXIT_DIFFERS: u8 = 7;

/// Show how VMs differ from their manifests
///
/// Compares each field with the manifest that was applied last, with the definition and with the running VM.
/// The exit code is 0 if all are the same, and 7 if one differs or does not exist.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry diff vm.yaml
  foundry diff -R vms/
  foundry get web -o yaml | foundry diff -
  foundry diff vm.yaml -o json")]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    manifests: ManifestArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A VM, and where it differs from its manifest.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DiffView {
    /// Name of the VM.
    name: String,
    /// Whether it exists; otherwise 'foundry apply' creates it.
    exists: bool,
    /// The fields that differ.
    fields: Vec<FieldDiff>,
}

/// Returns the exit code.
pub(super) fn run_diff(args: &DiffArgs, global: &Global, ui: &Ui) -> Result<u8, Error> {
    let files = args.manifests.files()?;
    let plans = plan_all(&files, &global.engine_settings()?.defaults(args.manifests.pool.clone()))?;
    let context = connect_host(global, ui)?;
    let mut views = Vec::new();
    for plan in plans {
        let wanted = WantedVm::of_manifest(plan);
        let fields = diff_vm(&context, &wanted)?;
        views.push(DiffView {
            name: wanted.name().to_owned(),
            exists: fields.is_some(),
            fields: fields.unwrap_or_default(),
        });
    }
    show_views(args, &views, (global, ui))?;
    Ok(if views.iter().all(DiffView::is_same) { 0 } else { EXIT_DIFFERS })
}

impl DiffView {
    fn is_same(&self) -> bool {
        self.exists && self.fields.is_empty()
    }

    /// The VM as lines for people.
    fn to_text(&self, ui: &Ui) -> String {
        let name = &self.name;
        if !self.exists {
            return format!("virtualmachine/{name} would be created\n");
        }
        if self.fields.is_empty() {
            return format!("virtualmachine/{name} is the same\n");
        }
        let rows = self.fields.iter().map(|field| {
            vec![
                field.path.clone(),
                or_dash(field.wanted.clone()),
                or_dash(field.persistent.clone().or_else(|| field.recorded.clone())),
                or_dash(field.live.clone()),
                change_text(field),
            ]
        });
        let headers = ["FIELD", "MANIFEST", "DEFINED", "RUNNING", "CHANGE"];
        let table = render_table(&headers, rows, false, ui.terminal_columns());
        format!("virtualmachine/{name} differs\n{table}{}", self.repave_note())
    }

    /// How the fields change that need a new boot disk, unless other ones stand in the way.
    fn repave_note(&self) -> String {
        let has = |verdict| self.fields.iter().any(|f| f.is_change(false) && f.verdict == verdict);
        if !has(Verdict::Repave) || has(Verdict::Refused) {
            return String::new();
        }
        let how = command_line(&Verb::RepaveFromFile { wait: true });
        format!("{how} gives it a new boot disk and a new seed; its data disks stay\n")
    }
}

/// How the field gets the value of the manifest.
fn change_text(field: &FieldDiff) -> String {
    let why = field.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let how = match field.verdict {
        _ if field.pending => "restart required",
        Verdict::Live => "at once",
        Verdict::NextStart => "at the next start",
        Verdict::Repave => "needs a new boot disk",
        Verdict::Refused => "refused",
    };
    match (field.drift, field.verdict) {
        (true, Verdict::Live | Verdict::NextStart) => {
            format!("changed by another program; kept without --force ({how})")
        }
        (true, _) => format!("changed by another program; kept{why}"),
        (false, _) => format!("{how}{why}"),
    }
}

fn show_views(args: &DiffArgs, views: &[DiffView], (global, ui): (&Global, &Ui)) -> Result<(), Error> {
    match args.output.chosen_format(global) {
        OutputFormat::Json => ui.write_result(&to_json(&views)?),
        OutputFormat::Yaml => {
            let texts: Result<Vec<String>, Error> = views.iter().map(to_yaml).collect();
            ui.write_result(&texts?.join("---\n"))
        }
        OutputFormat::Name => {
            let names: Vec<&str> = views.iter().filter(|v| !v.is_same()).map(|v| v.name.as_str()).collect();
            ui.write_names(names.into_iter())
        }
        _ => views.iter().try_for_each(|view| ui.write_text(&view.to_text(ui))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repave_is_named_unless_a_refused_field_stands_in_its_way() {
        let field = |verdict| FieldDiff {
            path: "spec.bootDisk.image".into(),
            wanted: Some("b".into()),
            recorded: Some("a".into()),
            persistent: None,
            live: None,
            verdict,
            why: None,
            drift: false,
            pending: false,
        };
        let note = |verdicts: &[Verdict]| {
            let fields = verdicts.iter().copied().map(field).collect();
            DiffView { name: "web".into(), exists: true, fields }.repave_note()
        };
        assert!(
            note(&[Verdict::Repave, Verdict::Live]).starts_with("foundry repave -f FILE --wait gives it")
        );
        assert_eq!(note(&[Verdict::Live]), "");
        assert_eq!(note(&[Verdict::Repave, Verdict::Refused]), "");
    }
}
