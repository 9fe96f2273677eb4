//! `foundry schema`

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::output::json;
use super::ui::Ui;
use crate::error::Error;
use crate::schema;

/// Print the JSON Schema of manifests, for editors, or of what a command writes with -o json
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry schema > foundry.schema.json
  foundry schema list

A manifest that begins with this line is completed and checked by editors with the YAML language server:
  # yaml-language-server: $schema=foundry.schema.json")]
pub(super) struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value = "manifest")]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Manifests, which create and render read
    Manifest,
}

pub(super) fn run(args: &SchemaArgs, ui: &Ui) -> Result<(), Error> {
    ui.result(&json(&of(args.what))?)
}

fn of(what: What) -> Value {
    match what {
        What::Manifest => schema::manifest(),
    }
}
