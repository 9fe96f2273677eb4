//! `-o jsonpath=`: kubectl's templates, of which the paths are RFC 9535's.
//!
//! ```text
//!  {range .items[*]}{.metadata.name}{"\t"}{.status.phase}{"\n"}{end}
//!  └ each ─┘         └ path ┘        └ text ┘
//! ```
//!
//! kubectl's paths are older than the RFC. `{.a.b}`, `['a']`, `[0]`, `[-1]`, `[1:3]`, `[*]`, `..a` and `[?(@.a=="b")]`
//! are the same in both, except for the leading `$` and the characters of a name. Anything else is an error.

use std::str::FromStr;

use serde_json::Value;
use serde_json_path::JsonPath;

use foundry_core::text::{escape_unseen, escape_unseen_in_json};

/// A template of text, paths and ranges.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template(Vec<TemplatePart>);

#[derive(Debug, Clone, PartialEq)]
enum TemplatePart {
    Text(String),
    Path(JsonPath),
    Each(JsonPath, Vec<TemplatePart>),
}

impl Template {
    /// Fills the template with a value. The result ends with a line break.
    pub(super) fn fill_template(&self, value: &Value) -> String {
        let mut text = fill_parts(&self.0, value);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}

fn fill_parts(parts: &[TemplatePart], value: &Value) -> String {
    let one = |part: &TemplatePart| match part {
        TemplatePart::Text(text) => text.clone(),
        TemplatePart::Path(path) => query_texts(path, value).join(" "),
        TemplatePart::Each(path, body) => {
            path.query(value).iter().map(|each| fill_parts(body, each)).collect()
        }
    };
    parts.iter().map(one).collect()
}

/// The values that a path selects: strings escaped by [`escape_unseen`], so each is one line, anything else as JSON.
pub(super) fn query_texts(path: &JsonPath, value: &Value) -> Vec<String> {
    let word = |found: &Value| {
        found.as_str().map_or_else(|| escape_unseen_in_json(&found.to_string()), escape_unseen)
    };
    path.query(value).iter().map(|found| word(found)).collect()
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the template is empty".into());
        }
        // As in kubectl, a text without braces is one path.
        if !text.contains('{') {
            return Ok(Self(vec![TemplatePart::Path(parse_path(text)?)]));
        }
        let mut open: Vec<(JsonPath, Vec<TemplatePart>)> = Vec::new();
        let mut parts = Vec::new();
        for piece in split_tokens(text)? {
            match piece {
                TemplateToken::Text(text) => parts.push(TemplatePart::Text(text)),
                TemplateToken::Range(path) => open.push((path, std::mem::take(&mut parts))),
                TemplateToken::End => {
                    let (path, before) = open.pop().ok_or("'{end}' has no '{range}'")?;
                    let body = std::mem::replace(&mut parts, before);
                    parts.push(TemplatePart::Each(path, body));
                }
                TemplateToken::Path(path) => parts.push(TemplatePart::Path(path)),
            }
        }
        if open.is_empty() { Ok(Self(parts)) } else { Err("'{range}' has no '{end}'".into()) }
    }
}

enum TemplateToken {
    Text(String),
    Path(JsonPath),
    Range(JsonPath),
    End,
}

/// Splits a template into text and what is in braces.
fn split_tokens(text: &str) -> Result<Vec<TemplateToken>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find('{') {
        if begin > 0 {
            pieces.push(TemplateToken::Text(rest[..begin].to_owned()));
        }
        let length = until_closed(&rest[begin + 1..], '}').ok_or("a '{' is not closed")?;
        pieces.push(parse_token(rest[begin + 1..begin + 1 + length].trim())?);
        rest = &rest[begin + length + 2..];
    }
    if !rest.is_empty() {
        pieces.push(TemplateToken::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn parse_token(inside: &str) -> Result<TemplateToken, String> {
    match inside {
        "end" => Ok(TemplateToken::End),
        quoted if quoted.starts_with(['"', '\'']) => unquote_text(quoted).map(TemplateToken::Text),
        range if range.starts_with("range ") => {
            parse_path(range["range ".len()..].trim()).map(TemplateToken::Range)
        }
        path => parse_path(path).map(TemplateToken::Path),
    }
}

/// The length in bytes before the first `mark` that is not in quotes or brackets.
pub(super) fn until_closed(text: &str, mark: char) -> Option<usize> {
    let (mut quote, mut depth, mut escaped) = (None, 0_usize, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c == mark && depth == 0 => return Some(at),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

/// Unquotes a text, with the escapes of kubectl (Go) that a template needs.
fn unquote_text(text: &str) -> Result<String, String> {
    let wrong = || format!("{text} is not a quoted string");
    let mut chars = text.chars();
    let quote = chars.next().ok_or_else(wrong)?;
    let mut out = String::new();
    loop {
        match chars.next().ok_or_else(wrong)? {
            '\\' => out.push(match chars.next().ok_or_else(wrong)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                c @ ('\\' | '"' | '\'') => c,
                other => return Err(format!("{text}: \\{other} is unknown; use \\n, \\t or \\r")),
            }),
            c if c == quote => return if chars.as_str().is_empty() { Ok(out) } else { Err(wrong()) },
            c => out.push(c),
        }
    }
}

/// Parses a kubectl path.
pub(super) fn parse_path(text: &str) -> Result<JsonPath, String> {
    let path = to_rfc9535(text)?;
    JsonPath::parse(&path).map_err(|e| {
        let message = e.to_string();
        let cause = message.lines().next().unwrap_or_default();
        format!("{text:?} is not a valid path ({cause}); write one like .metadata.name")
    })
}

/// The same path in the syntax of RFC 9535.
fn to_rfc9535(text: &str) -> Result<String, String> {
    let text = text.trim();
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut out = String::from("$");
    if rest == "." {
        return Ok(out);
    }
    while !rest.is_empty() {
        rest = translate_segment(rest, &mut out).map_err(|why| format!("the path {text:?} {why}"))?;
    }
    Ok(out)
}

/// Translates one segment of a path and returns the rest.
fn translate_segment<'a>(text: &'a str, out: &mut String) -> Result<&'a str, String> {
    if let Some(inside) = text.strip_prefix('[') {
        let length = until_closed(inside, ']').ok_or("has a '[' that is not closed")?;
        out.push_str(&text[..length + 2]);
        return Ok(&inside[length + 1..]);
    }
    let (dots, name) = match text.strip_prefix("..") {
        Some(name) => ("..", name),
        None => ("", text.strip_prefix('.').unwrap_or(text)),
    };
    out.push_str(dots);
    if dots == ".." && name.starts_with('[') {
        return Ok(name);
    }
    let (name, rest) = parse_member(name)?;
    out.push_str(&if name == "*" { "[*]".to_owned() } else { format!("['{name}']") });
    Ok(rest)
}

/// A name, in which a dot is written `\.`, and the text after it.
fn parse_member(text: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut chars = text.chars();
    loop {
        let rest = chars.as_str();
        match chars.next() {
            Some('\\') if rest.starts_with("\\.") => name.extend(chars.next()),
            None | Some('.' | '[') if name.is_empty() => return Err("has a dot without a name".into()),
            None | Some('.' | '[') => return Ok((name, rest)),
            Some(c) if c.is_alphanumeric() || "_-/:*".contains(c) => name.push(c),
            Some(c) => return Err(format!("has {c:?} in a name; write the name as ['...']")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill_parts(template: &str) -> String {
        let value = json!({ "items": [
            { "metadata": { "name": "web", "labels": { "app.k8s.io/tier": "a", "x-y": "b" } }, "n": 1, "up": true },
            { "metadata": { "name": "db" }, "n": 2, "up": false, "disks": [{ "dev": "vda" }, { "dev": "vdb" }] },
        ] });
        template.parse::<Template>().unwrap().fill_template(&value)
    }

    /// The output of kubectl 1.3x for the same templates, except for the line break at the end, which it omits.
    #[test]
    fn templates_match_kubectl() {
        for (template, printed) in [
            ("{.items[*].metadata.name}", "web db\n"),
            (".items[*].metadata.name", "web db\n"),
            ("{$.items[0].metadata.name}", "web\n"),
            ("{items[-1].metadata.name}", "db\n"),
            ("{.items[0].metadata.labels.app\\.k8s\\.io/tier}", "a\n"),
            ("{.items[0].metadata.labels['x-y']}{.items[0].metadata.labels.x-y}", "bb\n"),
            ("{..dev}", "vda vdb\n"),
            ("{.items[?(@.up==true)].metadata.name}", "web\n"),
            ("{.items[?(@.metadata.name==\"db\")].n}", "2\n"),
            ("{.items[1].disks}", "[{\"dev\":\"vda\"},{\"dev\":\"vdb\"}]\n"),
            ("{.items[0:1].n} of {.items[*].n}", "1 of 1 2\n"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.n}{\"\\n\"}{end}", "web\t1\ndb\t2\n"),
            ("{range .items[*]}{range .disks[*]}{.dev},{end}{end}", "vda,vdb,\n"),
            ("{.items[*].nosuch}", ""),
            ("{'}'}", "}\n"),
        ] {
            assert_eq!(fill_parts(template), printed, "{template}");
        }
    }

    #[test]
    fn unknown_syntax_is_rejected() {
        for (template, why) in [
            ("", "the template is empty"),
            ("{.items", "not closed"),
            ("{.items[*}", "not closed"),
            ("{range .items[*]}x", "has no '{end}'"),
            ("{end}", "has no '{range}'"),
            ("{.a b}", "write the name as ['...']"),
            ("{.a..}", "a dot without a name"),
            ("{.items[?(@.name=~\"w.*\")]}", "not a valid path"),
            ("{\"a}", "not closed"),
            ("{\"a\" b}", "not a quoted string"),
            ("{\"\\q\"}", "\\q is unknown"),
        ] {
            let error = template.parse::<Template>().unwrap_err();
            assert!(error.contains(why), "{template}: {error}");
        }
    }
}
