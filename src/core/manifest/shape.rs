//! JSON Schema of a manifest beyond the types of its fields: the attributes of its fields.
//!
//! Patterns are of the kind that all dialects have: editors know ECMA-262's, other programs RE2's. So there is no
//! looking ahead in them.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Four octets.
pub(super) const IPV4: &str =
    concat!("^", r"((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)", "$");
/// Four octets and the length of the network's prefix.
pub(super) const IPV4_NET: &str =
    concat!("^", r"((25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(25[0-5]|2[0-4]\d|1?\d?\d)", r"/([1-9]|[12]\d|3[0-2])$");
/// Two labels of a domain name, or more (RFC 1123, section 2.1).
pub(super) const FQDN: &str =
    r"^ *[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+\.? *$";
/// What else a domain name has: 253 characters at most, and an end that is no number, as an address has it.
pub(super) fn fqdn_beyond() -> Value {
    json!([{ "pattern": r"^ *[^ ]{1,252}[^ .]\.? *$" }, { "pattern": r"[A-Za-z-][A-Za-z0-9-]*\.? *$" }])
}

/// Labels of a domain name, one or more, of which the last is no number, as an address has it.
pub(super) const DOMAIN: &str = r"^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*(?![0-9]+\.?$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$";
/// A key type and something in base64; sshd's options may go before it.
pub(super) const SSH_KEY: &str = r"^([^#\x00-\x1f]*[ \t])?(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)[ \t]+[A-Za-z0-9+/]+={0,2}([ \t]|$)";

/// A text may be spelled like a number or a truth value: `name: 42` is the text "42".
pub(super) fn text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "number", "boolean"] })
}

/// Texts by their names.
pub(super) fn text_map_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": text_schema(generator) })
}

/// A cloud-config or network-config as a mapping, or as text.
pub(super) fn user_data_shape(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "string"] })
}

/// A field is there, and is not null, which counts as left out.
pub(super) fn is_given(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "not": { "type": "null" } } } })
}

/// A field has that value.
pub(super) fn has_value(field: &str, value: impl Into<Value>) -> Value {
    json!({ "required": [field], "properties": { field: { "const": value.into() } } })
}

/// At least one of them.
pub(super) fn any_of(one: Value, other: Value) -> Value {
    json!({ "anyOf": [one, other] })
}

/// Not the two of them; null, which has no fields, may be there.
pub(super) fn never_both(one: Value, other: Value) -> Value {
    json!({ "not": { "type": "object", "allOf": [one, other] } })
}

/// The other one, if the one.
pub(super) fn if_then(one: Value, other: Value) -> Value {
    json!({ "if": one, "then": other })
}

/// All of them.
pub(super) fn all_of<const N: usize>(rules: [Value; N]) -> Value {
    json!(rules.to_vec())
}
