//! Validates the user's own network-config, which replaces the generated one.

use super::check::{parse_only_document, require_mapping};
use crate::yaml::node::{Mapping, Node};

/// Sections of version 2 that contain devices by name and that cloud-init reads itself (its "Networking config Version
/// 2"). netplan has more, which cloud-init passes on.
const DEVICES: [&str; 5] = ["ethernets", "bonds", "bridges", "vlans", "wifis"];

/// Checks a `networkConfig` (version 1 or 2 of cloud-init's format) and returns it as a NoCloud seed contains it,
/// without a top-level `network`. cloud-init removes that key itself only for version 1 (`_maybe_remove_top_network`
/// looks for `config`); with version 2 it would find no version. A text without the key is returned unchanged.
///
/// # Errors
/// What is wrong, with line and column if there is one.
pub fn check_network_config(text: &str) -> Result<String, String> {
    let document = parse_only_document(text)?;
    let config = require_mapping(&document, "network-config")?;
    let Some(wrapped) = config.get("network") else {
        check_config(config)?;
        return Ok(text.to_owned());
    };
    if config.len() > 1 {
        return Err("has other keys beside `network`; put all of them under it, or leave it out".to_owned());
    }
    let Some(inner) = wrapped.as_mapping() else {
        return Err(format!("has {} under `network`, not a mapping", wrapped.kind_text()));
    };
    check_config(inner)?;
    Ok(wrapped.to_yaml())
}

fn check_config(config: &Mapping) -> Result<(), String> {
    if config.get("config").and_then(Node::as_text) == Some("disabled") {
        return Ok(());
    }
    let Some(version) = config.get("version") else {
        return Err("has no `version`; cloud-init supports 1 and 2".to_owned());
    };
    if is_number(version, "2") {
        return DEVICES.iter().try_for_each(|key| match config.get(key) {
            Some(devices) if devices.as_mapping().is_none() => {
                Err(format!("has {} as `{key}`; it must be a mapping of devices", devices.kind_text()))
            }
            _ => Ok(()),
        });
    }
    if !is_number(version, "1") {
        return Err("has a `version` other than the number 1 or 2, which cloud-init supports".to_owned());
    }
    match config.get("config") {
        Some(list) if list.as_sequence().is_some() => Ok(()),
        Some(other) => Err(format!("has {} as `config`; in version 1 it must be a list", other.kind_text())),
        None => Err("has no `config`, the list of devices in version 1".to_owned()),
    }
}

/// Whether a node is this number, unquoted. In quotes it is a string, and cloud-init does not recognize the version.
fn is_number(node: &Node, digits: &str) -> bool {
    node.to_yaml().trim_end() == digits
}
