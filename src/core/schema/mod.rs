//! JSON Schema of manifests, configurations and listings: for editors, other programs and `foundry explain`.
//!
//! The schema of manifests is made of the types of [`crate::manifest`], their docstrings and the limits beside them. It is of
//! draft 7, which is what editors know (the YAML language server of VS Code, vim and others) and everybody else, too.

mod field;

pub use field::{Field, UnknownField};

use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::manifest::VirtualMachine;

/// What a manifest may be: everything that foundry reads, and nothing else as far as a schema can tell.
pub fn manifest_schema() -> Value {
    let mut schema = document_schema();
    // Whatever it is, it is passed over.
    if let Some(status) = schema.pointer_mut("/properties/status").and_then(Value::as_object_mut) {
        status.retain(|key, _| key == "description");
    }
    schema["title"] = json!("A manifest of foundry");
    schema
}

/// What a manifest may be, together with the status that foundry writes into it.
pub fn document_schema() -> Value {
    let mut schema = generate_schema::<VirtualMachine>(Contract::Deserialize);
    ReadSchema.transform(&mut schema);
    schema.to_value()
}

/// What foundry writes of a type. A domain that is not foundry's is shown in the words of a manifest, too, without
/// being one that could be read.
pub fn output_schema<T: JsonSchema>() -> Value {
    let mut schema = generate_schema::<T>(Contract::Serialize);
    WrittenSchema.transform(&mut schema);
    schema.to_value()
}

/// Without references: whoever goes through it finds each field in its place.
fn generate_schema<T: JsonSchema>(contract: Contract) -> Schema {
    let mut settings = SchemaSettings::draft07();
    settings.contract = contract;
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    TidySchema.transform(&mut schema);
    schema
}

/// Takes out what says nothing to readers: Rust's names of numbers, defaults that are "nothing", and the two ways of
/// an optional mapping, of which one is null.
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

/// `anyOf: [X, null]`, with words of its own beside it, as X or null with these words.
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

/// The lines of a docstring end where its source was full.
fn join_paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// What holds for a document that is read: fields that are required, rules between fields, and that a field whose value
/// is null counts as left out. Serde knows nothing of it, so that the types say it in words of their own.
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

/// What the types say, and JSON Schema's word for it.
const OWN_WORDS: [(&str, &str); 2] = [("x-required", "required"), ("x-rules", "allOf")];
/// What is asked of a document that is read.
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

/// Says whether null is among the types and words of a field.
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

/// What holds for a document that is written: nothing is asked of it, and texts are written as texts.
struct WrittenSchema;

impl Transform for WrittenSchema {
    fn transform(&mut self, schema: &mut Schema) {
        ASKED.iter().chain(&["title", "default", "examples"]).for_each(|word| drop(schema.remove(*word)));
        // What a later version adds is no fault.
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
