//! A user's own network-config, which replaces the generated one.

use super::check::{parse_only_document, require_mapping};
use crate::yaml::node::{Mapping, Node};

/// The sections of version 2 that hold devices by their names and that cloud-init reads itself (its "Networking config
/// Version 2"). netplan knows more, which cloud-init hands on.
const DEVICES: [&str; 5] = ["ethernets", "bonds", "bridges", "vlans", "wifis"];

/// Checks a `networkConfig`, version 1 or 2 of cloud-init's format, and gives it as a NoCloud seed has it: without the
/// `network` around it. cloud-init takes that off itself for version 1 only (`_maybe_remove_top_network` looks for
/// `config`), and finds no version in the other. A text without it stays as it is, to the byte.
///
/// # Errors
/// A sentence that says what is wrong, with line and column where there is one.
pub fn check_network_config(text: &str) -> Result<String, String> {
    let document = parse_only_document(text)?;
    let config = require_mapping(&document, "network-config")?;
    let Some(wrapped) = config.get("network") else {
        check_config(config)?;
        return Ok(text.to_owned());
    };
    if config.len() > 1 {
        return Err("has keys beside `network`; put them all under it, or leave it out".to_owned());
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
        return Err("has no `version`; cloud-init knows 1 and 2".to_owned());
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
        return Err("has a `version` that is not the number 1 or 2, which cloud-init knows".to_owned());
    }
    match config.get("config") {
        Some(list) if list.as_sequence().is_some() => Ok(()),
        Some(other) => Err(format!("has {} as `config`; in version 1 it is a list", other.kind_text())),
        None => Err("has no `config`, which in version 1 is the list of what there is".to_owned()),
    }
}

/// Whether it is this number, written as one: in quotes it is a string, and to cloud-init no version.
fn is_number(node: &Node, digits: &str) -> bool {
    node.to_yaml().trim_end() == digits
}
