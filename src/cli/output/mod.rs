//! Results in the form that their reader wants; and the words that arguments share.
//!
//! ```text
//!  -o ──▶ Form ──┬── table, wide ──▶ rows                        people
//!                ├── name, custom-columns ──▶ lines             scripts
//!                └── yaml, json, jsonpath ──▶ the objects       programs
//! ```

mod columns;
mod form;
mod path;
mod selector;
mod table;

pub(super) use form::Form;
pub(super) use selector::Selector;
pub(super) use table::{age, or_dash, table};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::Global;
use super::ui::Ui;
use crate::config::Key;
use crate::error::{Error, Kind};
pub(super) use crate::units::parse_duration;
use crate::yaml;

/// What is listed, and how.
pub(super) trait Listed {
    /// What programs get of it.
    type Object: Serialize;
    /// The columns of its table.
    const HEADERS: &'static [&'static str];
    /// Further ones, for `-o wide`.
    const WIDE_HEADERS: &'static [&'static str] = &[];

    /// What programs get.
    fn object(&self) -> &Self::Object;
    /// What `-o name` says; `None` leaves it out.
    fn name(&self) -> Option<String>;
    /// Its cells.
    fn cells(&self) -> Vec<String>;
    /// Its further cells.
    fn wide_cells(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The form of one object.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct OutputArgs {
    /// Form of the output [default: table] [env: FOUNDRY_OUTPUT]
    #[arg(short, long, value_parser = form::Parser, value_name = "FORM")]
    output: Option<Form>,
}

/// The form of a listing.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ListingArgs {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Leave out the table's headers
    #[arg(long)]
    pub(super) no_headers: bool,
}

impl OutputArgs {
    /// The form that is asked for, else the one that is set.
    pub(super) fn form(&self, global: &Global) -> Form {
        // What is set was judged when it was read.
        let set = || global.config().text(Key::Output).and_then(|text| text.parse().ok());
        self.output.clone().or_else(set).unwrap_or(Form::Table)
    }

    /// Shows one object.
    pub(super) fn show<T: Serialize>(
        &self,
        object: &T,
        names: &[&str],
        details: impl FnOnce(&Form) -> String,
        (global, ui): (&Global, &Ui),
    ) -> Result<(), Error> {
        match self.form(global) {
            form @ (Form::Table | Form::Wide) => ui.shown(&details(&form)),
            Form::Name => ui.names(names.iter().copied()),
            Form::Json => ui.result(&to_json(object)?),
            Form::Yaml => ui.result(&to_yaml(object)?),
            Form::Path(template) => ui.words(&template.fill(&value(object)?)),
            Form::Columns(columns) => ui.shown(&columns.table(&[value(object)?], false)),
        }
    }
}

impl ListingArgs {
    /// The form that is asked for, else the one that is set.
    pub(super) fn form(&self, global: &Global) -> Form {
        self.output.form(global)
    }

    /// Shows a listing; where there is nothing in it, people are told so by `empty`.
    pub(super) fn show<T: Listed>(
        &self,
        items: &[T],
        empty: &str,
        (global, ui): (&Global, &Ui),
    ) -> Result<(), Error> {
        let form = self.form(global);
        if items.is_empty() && form.is_table() {
            ui.note(empty);
            return Ok(());
        }
        self.show_as(&form, items, ui)
    }

    fn show_as<T: Listed>(&self, form: &Form, items: &[T], ui: &Ui) -> Result<(), Error> {
        match form {
            Form::Table | Form::Wide => ui.shown(&rows(items, *form == Form::Wide, self.no_headers)),
            Form::Name => {
                let names: Vec<String> = items.iter().filter_map(Listed::name).collect();
                ui.names(names.iter().map(String::as_str))
            }
            Form::Json => ui.result(&to_json(&items.iter().map(Listed::object).collect::<Vec<_>>())?),
            Form::Yaml => {
                let texts: Result<Vec<String>, Error> = items.iter().map(|i| to_yaml(i.object())).collect();
                ui.result(&texts?.join("---\n"))
            }
            // kubectl's paths begin at a list object.
            Form::Path(template) => ui.words(&template.fill(&json!({ "items": values(items)? }))),
            Form::Columns(columns) => ui.shown(&columns.table(&values(items)?, self.no_headers)),
        }
    }
}

fn rows<T: Listed>(items: &[T], wide: bool, no_headers: bool) -> String {
    let further = if wide { T::WIDE_HEADERS } else { &[] };
    let rows = items.iter().map(|item| {
        let mut cells = item.cells();
        if wide {
            cells.extend(item.wide_cells());
        }
        cells
    });
    table(&[T::HEADERS, further].concat(), rows, no_headers)
}

fn values<T: Listed>(items: &[T]) -> Result<Vec<Value>, Error> {
    items.iter().map(|item| value(item.object())).collect()
}

fn value<T: Serialize>(object: &T) -> Result<Value, Error> {
    serde_json::to_value(object).map_err(|e| unwritable("JSON", e))
}

fn to_json<T: Serialize>(object: &T) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(object);
    text.map(|text| text + "\n").map_err(|e| unwritable("JSON", e))
}

pub(super) fn to_yaml<T: Serialize>(object: &T) -> Result<String, Error> {
    yaml::write(object).map_err(|e| unwritable("YAML", e))
}

fn unwritable(what: &str, cause: impl ToString) -> Error {
    Error::new(Kind::Configuration, format!("cannot write {what}")).because(cause.to_string())
}
