//! The output formats.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

use super::columns::Columns;
use super::jsonpath::Template;
use crate::config::OUTPUT_WORDS;
use foundry_core::names::find_nearest;

/// An output format, as in kubectl.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OutputFormat {
    Table,
    Wide,
    Yaml,
    Json,
    Name,
    /// `jsonpath=`
    Path(Template),
    /// `custom-columns=`
    Columns(Columns),
}

impl OutputFormat {
    /// Whether the format is a table for people.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("jsonpath", template)) => return template.parse().map(Self::Path),
            Some(("custom-columns", columns)) => return columns.parse().map(Self::Columns),
            _ => {}
        }
        match text {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "yaml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            "name" => Ok(Self::Name),
            "jsonpath" => Err("it needs a template: jsonpath='{.items[*].metadata.name}'".into()),
            "custom-columns" => Err("it needs columns: custom-columns=NAME:.metadata.name".into()),
            other => Err(match find_nearest(other, OUTPUT_WORDS) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("it is not one of {}", format_names().join(", ")),
            }),
        }
    }
}

/// The formats, as they are typed.
fn format_names() -> Vec<&'static str> {
    OUTPUT_WORDS.into_iter().chain(["jsonpath=TEMPLATE", "custom-columns=COLUMNS"]).collect()
}

/// Parses a format and lists all of them for help and completion.
#[derive(Debug, Clone)]
pub(super) struct FormatParser;

impl TypedValueParser for FormatParser {
    type Value = OutputFormat;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<OutputFormat, clap::Error> {
        let parse = |text: &str| text.parse::<OutputFormat>();
        parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(format_names().into_iter().map(PossibleValue::new)))
    }
}
