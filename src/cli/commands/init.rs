//! `foundry init`

use std::fs::OpenOptions;
use std::io::{self, Write};

use super::init_answers::collect_answers;
use super::init_args::InitArgs;
use crate::Global;
use crate::ui::Ui;
use crate::words::hints;
use foundry_core::error::{Code, Error};
use foundry_core::manifest;
use foundry_core::plan::VmPlan;
use foundry_core::text::describe_io_error;

pub(super) fn run_init(args: &InitArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let asks = !missing_flags(args).is_empty();
    if asks && !ui.can_ask() {
        return Err(flags_missing_error(args));
    }
    let starter = collect_answers(args, asks, global, ui)?;
    let text = starter.to_yaml(hints::MANIFEST_HEAD);
    validate_manifest(&text, global)?;
    if starter.ssh_keys.is_empty() {
        ui.show_note("No --ssh-key was given: nobody can log in to this VM");
    }
    let file = args.output.clone().unwrap_or_else(|| format!("{}.yaml", starter.name));
    if file == "-" {
        return ui.write_result(&text);
    }
    write_new(&file, &text)?;
    ui.write_line(&format!("Successfully wrote {file}"))?;
    ui.show_note(&hints::create_from(&file));
    Ok(())
}

/// The required flags that are missing.
fn missing_flags(args: &InitArgs) -> Vec<&'static str> {
    let on_bridge = args.network.is_none();
    let needed = [
        ("--name", args.name.is_none()),
        ("--image", args.image.is_none()),
        ("--bridge (or --network)", on_bridge && args.bridge.is_none()),
        ("--ip", on_bridge && args.ip.is_none()),
    ];
    needed.into_iter().filter(|(_, missing)| *missing).map(|(flag, _)| flag).collect()
}

/// The error without a terminal; it names all missing flags.
fn flags_missing_error(args: &InitArgs) -> Error {
    Error::new(Code::NobodyToAsk, "missing values, and stdin is not a terminal")
        .hint(format!("give {}", missing_flags(args).join(", ")))
        .outcome("nothing was written")
}

/// Validates the manifest as `create` does before it connects.
fn validate_manifest(text: &str, global: &Global) -> Result<(), Error> {
    let defaults = global.engine_settings()?.defaults(None);
    let judged = manifest::load_text(text, "the manifest").map_err(Error::from).and_then(|manifests| {
        manifests.iter().try_for_each(|m| VmPlan::from_manifest(m, &defaults).map(drop).map_err(Error::from))
    });
    judged.map_err(|error| error.outcome("nothing was written"))
}

fn write_new(file: &str, text: &str) -> Result<(), Error> {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    opened.and_then(|mut opened| opened.write_all(text.as_bytes())).map_err(|error| {
        let what = |code| Error::new(code, format!("cannot write {file}"));
        match error.kind() {
            io::ErrorKind::AlreadyExists => what(Code::FileTaken)
                .because("it already exists")
                .hint("--output FILE writes to another file"),
            _ => what(Code::FileUnwritable).because(describe_io_error(&error)),
        }
        .unchanged()
    })
}
