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
pub(super) use table::{age, details, or_dash, table};

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::Global;
use super::ui::Ui;
use crate::config::Key;
use foundry_core::error::{Error, Kind};
use foundry_core::text::escape_unseen_in_json;
pub(super) use foundry_core::units::parse_duration;
use foundry_core::yaml;

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
    /// Output format [default: table] [env: FOUNDRY_OUTPUT]
    #[arg(short, long, value_parser = form::Parser, value_name = "FORM")]
    output: Option<Form>,
}

/// The form of a listing.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ListingArgs {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Omit the headers of the table
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
            Form::Path(template) => ui.result(&template.fill(&value(object)?)),
            Form::Columns(columns) => ui.shown(&columns.table(&[value(object)?], false, ui.columns())),
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
            Form::Table | Form::Wide => ui.shown(&rows(items, *form == Form::Wide, self.no_headers, ui)),
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
            Form::Path(template) => ui.result(&template.fill(&json!({ "items": values(items)? }))),
            Form::Columns(columns) => {
                ui.shown(&columns.table(&values(items)?, self.no_headers, ui.columns()))
            }
        }
    }
}

/// What a watched listing showed last.
#[derive(Debug, Default)]
pub(super) struct Shown {
    drawn: Option<String>,
    /// Objects by name; none yet in the beginning.
    objects: Option<BTreeMap<String, Value>>,
}

impl ListingArgs {
    /// Shows a listing that was shown before: all of it anew on a terminal, else what is another by now.
    pub(super) fn show_again<T: Listed>(
        &self,
        items: &[T],
        empty: &str,
        before: &mut Shown,
        (global, ui): (&Global, &Ui),
    ) -> Result<(), Error> {
        let form = self.form(global);
        if form.is_table() && ui.can_redraw() {
            let table = || rows(items, form == Form::Wide, self.no_headers, ui);
            let text = if items.is_empty() { format!("{empty}\n") } else { table() };
            return if before.drawn.replace(text.clone()).as_ref() == Some(&text) {
                Ok(())
            } else {
                ui.redraw(&text)
            };
        }
        let began = before.objects.is_some();
        let (changed, gone) = changes(items, before)?;
        gone.iter().for_each(|name| ui.note(&format!("{name} is not there any more")));
        if changed.is_empty() && (began || form.is_table()) {
            return Ok(());
        }
        if began && form == Form::Yaml {
            ui.result("---\n")?;
        }
        Self { no_headers: self.no_headers || began, ..self.clone() }.show_as(&form, &changed, ui)
    }
}

/// What is another than it was, and the names of what is gone.
fn changes<'a, T: Listed>(items: &'a [T], before: &mut Shown) -> Result<(Vec<&'a T>, Vec<String>), Error> {
    let name = |item: &T| item.name().unwrap_or_default();
    let now: BTreeMap<String, Value> =
        items.iter().map(|item| Ok((name(item), value(item.object())?))).collect::<Result<_, Error>>()?;
    let was = before.objects.replace(now).unwrap_or_default();
    let now = before.objects.iter().flatten().collect::<BTreeMap<_, _>>();
    let changed = items.iter().filter(|item| now.get(&name(item)).copied() != was.get(&name(item)));
    Ok((changed.collect(), was.into_keys().filter(|name| !now.contains_key(name)).collect()))
}

impl<T: Listed> Listed for &T {
    type Object = T::Object;
    const HEADERS: &'static [&'static str] = T::HEADERS;
    const WIDE_HEADERS: &'static [&'static str] = T::WIDE_HEADERS;

    fn object(&self) -> &T::Object {
        T::object(self)
    }

    fn name(&self) -> Option<String> {
        T::name(self)
    }

    fn cells(&self) -> Vec<String> {
        T::cells(self)
    }

    fn wide_cells(&self) -> Vec<String> {
        T::wide_cells(self)
    }
}

fn rows<T: Listed>(items: &[T], wide: bool, no_headers: bool, ui: &Ui) -> String {
    let further = if wide { T::WIDE_HEADERS } else { &[] };
    let rows = items.iter().map(|item| {
        let mut cells = item.cells();
        if wide {
            cells.extend(item.wide_cells());
        }
        cells
    });
    table(&[T::HEADERS, further].concat(), rows, no_headers, ui.columns())
}

fn values<T: Listed>(items: &[T]) -> Result<Vec<Value>, Error> {
    items.iter().map(|item| value(item.object())).collect()
}

fn value<T: Serialize>(object: &T) -> Result<Value, Error> {
    serde_json::to_value(object).map_err(|e| unwritable("JSON", e))
}

pub(super) fn to_json<T: Serialize>(object: &T) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(object);
    text.map(|text| escape_unseen_in_json(&text) + "\n").map_err(|e| unwritable("JSON", e))
}

pub(super) fn to_yaml<T: Serialize>(object: &T) -> Result<String, Error> {
    yaml::write(object).map_err(|e| unwritable("YAML", e))
}

fn unwritable(what: &str, cause: impl ToString) -> Error {
    Error::new(Kind::Configuration, format!("cannot write {what}")).because(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(Value);

    impl Listed for Thing {
        type Object = Value;
        const HEADERS: &'static [&'static str] = &["NAME"];

        fn object(&self) -> &Value {
            &self.0
        }

        fn name(&self) -> Option<String> {
            self.0["name"].as_str().map(str::to_owned)
        }

        fn cells(&self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn a_watched_listing_tells_what_changed() {
        let mut before = Shown::default();
        let mut look = |things: &[(&str, u8)]| {
            let things: Vec<Thing> =
                things.iter().map(|(name, n)| Thing(json!({ "name": name, "n": n }))).collect();
            let (changed, gone) = changes(&things, &mut before).unwrap();
            (changed.iter().filter_map(|t| t.name()).collect::<Vec<_>>().join(","), gone.join(","))
        };
        let pair = |changed: &str, gone: &str| (changed.to_owned(), gone.to_owned());
        assert_eq!(look(&[("a", 1), ("b", 1)]), pair("a,b", ""));
        assert_eq!(look(&[("a", 1), ("b", 1)]), pair("", ""));
        assert_eq!(look(&[("a", 1), ("b", 2), ("c", 1)]), pair("b,c", ""));
        assert_eq!(look(&[("c", 1)]), pair("", "a,b"));
        assert_eq!(look(&[("a", 1), ("c", 1)]), pair("a", ""));
    }
}
