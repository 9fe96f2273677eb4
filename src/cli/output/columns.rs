//! `-o custom-columns=`: a table of the columns that are asked for.

use std::str::FromStr;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::jsonpath::{parse_path, query_texts, until_closed};
use super::render_table;

/// Columns, each with a header and a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Columns(Vec<(String, JsonPath)>);

impl Columns {
    pub(super) fn to_table(&self, items: &[Value], no_headers: bool, fit: Option<u16>) -> String {
        let headers: Vec<&str> = self.0.iter().map(|(header, _)| header.as_str()).collect();
        let rows = items.iter().map(|item| self.0.iter().map(|(_, path)| cell_text(path, item)).collect());
        render_table(&headers, rows, no_headers, fit)
    }
}

/// As in kubectl, `<none>` for no value.
fn cell_text(path: &JsonPath, item: &Value) -> String {
    match query_texts(path, item) {
        none if none.is_empty() => "<none>".to_owned(),
        all => all.join(","),
    }
}

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut columns = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let end = until_closed(text, ',');
            columns.push(parse_column(&text[..end.unwrap_or(text.len())])?);
            rest = end.map(|end| &text[end + 1..]);
        }
        Ok(Self(columns))
    }
}

fn parse_column(text: &str) -> Result<(String, JsonPath), String> {
    let wrong = || format!("{text:?} is not a column; write NAME:.metadata.name");
    let (header, path) = text.split_once(':').ok_or_else(wrong)?;
    let path = path.trim();
    let path = path.strip_prefix('{').and_then(|inside| inside.strip_suffix('}')).unwrap_or(path);
    if header.is_empty() || path.is_empty() {
        Err(wrong())
    } else {
        Ok((header.to_owned(), parse_path(path)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_as_kubectl_has_them() {
        let items = [
            json!({ "name": "web", "addresses": ["10.0.0.1", "10.0.0.2"] }),
            json!({ "name": "db", "labels": { "a": 1 } }),
        ];
        let columns: Columns = "NAME:.name,IP:{.addresses[*]},A:.labels['a']".parse().unwrap();
        assert_eq!(
            columns.to_table(&items, false, None),
            "NAME   IP                  A\nweb    10.0.0.1,10.0.0.2   <none>\ndb     <none>              1\n"
        );
        for wrong in ["", "NAME", ":.x", "NAME:", "A:.x,", "A:.x b"] {
            wrong.parse::<Columns>().unwrap_err();
        }
    }
}
