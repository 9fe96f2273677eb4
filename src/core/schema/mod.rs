//! JSON Schema of manifests, configurations and listings: for editors, other programs and `foundry explain`.
//!
//! The schema of manifests is generated from the types in [`crate::manifest`], their doc comments and the limits beside
//! them. It is JSON Schema draft 7, which editors (the YAML language server of VS Code, vim and others) and other
//! programs support.

mod field;

pub use field::{Field, UnknownField};

use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::manifest::VirtualMachine;

/// Generates the schema of manifests: everything that foundry accepts and nothing else, as far as a schema can express
/// it.
pub fn manifest_schema() -> Value {
    let mut schema = document_schema();
    // Any value is allowed, because foundry ignores it.
    if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
        status.retain(|key, _| key == "description");
    }
    schema["title"] = json!("A foundry manifest");
    schema
}

/// Generates the schema of manifests including the status that foundry writes.
pub fn document_schema() -> Value {
    input_schema::<VirtualMachine>()
}

/// Generates the schema of what foundry reads into a type.
pub fn input_schema<T: JsonSchema>() -> Value {
    let mut schema = generate_schema::<T>(Contract::Deserialize);
    ReadSchema.transform(&mut schema);
    schema.to_value()
}

/// Generates the schema of what foundry writes for a type. It is less strict: domains of other programs are shown in
/// the form of a manifest, too, although they would not be valid ones.
pub fn output_schema<T: JsonSchema>() -> Value {
    let mut schema = generate_schema::<T>(Contract::Serialize);
    WrittenSchema.transform(&mut schema);
    schema.to_value()
}

/// Generates a schema without references, so each field is in its place.
fn generate_schema<T: JsonSchema>(contract: Contract) -> Schema {
    let mut settings = SchemaSettings::draft07();
    settings.contract = contract;
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    TidySchema.transform(&mut schema);
    schema
}

/// Removes what does not help readers: Rust's number formats, empty defaults, and the alternatives of an optional
/// mapping, one of which is null.
struct TidySchema;

impl Transform for TidySchema {
    fn transform(&mut self, schema: &mut Schema) {
        merge_optional(schema);
        schema.remove("format");
        let is_nothing = |v: &Value| v.is_null() || v == &json!({}) || v == &json!([]);
        if schema.get("default").is_some_and(is_nothing) {
            schema.remove("default");
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = join_paragraphs(text);
        }
        transform_subschemas(self, schema);
    }
}

/// Rewrites `anyOf: [X, null]` with own keywords beside it as X or null with these keywords.
fn merge_optional(schema: &mut Schema) {
    let null = json!({ "type": "null" });
    let Some([one, other]) = schema.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) else { return };
    let (Some(one), true) = (one.as_object().cloned(), *other == null) else { return };
    let Some(own) = schema.as_object_mut() else { return };
    own.remove("anyOf");
    for (key, value) in one {
        own.entry(key).or_insert(value);
    }
    allow_null(own, true);
}

/// Joins the lines of a doc comment's paragraphs.
fn join_paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Rules for a document that is read: required fields, rules between fields, and null as "not set". Serde does not know
/// them, so the types declare them with keywords of their own.
struct ReadSchema;

impl Transform for ReadSchema {
    fn transform(&mut self, schema: &mut Schema) {
        for (own, word) in OWN_WORDS {
            if let Some(value) = schema.remove(own) {
                schema.insert(word.into(), value);
            }
        }
        let required = schema.get("required").cloned().unwrap_or_default();
        let is_required = |name: &str| required.as_array().is_some_and(|names| names.contains(&json!(name)));
        for (name, field) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
        {
            if let Some(field) = field.as_object_mut() {
                allow_null(field, !is_required(name));
            }
        }
        transform_subschemas(self, schema);
    }
}

/// Keywords of the types, and the JSON Schema keywords that they become.
const OWN_WORDS: [(&str, &str); 2] = [("x-required", "required"), ("x-rules", "allOf")];
/// Keywords that only restrict documents that are read.
const ASKED: [&str; 9] = [
    "x-required",
    "x-rules",
    "pattern",
    "propertyNames",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "enum",
];

/// Adds or removes null among the types and words of a field.
fn allow_null(field: &mut serde_json::Map<String, Value>, allow: bool) {
    let null = json!("null");
    if let Some(kind) = field.get_mut("type") {
        let mut kinds = kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
        kinds.retain(|k| *k != null);
        if allow {
            kinds.push(null);
        }
        *kind = if let [only] = &kinds[..] { only.clone() } else { json!(kinds) };
    }
    if let Some(Value::Array(words)) = field.get_mut("enum") {
        words.retain(|word| !word.is_null());
        if allow {
            words.push(Value::Null);
        }
    }
}

/// Rules for a document that is written: no requirements, and strings are always strings.
struct WrittenSchema;

impl Transform for WrittenSchema {
    fn transform(&mut self, schema: &mut Schema) {
        ASKED.iter().chain(&["title", "default", "examples"]).for_each(|word| drop(schema.remove(*word)));
        // Later versions may add fields.
        if schema.get("additionalProperties") == Some(&json!(false)) {
            schema.remove("additionalProperties");
        }
        if let Some(Value::Array(kinds)) = schema.get_mut("type")
            && kinds.contains(&json!("string"))
        {
            kinds.retain(|kind| kind == "string" || kind == "null");
        }
        transform_subschemas(self, schema);
    }
}
