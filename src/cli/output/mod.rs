//! Results in the output format that was selected, and parsers that several commands use.
//!
//! ```text
//!  -o ──▶ Form ──┬── table, wide ──▶ rows                        people
//!                ├── name, custom-columns ──▶ lines             scripts
//!                └── yaml, json, jsonpath ──▶ the objects       programs
//! ```

mod columns;
mod form;
mod jsonpath;
mod selector;
mod table;

pub(super) use form::OutputFormat;
pub(super) use selector::Selector;
pub(super) use table::{format_age, or_dash, render_details, render_table};

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::Global;
use super::ui::Ui;
use crate::config::SettingKey;
use foundry_core::error::{Error, Kind};
use foundry_core::text::escape_unseen_in_json;
pub(super) use foundry_core::units::parse_duration;
use foundry_core::yaml;

/// A type that can be listed: one value is one row.
pub(super) trait TableRow {
    /// The object in JSON and YAML.
    type Object: Serialize;
    /// The columns of the table.
    const HEADERS: &'static [&'static str];
    /// The additional columns of `-o wide`.
    const WIDE_HEADERS: &'static [&'static str] = &[];

    /// The object for JSON and YAML.
    fn json_object(&self) -> &Self::Object;
    /// The name for `-o name`; `None` omits the row.
    fn row_name(&self) -> Option<String>;
    /// The cells of the row.
    fn row_cells(&self) -> Vec<String>;
    /// The additional cells of `-o wide`.
    fn wide_row_cells(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The output format of one object.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct OutputArgs {
    /// Output format [default: table] [env: FOUNDRY_OUTPUT]
    #[arg(short, long, value_parser = form::FormatParser, value_name = "FORM")]
    output: Option<OutputFormat>,
}

/// The output format of a listing.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ListingArgs {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Omit the headers of the table
    #[arg(long)]
    pub(super) no_headers: bool,
}

impl OutputArgs {
    /// The format of the flag, otherwise of the configuration.
    pub(super) fn chosen_format(&self, global: &Global) -> OutputFormat {
        // The configured value was validated when it was read.
        let set =
            || global.effective_config().setting_text(SettingKey::Output).and_then(|text| text.parse().ok());
        self.output.clone().or_else(set).unwrap_or(OutputFormat::Table)
    }

    /// Prints one object in the selected format; `details` makes the table.
    pub(super) fn show_object<T: Serialize>(
        &self,
        object: &T,
        names: &[&str],
        render_details: impl FnOnce(&OutputFormat) -> String,
        (global, ui): (&Global, &Ui),
    ) -> Result<(), Error> {
        match self.chosen_format(global) {
            form @ (OutputFormat::Table | OutputFormat::Wide) => ui.write_text(&render_details(&form)),
            OutputFormat::Name => ui.write_names(names.iter().copied()),
            OutputFormat::Json => ui.write_result(&to_json(object)?),
            OutputFormat::Yaml => ui.write_result(&to_yaml(object)?),
            OutputFormat::Path(template) => ui.write_result(&template.fill_template(&to_value(object)?)),
            OutputFormat::Columns(columns) => {
                ui.write_text(&columns.to_table(&[to_value(object)?], false, ui.terminal_columns()))
            }
        }
    }
}

impl ListingArgs {
    /// The format of the flag, otherwise of the configuration.
    pub(super) fn chosen_format(&self, global: &Global) -> OutputFormat {
        self.output.chosen_format(global)
    }

    /// Prints a listing. If it is empty and for people, prints `empty` to stderr instead.
    pub(super) fn show_list<T: TableRow>(
        &self,
        items: &[T],
        empty: &str,
        (global, ui): (&Global, &Ui),
    ) -> Result<(), Error> {
        let form = self.chosen_format(global);
        if items.is_empty() && form.is_table() {
            ui.show_note(empty);
            return Ok(());
        }
        self.show_as(&form, items, ui)
    }

    fn show_as<T: TableRow>(&self, form: &OutputFormat, items: &[T], ui: &Ui) -> Result<(), Error> {
        match form {
            OutputFormat::Table | OutputFormat::Wide => {
                ui.write_text(&render_rows(items, *form == OutputFormat::Wide, self.no_headers, ui))
            }
            OutputFormat::Name => {
                let names: Vec<String> = items.iter().filter_map(TableRow::row_name).collect();
                ui.write_names(names.iter().map(String::as_str))
            }
            OutputFormat::Json => {
                ui.write_result(&to_json(&items.iter().map(TableRow::json_object).collect::<Vec<_>>())?)
            }
            OutputFormat::Yaml => {
                let texts: Result<Vec<String>, Error> =
                    items.iter().map(|i| to_yaml(i.json_object())).collect();
                ui.write_result(&texts?.join("---\n"))
            }
            // As in kubectl, paths start at a list object.
            OutputFormat::Path(template) => {
                ui.write_result(&template.fill_template(&json!({ "items": to_values(items)? })))
            }
            OutputFormat::Columns(columns) => {
                ui.write_text(&columns.to_table(&to_values(items)?, self.no_headers, ui.terminal_columns()))
            }
        }
    }
}

/// The previous output of a watched listing.
#[derive(Debug, Default)]
pub(super) struct WatchState {
    drawn: Option<String>,
    /// Objects by name; `None` before the first listing.
    objects: Option<BTreeMap<String, Value>>,
}

impl ListingArgs {
    /// Prints a listing again: redrawn on a terminal, otherwise the changed objects only.
    pub(super) fn show_again<T: TableRow>(
        &self,
        items: &[T],
        empty: &str,
        before: &mut WatchState,
        (global, ui): (&Global, &Ui),
    ) -> Result<(), Error> {
        let form = self.chosen_format(global);
        if form.is_table() && ui.can_redraw() {
            let table = || render_rows(items, form == OutputFormat::Wide, self.no_headers, ui);
            let text = if items.is_empty() { format!("{empty}\n") } else { table() };
            return if before.drawn.replace(text.clone()).as_ref() == Some(&text) {
                Ok(())
            } else {
                ui.redraw_screen(&text)
            };
        }
        let began = before.objects.is_some();
        let (changed, gone) = find_changes(items, before)?;
        gone.iter().for_each(|name| ui.show_note(&format!("{name} is gone")));
        if changed.is_empty() && (began || form.is_table()) {
            return Ok(());
        }
        if began && form == OutputFormat::Yaml {
            ui.write_result("---\n")?;
        }
        Self { no_headers: self.no_headers || began, ..self.clone() }.show_as(&form, &changed, ui)
    }
}

/// The changed objects, and the names of those that are gone.
fn find_changes<'a, T: TableRow>(
    items: &'a [T],
    before: &mut WatchState,
) -> Result<(Vec<&'a T>, Vec<String>), Error> {
    let name = |item: &T| item.row_name().unwrap_or_default();
    let now: BTreeMap<String, Value> = items
        .iter()
        .map(|item| Ok((name(item), to_value(item.json_object())?)))
        .collect::<Result<_, Error>>()?;
    let was = before.objects.replace(now).unwrap_or_default();
    let now = before.objects.iter().flatten().collect::<BTreeMap<_, _>>();
    let changed = items.iter().filter(|item| now.get(&name(item)).copied() != was.get(&name(item)));
    Ok((changed.collect(), was.into_keys().filter(|name| !now.contains_key(name)).collect()))
}

impl<T: TableRow> TableRow for &T {
    type Object = T::Object;
    const HEADERS: &'static [&'static str] = T::HEADERS;
    const WIDE_HEADERS: &'static [&'static str] = T::WIDE_HEADERS;

    fn json_object(&self) -> &T::Object {
        T::json_object(self)
    }

    fn row_name(&self) -> Option<String> {
        T::row_name(self)
    }

    fn row_cells(&self) -> Vec<String> {
        T::row_cells(self)
    }

    fn wide_row_cells(&self) -> Vec<String> {
        T::wide_row_cells(self)
    }
}

fn render_rows<T: TableRow>(items: &[T], wide: bool, no_headers: bool, ui: &Ui) -> String {
    let further = if wide { T::WIDE_HEADERS } else { &[] };
    let rows = items.iter().map(|item| {
        let mut cells = item.row_cells();
        if wide {
            cells.extend(item.wide_row_cells());
        }
        cells
    });
    render_table(&[T::HEADERS, further].concat(), rows, no_headers, ui.terminal_columns())
}

fn to_values<T: TableRow>(items: &[T]) -> Result<Vec<Value>, Error> {
    items.iter().map(|item| to_value(item.json_object())).collect()
}

fn to_value<T: Serialize>(object: &T) -> Result<Value, Error> {
    serde_json::to_value(object).map_err(|e| cannot_serialize("JSON", e))
}

pub(super) fn to_json<T: Serialize>(object: &T) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(object);
    text.map(|text| escape_unseen_in_json(&text) + "\n").map_err(|e| cannot_serialize("JSON", e))
}

/// An object on one line, for what is printed line by line.
pub(super) fn to_json_line<T: Serialize>(object: &T) -> Result<String, Error> {
    let text = serde_json::to_string(object);
    text.map(|text| escape_unseen_in_json(&text) + "\n").map_err(|e| cannot_serialize("JSON", e))
}

pub(super) fn to_yaml<T: Serialize>(object: &T) -> Result<String, Error> {
    yaml::write(object).map_err(|e| cannot_serialize("YAML", e))
}

fn cannot_serialize(what: &str, cause: impl ToString) -> Error {
    Error::new(Kind::Configuration, format!("cannot write {what}")).because(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(Value);

    impl TableRow for Thing {
        type Object = Value;
        const HEADERS: &'static [&'static str] = &["NAME"];

        fn json_object(&self) -> &Value {
            &self.0
        }

        fn row_name(&self) -> Option<String> {
            self.0["name"].as_str().map(str::to_owned)
        }

        fn row_cells(&self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn a_watched_listing_tells_what_changed() {
        let mut before = WatchState::default();
        let mut look = |things: &[(&str, u8)]| {
            let things: Vec<Thing> =
                things.iter().map(|(name, n)| Thing(json!({ "name": name, "n": n }))).collect();
            let (changed, gone) = find_changes(&things, &mut before).unwrap();
            (changed.iter().filter_map(|t| t.row_name()).collect::<Vec<_>>().join(","), gone.join(","))
        };
        let pair = |changed: &str, gone: &str| (changed.to_owned(), gone.to_owned());
        assert_eq!(look(&[("a", 1), ("b", 1)]), pair("a,b", ""));
        assert_eq!(look(&[("a", 1), ("b", 1)]), pair("", ""));
        assert_eq!(look(&[("a", 1), ("b", 2), ("c", 1)]), pair("b,c", ""));
        assert_eq!(look(&[("c", 1)]), pair("", "a,b"));
        assert_eq!(look(&[("a", 1), ("c", 1)]), pair("a", ""));
    }
}
