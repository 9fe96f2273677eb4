//! The JSON Schemas of configurations, built from the settings because no Rust type holds them.

use serde_json::{Map, Value, json};

use crate::config::SettingKey;

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// A configuration file, as `config view` prints it, too. A null value counts as missing.
pub fn configuration_schema() -> Value {
    let mut properties = setting_schemas();
    properties
        .insert("currentContext".into(), described_type("The current context", json!(["string", "null"])));
    let mut contexts =
        described_type("Named connections, each with any of the settings", json!(["object", "null"]));
    contexts["additionalProperties"] =
        json!({ "type": ["object", "null"], "properties": setting_schemas(), "additionalProperties": false });
    properties.insert("contexts".into(), contexts);
    json!({
        "$schema": DRAFT,
        "title": "A configuration of foundry",
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The output of `config get-contexts`: each context with its settings.
pub fn contexts_schema() -> Value {
    let mut properties = Map::new();
    properties.insert("name".into(), described_type("Name", json!("string")));
    properties
        .insert("current".into(), described_type("Whether it is the current context", json!("boolean")));
    properties.extend(setting_schemas());
    json!({
        "$schema": DRAFT,
        "type": "array",
        "items": { "type": "object", "properties": properties, "required": ["name", "current"] },
    })
}

fn setting_schemas() -> Map<String, Value> {
    SettingKey::ALL.into_iter().map(|key| (key.name().to_owned(), setting_schema(key))).collect()
}

fn setting_schema(key: SettingKey) -> Value {
    let kinds = if key.is_list() { json!(["array", "null"]) } else { json!(["string", "null"]) };
    let mut setting = described_type(key.help_text(), kinds);
    if key.is_list() {
        setting["items"] = json!({ "type": "string" });
    }
    if let Some(words) = key.allowed_words() {
        setting["enum"] = words.iter().map(|word| json!(word)).chain([Value::Null]).collect();
    }
    if let Some(default) = key.default() {
        setting["default"] = json!(default);
    }
    setting
}

fn described_type(meaning: &str, kinds: Value) -> Value {
    json!({ "description": format!("{meaning}."), "type": kinds })
}
