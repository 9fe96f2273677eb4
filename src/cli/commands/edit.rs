//! `foundry edit`

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Args;

use super::apply::apply_one;
use crate::connect::connect_host;
use crate::output::to_yaml;
use crate::ui::Ui;
use crate::words;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error, Kind};
use foundry_core::manifest::load_text;
use foundry_engine::Context;
use foundry_engine::change::{ApplyOptions, RecordedManifest, WantedVm, recorded_manifest};

/// Edit the manifest of a VM, and apply it
///
/// Opens $VISUAL or $EDITOR, else vi. A manifest that cannot be applied is opened again with the reason on top.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry edit web
  EDITOR=nano foundry edit web")]
pub(crate) struct EditArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
}

/// The first lines of the file; lines that begin with # are comments of YAML.
const HEAD: &str = "# The manifest of the VM. Secrets are not shown and stay as they are.\n\
                    # Saving it unchanged, or empty, changes nothing.\n";

pub(super) fn run_edit(args: &EditArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    let recorded = recorded_manifest(&context, &args.name)?;
    let original = to_yaml(&recorded.manifest)?;
    let directory = tempfile::tempdir().map_err(|e| no_file(&e))?;
    let path = directory.path().join(format!("{}.yaml", file_stem(&args.name)));
    let mut text = format!("{HEAD}{original}");
    loop {
        fs::write(&path, &text).map_err(|e| no_file(&e))?;
        open_editor(&path)?;
        let edited = fs::read_to_string(&path).map_err(|e| no_file(&e))?;
        let said = without_comments(&edited);
        if said.trim().is_empty() || said == without_comments(&format!("{HEAD}{original}")) {
            return ui.write_line(&format!("virtualmachine/{} unchanged", args.name));
        }
        // The same wrong text again: the user gave up.
        let gave_up = said == without_comments(&text) && text.starts_with("# error");
        match try_apply(&context, &recorded, &edited, ui) {
            Err(error) if is_in_manifest(&error) && !gave_up => text = with_error(&error, &edited),
            Err(error) => return Err(keep_text(error, &args.name, &edited)),
            Ok(()) => return Ok(()),
        }
    }
}

fn try_apply(context: &Context, recorded: &RecordedManifest, text: &str, ui: &Ui) -> Result<(), Error> {
    let wanted = read_wanted(context, recorded, text)?;
    interrupt::install_handler(&context.cancel)?;
    apply_one(context, &wanted, ApplyOptions::default(), ui)
}

fn read_wanted(context: &Context, recorded: &RecordedManifest, text: &str) -> Result<WantedVm, Error> {
    let documents = load_text(text, "the manifest")?;
    match <[_; 1]>::try_from(documents) {
        Ok([manifest]) => {
            let mut manifest = manifest;
            manifest.status = None;
            recorded.with_manifest(context, manifest)
        }
        Err(_) => Err(Error::new(Code::NoManifest, "there must be exactly one manifest").unchanged()),
    }
}

/// Whether another text can be applied, where this one cannot.
fn is_in_manifest(error: &Error) -> bool {
    matches!(error.kind(), Kind::Configuration | Kind::Validation) || error.code() == Code::ChangeRefused
}

/// The text with the reason on top, in place of an earlier one.
fn with_error(error: &Error, text: &str) -> String {
    let told = words::render_error(error);
    let lines: String = told.lines().map(|line| format!("# error: {line}\n")).collect();
    let rest: String =
        text.lines().filter(|line| !line.starts_with("# error: ")).map(|line| format!("{line}\n")).collect();
    format!("{lines}{rest}")
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// The edited text must not be lost with the error.
fn keep_text(error: Error, name: &str, text: &str) -> Error {
    let kept = tempfile::Builder::new()
        .prefix(&format!("{}-", file_stem(name)))
        .suffix(".yaml")
        .tempfile()
        .and_then(|file| {
            fs::write(file.path(), text)?;
            file.keep().map(|(_, path)| path).map_err(|e| e.error)
        });
    match kept {
        Ok(path) => error.outcome(format!("the edited manifest is in {}", path.display())),
        Err(_) => error,
    }
}

/// A name without what a file name cannot have.
fn file_stem(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

fn open_editor(path: &Path) -> Result<(), Error> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // As git does: the variable may have arguments.
    let status = Command::new("sh").args(["-c", &format!("{editor} \"$@\""), &editor]).arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(Error::new(Code::LocalFile, format!("the editor '{editor}' failed: {status}")).unchanged())
        }
        Err(e) => Err(Error::new(Code::LocalFile, format!("cannot start the editor '{editor}'"))
            .because(e.to_string())
            .unchanged()),
    }
}

fn no_file(error: &std::io::Error) -> Error {
    Error::new(Code::FileUnwritable, "cannot use a temporary file").because(error.to_string()).unchanged()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_comment_on_top_and_replaces_the_one_before() {
        let once = with_error(&Error::new(Code::TextUnfit, "first"), "# a\nkind: x\n");
        assert_eq!(once, "# error: first\n# a\nkind: x\n");
        let twice = with_error(&Error::of_text(Code::TextUnfit, "two\nlines"), &once);
        assert_eq!(twice, "# error: two\n# error: lines\n# a\nkind: x\n");
        assert_eq!(without_comments(&twice), "kind: x\n");
    }

    #[test]
    fn a_file_is_named_after_the_vm_and_nothing_else() {
        assert_eq!(file_stem("../we b"), "___we_b");
    }
}
