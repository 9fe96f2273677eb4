//! `foundry adopt`

use clap::{Args, ValueEnum};

use crate::connect::connect_host;
use crate::consent;
use crate::output::to_yaml;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Error, Kind};
use foundry_core::text::escape_unseen;
use foundry_engine::vm::adopt::{AdoptPlan, adopt_vm, plan_adopt};

/// Take over a libvirt domain that foundry did not create
///
/// Foundry makes a manifest of the domain and notes it in the domain's metadata. Nothing else of the domain changes, and
/// a running guest goes on. What a manifest has no field for becomes entries of spec.xmlPatch, or is shown. A domain
/// that differs from what a manifest can say is refused, with the fields. Its disks are kept when it is destroyed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry adopt old -o yaml > old.yaml
  foundry adopt old && foundry diff old.yaml")]
pub(crate) struct AdoptArgs {
    /// Name of the domain
    #[arg(value_name = "DOMAIN")]
    name: String,
    /// Only print the manifest, and change nothing
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<ManifestFormat>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ManifestFormat {
    Yaml,
    Json,
}

pub(super) fn run_adopt(args: &AdoptArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let plan = plan_adopt(&context, &args.name)?;
    if let Some(format) = args.output {
        return print_manifest(&plan, format, ui);
    }
    let vm = &plan.vm;
    if plan.is_own {
        return ui.write_line(&format!("virtualmachine/{vm} already adopted"));
    }
    show_unsaid(&plan, ui);
    if plan.issues.is_empty() && !args.yes {
        consent::require_consent(&format!("Take over domain '{vm}'?"), "nothing was changed", ui)?;
    }
    // Not earlier: until the question is answered, a signal ends the program at once.
    interrupt::install_handler(&context.cancel)?;
    adopt_vm(&context, &plan)?;
    ui.write_line(&format!("virtualmachine/{vm} adopted"))
        .map_err(|unwritten| unwritten.outcome(format!("domain '{vm}' was taken over")))?;
    let volumes: Vec<String> = plan.volumes.iter().map(ToString::to_string).collect();
    if !volumes.is_empty() {
        ui.show_note(&format!("A destroy keeps its disks: {}", volumes.join(", ")));
    }
    Ok(())
}

fn print_manifest(plan: &AdoptPlan, format: ManifestFormat, ui: &Ui) -> Result<(), Error> {
    show_unsaid(plan, ui);
    for issue in &plan.issues {
        ui.show_note(&format!("It cannot be taken over: {}", issue.message));
    }
    let text = match format {
        ManifestFormat::Yaml => to_yaml(&plan.manifest)?,
        ManifestFormat::Json => {
            let text = serde_json::to_string_pretty(&plan.manifest);
            text.map_err(|e| Error::new(Kind::Vm, "cannot write the manifest").because(e.to_string()))? + "\n"
        }
    };
    ui.write_result(&text)
}

/// A line for each part that no field says; what is not in spec.xmlPatch either comes last.
fn show_unsaid(plan: &AdoptPlan, ui: &Ui) {
    let mut parts: Vec<_> = plan.unsaid.iter().collect();
    parts.sort_by_key(|part| part.entry.is_none());
    for part in parts {
        let place = if part.entry.is_some() { "in spec.xmlPatch" } else { "not in the manifest" };
        ui.show_note(&format!("{place}: {}: {}", part.path, escape_unseen(&part.what)));
    }
}
