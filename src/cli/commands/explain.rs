//! `foundry explain`

use std::fmt::Write as _;

use clap::Args;

use super::explain_code::{self, INDENT, WIDTH};
use crate::ui::Ui;
use crate::words::hints;
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{API_VERSION, KIND};
use foundry_core::schema::{self, Field, UnknownField};
use foundry_core::text::wrap_words;
use foundry_runner::{RUNNER_POOL_KIND, RunnerPool};
use serde_json::Value;

/// Explain a field of the manifest, or an error code
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry explain
  foundry explain spec.bootDisk
  foundry explain virtualmachine.spec.networkInterfaces.ip
  foundry explain vm.spec --recursive
  foundry explain runnerpool.spec.demand
  foundry explain FND-4201
  foundry explain --codes")]
pub(crate) struct ExplainArgs {
    /// Path of a field (default: the whole manifest), or an error code such as FND-4201
    #[arg(value_name = "FIELD|CODE")]
    field: Option<String>,
    /// Show the names and types of all fields below it
    #[arg(short, long)]
    recursive: bool,
    /// List all error codes
    #[arg(long, conflicts_with_all = ["field", "recursive"])]
    codes: bool,
}

pub(super) fn run_explain(args: &ExplainArgs, ui: &Ui) -> Result<(), Error> {
    match &args.field {
        _ if args.codes => explain_code::list_codes(ui),
        Some(text) if explain_code::looks_like_code(text) => explain_code::explain_code(text, ui),
        _ => explain_field(args, ui),
    }
}

fn explain_field(args: &ExplainArgs, ui: &Ui) -> Result<(), Error> {
    let path = args.field.as_deref();
    if let Some(path) = path.and_then(path_in_pool) {
        let schema = schema::input_schema::<RunnerPool>();
        return show_field(RUNNER_POOL_KIND, &schema, (!path.is_empty()).then_some(path), args, ui);
    }
    show_field(KIND, &schema::document_schema(), path, args, ui)
}

/// The path below `runnerpool`, if it begins with that.
fn path_in_pool(path: &str) -> Option<&str> {
    let (kind, rest) = path.split_once('.').unwrap_or((path, ""));
    kind.eq_ignore_ascii_case(RUNNER_POOL_KIND).then_some(rest)
}

fn show_field(
    kind: &str,
    schema: &Value,
    path: Option<&str>,
    args: &ExplainArgs,
    ui: &Ui,
) -> Result<(), Error> {
    let field = match path {
        Some(path) => Field::find(schema, path).map_err(unknown_field)?,
        None => Field::document_root(schema),
    };
    ui.write_text(&render_explanation(kind, &field, args.recursive))
}

fn unknown_field(error: UnknownField) -> Error {
    let hint = match &error.meant {
        Some(path) => hints::explain_similar_field(path),
        None => hints::LIST_FIELDS.to_owned(),
    };
    Error::new(Code::FieldMissing, error.to_string()).hint(hint)
}

fn render_explanation(kind: &str, field: &Field<'_>, recursive: bool) -> String {
    let mut text = format!("KIND:       {kind}\nVERSION:    {API_VERSION}\n");
    if !field.path.is_empty() {
        push_line(&mut text, format_args!("FIELD:      {} {}", field.path, type_tag(field)));
    }
    push_line(&mut text, format_args!("\nDESCRIPTION:"));
    push_description(&mut text, field);
    let fields = field.child_fields();
    if !fields.is_empty() {
        text.push_str("\nFIELDS:\n");
        if recursive { push_tree(&mut text, &fields, 1) } else { push_list(&mut text, &fields) }
    }
    text
}

fn push_description(text: &mut String, field: &Field<'_>) {
    for line in wrap_words(field.description(), WIDTH - INDENT.len()) {
        push_line(text, format_args!("{INDENT}{line}"));
    }
    for (name, fact) in field.list_facts() {
        push_line(text, format_args!("{INDENT}{name}: {fact}"));
    }
}

fn push_list(text: &mut String, fields: &[Field<'_>]) {
    for (index, field) in fields.iter().enumerate() {
        let apart = if index > 0 { "\n" } else { "" };
        push_line(text, format_args!("{apart}  {} {}", field.name(), type_tag(field)));
        push_description(text, field);
    }
}

fn push_tree(text: &mut String, fields: &[Field<'_>], depth: usize) {
    for field in fields {
        push_line(
            text,
            format_args!("{:indent$}{} {}", "", field.name(), type_tag(field), indent = depth * 2),
        );
        push_tree(text, &field.child_fields(), depth + 1);
    }
}

fn type_tag(field: &Field<'_>) -> String {
    // Foundry writes the status; in a manifest it is never required.
    let written = field.path.split('.').next() == Some("status");
    let required = if field.required && !written { " -required-" } else { "" };
    format!("<{}>{required}", field.type_text())
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
