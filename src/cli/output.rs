//! Results as tables, YAML and JSON; and the words that arguments share.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use comfy_table::Table;
use serde::Serialize;

use crate::error::{Error, Kind};
use crate::text::printable;
use crate::yaml;

/// The forms of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Wide,
    Yaml,
    Json,
    Name,
}

/// A table in kubectl's style: columns apart by blanks, none at the end of a line.
pub(super) fn table(headers: &[&str], rows: impl Iterator<Item = Vec<String>>, no_headers: bool) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if !no_headers {
        table.set_header(headers.to_vec());
    }
    table.add_rows(rows.map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>()));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 3));
    });
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Several objects: YAML documents that `create` takes, or a JSON array.
pub(super) fn objects<T: Serialize>(list: &[&T], format: Format) -> Result<String, Error> {
    if format == Format::Json {
        return json(&list);
    }
    let texts: Result<Vec<String>, String> = list.iter().map(yaml::write).collect();
    texts
        .map(|t| t.join("---\n"))
        .map_err(|cause| Error::new(Kind::Configuration, "cannot write YAML").because(cause))
}

/// One object as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string_pretty(value)
        .map(|text| format!("{text}\n"))
        .map_err(|e| Error::new(Kind::Configuration, "cannot write JSON").because(e.to_string()))
}

/// The time since an RFC 3339 timestamp, in its largest unit.
pub(super) fn age(since: &str) -> String {
    let Ok(then) = since.parse::<jiff::Timestamp>() else { return "-".into() };
    let seconds = (jiff::Timestamp::now().as_second() - then.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// Nobody waits longer, and clocks can add it.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reads `90s`, `5m`, `1h30m`, or a number of seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no time; write 90s, 5m or 1h30m");
    let time = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_or(Duration::MAX, Duration::from_secs)
    } else {
        let span: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
        Duration::try_from(span).map_err(|_| wrong())?
    };
    if time > LONGEST { Err(format!("'{text}' is longer than 30 days")) } else { Ok(time) }
}

/// A choice of VMs by label (kubectl's equality-based selectors).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Exists(String),
}

impl Selector {
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, value) => labels.get(key) == Some(value),
            Requirement::IsNot(key, value) => labels.get(key) != Some(value),
            Requirement::Exists(key) => labels.contains_key(key),
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let part = part.trim();
            let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
            let requirement = if let Some((key, value)) = part.split_once("!=").map(pair) {
                Requirement::IsNot(key, value)
            } else if let Some((key, value)) =
                part.split_once("==").or_else(|| part.split_once('=')).map(pair)
            {
                Requirement::Is(key, value)
            } else {
                Requirement::Exists(part.to_owned())
            };
            let (Requirement::Is(key, _) | Requirement::IsNot(key, _) | Requirement::Exists(key)) =
                &requirement;
            if key.is_empty() { Err(format!("'{part}' names no label")) } else { Ok(requirement) }
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "soon", "-5s", "5 parsecs"] {
            parse_duration(wrong).unwrap_err();
        }
        assert_eq!(parse_duration("720h"), Ok(LONGEST));
        for long in ["721h", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(parse_duration(long), Err(format!("'{long}' is longer than 30 days")));
        }
    }

    #[test]
    fn selectors_choose_by_label() {
        let labels: BTreeMap<String, String> =
            [("role", "web"), ("env", "prod")].map(|(k, v)| (k.into(), v.into())).into();
        for (selector, matches) in [
            ("role=web", true),
            ("role==web,env=prod", true),
            ("role=db", false),
            ("role!=db", true),
            ("role", true),
            ("x", false),
        ] {
            assert_eq!(selector.parse::<Selector>().unwrap().matches(&labels), matches, "{selector}");
        }
        "=x".parse::<Selector>().unwrap_err();
    }

    #[test]
    fn tables_have_no_blanks_at_the_end() {
        let rows = [vec!["a".to_owned(), "bb".into()], vec!["ccc".into(), String::new()]];
        assert_eq!(table(&["X", "Y"], rows.clone().into_iter(), false), "X     Y\na     bb\nccc\n");
        assert_eq!(table(&["X", "Y"], rows.into_iter(), true), "a     bb\nccc\n");
    }
}
