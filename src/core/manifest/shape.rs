//! Parts of the manifest's JSON Schema that are not types: patterns, and rules between fields.
//!
//! The patterns use only syntax that all dialects support: editors use ECMA-262, other programs RE2.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// An IPv4 address.
pub(super) const IPV4: &str =
    concat!("^", r"((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)", "$");
/// An IPv4 address with prefix length.
pub(super) const IPV4_NET: &str =
    concat!("^", r"((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)", r"/([1-9]|[12]\d|3[0-2])$");
/// A domain name with two labels or more (RFC 1123, section 2.1).
pub(super) const FQDN: &str =
    r"^ *[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+\.? *$";
/// Further rules for a domain name: at most 253 characters, and a last label that is not a number as in an IP address.
pub(super) fn fqdn_beyond() -> Value {
    json!([{ "pattern": r"^ *[^ ]{1,252}[^ .]\.? *$" }, { "pattern": r"[A-Za-z-][A-Za-z0-9-]*\.? *$" }])
}

/// A domain name with one label or more, the last of which is not a number as in an IP address.
pub(super) const DOMAIN: &str = r"^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*(?![0-9]+\.?$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$";
/// An SSH key: a key type and base64, optionally after sshd's options.
pub(super) const SSH_KEY: &str = r"^([^#\x00-\x1f]*[ \t])?(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)[ \t]+[A-Za-z0-9+/]+={0,2}([ \t]|$)";

/// A string, which may also be spelled like a number or a boolean: `name: 42` is the text "42".
pub(super) fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "number", "boolean"] })
}

/// A mapping of strings.
pub(super) fn text_map_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": text_schema(generator) })
}

/// A cloud-config or network-config: a mapping, or a YAML string.
pub(super) fn user_data_shape(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "string"] })
}

/// The field is set and is not null, which counts as not set.
pub(super) fn is_given(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "not": { "type": "null" } } } })
}

/// The field has this value.
pub(super) fn has_value(field: &str, value: impl Into<Value>) -> Value {
    json!({ "required": [field], "properties": { field: { "const": value.into() } } })
}

/// At least one of the two rules holds.
pub(super) fn any_of(one: Value, other: Value) -> Value {
    json!({ "anyOf": [one, other] })
}

/// The two rules do not hold together. null is allowed, because it has no fields.
pub(super) fn never_both(one: Value, other: Value) -> Value {
    json!({ "not": { "type": "object", "allOf": [one, other] } })
}

/// If the first rule holds, the second must hold.
pub(super) fn if_then(one: Value, other: Value) -> Value {
    json!({ "if": one, "then": other })
}

/// All rules hold.
pub(super) fn all_of<const N: usize>(rules: [Value; N]) -> Value {
    json!(rules.to_vec())
}
