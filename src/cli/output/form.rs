//! The forms of a result.

use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

use super::columns::Columns;
use super::path::Template;
use crate::config::OUTPUT_WORDS;
use foundry_core::names::find_nearest;

/// A form, as kubectl knows them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
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

impl Form {
    /// Whether it is for people.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

impl FromStr for Form {
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
                None => format!("it is none of {}", all().join(", ")),
            }),
        }
    }
}

/// The forms, as they are written.
fn all() -> Vec<&'static str> {
    OUTPUT_WORDS.into_iter().chain(["jsonpath=TEMPLATE", "custom-columns=COLUMNS"]).collect()
}

/// Reads a form and, for help and completion, knows all of them.
#[derive(Debug, Clone)]
pub(super) struct Parser;

impl TypedValueParser for Parser {
    type Value = Form;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Form, clap::Error> {
        let parse = |text: &str| text.parse::<Form>();
        parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(all().into_iter().map(PossibleValue::new)))
    }
}
