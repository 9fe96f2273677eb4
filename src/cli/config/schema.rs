//! The JSON Schema of configurations, made from the settings, because no Rust type holds them.

use serde_json::{Map, Value, json};

use crate::config::Key;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// A configuration file, which `config view` writes, too. A key whose value is null counts as left out.
pub fn configuration() -> Value {
    let mut properties = settings();
    properties.insert("currentContext".into(), described("The current context", json!(["string", "null"])));
    let mut contexts =
        described("Named connections, each with any of the settings", json!(["object", "null"]));
    contexts["additionalProperties"] =
        json!({ "type": ["object", "null"], "properties": settings(), "additionalProperties": false });
    properties.insert("contexts".into(), contexts);
    json!({
        "$schema": DRAFT,
        "title": "A configuration of foundry",
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

/// What `config get-contexts` writes: each context with its settings.
pub fn contexts() -> Value {
    let mut properties = Map::new();
    properties.insert("name".into(), described("Name", json!("string")));
    properties.insert("current".into(), described("Whether it is the current context", json!("boolean")));
    properties.extend(settings());
    json!({
        "$schema": DRAFT,
        "type": "array",
        "items": { "type": "object", "properties": properties, "required": ["name", "current"] },
    })
}

fn settings() -> Map<String, Value> {
    Key::ALL.into_iter().map(|key| (key.name().to_owned(), setting(key))).collect()
}

fn setting(key: Key) -> Value {
    let kinds = if key.is_list() { json!(["array", "null"]) } else { json!(["string", "null"]) };
    let mut setting = described(key.meaning(), kinds);
    if key.is_list() {
        setting["items"] = json!({ "type": "string" });
    }
    if let Some(words) = key.words() {
        setting["enum"] = words.iter().map(|word| json!(word)).chain([Value::Null]).collect();
    }
    if let Some(default) = key.default() {
        setting["default"] = json!(default);
    }
    setting
}

fn described(meaning: &str, kinds: Value) -> Value {
    json!({ "description": format!("{meaning}."), "type": kinds })
}
