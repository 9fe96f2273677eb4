//! Finds a field of a schema by the path that a user types: `spec.bootDisk.image`.

use std::fmt;

use serde_json::Value;

use crate::manifest::KIND;
use crate::names::find_nearest;
use crate::text::escape_unseen;

/// Words for the whole document that may precede a path, in any case.
const DOCUMENT: [&str; 4] = ["virtualmachine", "virtualmachines", "vm", "vms"];

/// A field of the document, or the document itself.
#[derive(Debug, Clone)]
pub struct Field<'s> {
    /// Path in the document; empty for the document itself.
    pub path: String,
    /// Whether the parent requires it.
    pub required: bool,
    schema: &'s Value,
}

/// The error for a path that leads to no field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// The known part of the path.
    known: String,
    /// The first unknown name.
    name: String,
    /// The path that was probably meant.
    pub meant: Option<String>,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { known, name, meant: _ } = self;
        let place = if known.is_empty() { format!("a {KIND}") } else { known.clone() };
        write!(f, "{place} has no field '{}'", escape_unseen(name))
    }
}

impl std::error::Error for UnknownField {}

impl<'s> Field<'s> {
    /// Returns the whole document.
    pub fn document_root(schema: &'s Value) -> Self {
        Self { path: String::new(), required: true, schema }
    }

    /// Finds the field at a path. The kind may precede it (`vm.spec`), an index may follow a list (`dataDisks[0]`), and
    /// the case of letters is ignored.
    ///
    /// # Errors
    /// Names the first unknown part and the most similar field.
    pub fn find(schema: &'s Value, path: &str) -> Result<Self, UnknownField> {
        let document = Self::document_root(schema);
        let mut names = path.split('.').map(|name| name.split('[').next().unwrap_or(name)).peekable();
        names.next_if(|name| DOCUMENT.contains(&name.to_lowercase().as_str()));
        names
            .try_fold(document.clone(), |field, name| {
                let found = field.child_fields().into_iter().find(|f| f.name().eq_ignore_ascii_case(name));
                found.ok_or_else(|| field.unknown_field(name, &document))
            })
            .or_else(|missing| document.only_one_named(path).ok_or(missing))
    }

    /// Finds the field with a name that occurs only once, at any depth.
    fn only_one_named(&self, name: &str) -> Option<Self> {
        let mut named = self.all_fields().into_iter().filter(|field| field.name().eq_ignore_ascii_case(name));
        let first = named.next()?;
        named.next().is_none().then_some(first)
    }

    fn unknown_field(&self, name: &str, document: &Self) -> UnknownField {
        let near = |fields: Vec<Self>| {
            let meant = find_nearest(name, fields.iter().map(Field::name))?;
            fields.iter().find(|f| f.name() == meant).map(|f| f.path.clone())
        };
        let meant = near(self.child_fields()).or_else(|| near(document.all_fields()));
        UnknownField { known: self.path.clone(), name: name.to_owned(), meant }
    }

    /// Returns the last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// Returns the type in kubectl's notation: `string`, `[]Object`, `map[string]string`.
    pub fn type_text(&self) -> String {
        describe_type(self.schema)
    }

    /// Returns the description.
    pub fn description(&self) -> &'s str {
        self.schema.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns facts about the values by name: allowed values, default, examples.
    pub fn list_facts(&self) -> Vec<(&'static str, String)> {
        let one = |key: &str| self.schema.get(key).filter(|v| !v.is_null()).map(plain_text);
        let facts = [
            (
                "allowed",
                self.join_values("enum")
                    .or_else(|| self.join_words())
                    .or_else(|| one("const"))
                    .or_else(|| self.describe_limits()),
            ),
            ("default", one("default")),
            ("examples", self.join_values("examples")),
        ];
        facts.into_iter().filter_map(|(name, fact)| fact.map(|fact| (name, fact))).collect()
    }

    fn join_values(&self, key: &str) -> Option<String> {
        let values = self.schema.get(key)?.as_array()?.iter().filter(|v| !v.is_null());
        Some(values.map(plain_text).collect::<Vec<_>>().join(", "))
    }

    /// Lists the allowed words if each has its own description.
    fn join_words(&self) -> Option<String> {
        let words = self.schema.get("oneOf")?.as_array()?.iter().filter_map(|word| word.get("const"));
        Some(words.map(plain_text).collect::<Vec<_>>().join(", "))
    }

    fn describe_limits(&self) -> Option<String> {
        let limit = |key| self.schema.get(key).map(plain_text);
        let elements = limit("minItems")
            .zip(limit("maxItems"))
            .map(|(least, most)| format!("{least} to {most} elements"));
        match (limit("minimum"), limit("maximum")) {
            (Some(least), Some(most)) => Some(format!("{least} to {most}")),
            (Some(least), None) => Some(format!("{least} or more")),
            _ => elements,
        }
    }

    /// Returns the fields of an object, or of a list's elements.
    pub fn child_fields(&self) -> Vec<Self> {
        let holder = self.schema.get("items").unwrap_or(self.schema);
        let required: Vec<&str> =
            holder["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let named = |name: &str| {
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
        };
        let fields = holder.get("properties").and_then(Value::as_object);
        fields
            .into_iter()
            .flatten()
            .map(|(name, schema)| Self {
                path: named(name),
                required: required.contains(&name.as_str()),
                schema,
            })
            .collect()
    }

    /// Returns all fields at any depth, outer ones first.
    pub fn all_fields(&self) -> Vec<Self> {
        let mut all = self.child_fields();
        let inner: Vec<Self> = all.iter().flat_map(Self::all_fields).collect();
        all.extend(inner);
        all
    }
}

fn describe_type(schema: &Value) -> String {
    let kinds = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(kind)) => vec![kind.as_str()],
        _ => vec![],
    };
    let has = |kind| kinds.contains(&kind);
    match kinds.first() {
        _ if has("object") && has("string") => "Object or string".into(),
        // A string may also be spelled like a number.
        _ if has("string") || schema.get("oneOf").is_some() => "string".into(),
        Some(&"array") => format!("[]{}", schema.get("items").map_or_else(String::new, describe_type)),
        Some(&"object") | None => {
            match schema.get("additionalProperties").filter(|values| values.is_object()) {
                Some(values) => format!("map[string]{}", describe_type(values)),
                None => "Object".into(),
            }
        }
        Some(other) => (*other).to_owned(),
    }
}

fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
