//! Validates the user's own user-data.

use super::header::Header;
use crate::yaml::node::{Mapping, Node, read_documents};

/// Why a seed cannot be created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SeedError(pub(super) String);

/// Checks a `userData`: a cloud-config that can be merged with the generated one.
///
/// # Errors
/// What is wrong, with line and column if there is one.
pub fn check_user_data(text: &str) -> Result<(), String> {
    parse_user_config(text).map(|_| ()).map_err(|e| e.0)
}

/// Checks a `rawUserData`: its first line must tell cloud-init the format, and a cloud-config in it must be YAML that
/// cloud-init can read.
///
/// # Errors
/// What is wrong, with line and column if there is one.
pub fn check_raw_user_data(text: &str) -> Result<(), String> {
    match Header::require(text)? {
        Header::CloudConfig => parse_mapping(text).map(|_| ()),
        Header::CloudConfigArchive => check_list(text),
        _ => Ok(()),
    }
}

/// Returns the `fqdn` of a `userData` in lower case, if it does not set `hostname` too.
pub fn read_host_name(text: &str) -> Option<String> {
    let config = parse_user_config(text).ok()?;
    let fqdn = config.get("fqdn").filter(|node| !node.is_null())?.as_text()?.trim().to_lowercase();
    config.get("hostname").is_none().then_some(fqdn)
}

/// Returns the keys of a `userData` that have no effect. They refer to the image's default user (cloud-init's
/// `cc_set_passwords`, `cc_ssh_import_id` and `system_info`), but the generated `users` list has only root.
pub fn find_ineffective_keys(text: &str) -> Vec<&'static str> {
    let Ok(config) = parse_user_config(text) else { return Vec::new() };
    let users = config.get("users").and_then(Node::as_sequence).unwrap_or_default();
    let is_default = |user: &Node| user.as_text().or_else(|| user.get("name")?.as_text()) == Some("default");
    if users.iter().any(is_default) {
        return Vec::new();
    }
    let mut keys: Vec<&str> =
        ["password", "ssh_import_id", "user"].into_iter().filter(|key| config.get(key).is_some()).collect();
    if config.get("system_info").is_some_and(|info| info.get("default_user").is_some()) {
        keys.push("system_info.default_user");
    }
    keys
}

/// Parses the user's cloud-config.
pub(super) fn parse_user_config(text: &str) -> Result<Mapping, SeedError> {
    match Header::at_start(text) {
        None | Some(Header::CloudConfig) => {}
        Some(other) => {
            let message =
                format!("is {other}; only a cloud-config can be merged, so write this as rawUserData");
            return Err(SeedError(message));
        }
    }
    let config = parse_mapping(text).map_err(SeedError)?;
    limit_user_keys(&config)?;
    let config = normalize_users(config);
    check_merged_keys(&config)?;
    Ok(config)
}

/// Checks the types of keys that the generated cloud-config sets. A value of another type would replace root's keys or
/// password.
fn check_merged_keys(config: &Mapping) -> Result<(), SeedError> {
    if config.get("network").is_some() {
        let message = "has `network`, which cloud-init only reads in the network-config; use networkInterfaces or networkConfig";
        return Err(SeedError(message.to_owned()));
    }
    expect_type(config.get("users"), "users", "a list", |n| n.as_sequence().is_some())?;
    let chpasswd = config.get("chpasswd");
    expect_type(chpasswd, "chpasswd", "a mapping", |n| n.as_mapping().is_some())?;
    let users = chpasswd.and_then(|c| c.get("users"));
    expect_type(users, "chpasswd.users", "a list", |n| n.as_sequence().is_some())?;
    let entries = config.get("users").and_then(Node::as_sequence).unwrap_or_default();
    entries.iter().try_for_each(|entry| {
        let keys = entry.get("ssh_authorized_keys");
        expect_type(keys, "ssh_authorized_keys", "a list of keys, or one key", |n| n.as_sequence().is_some())
    })
}

/// Maximum number of keys of an entry of `users`. cloud-init has about thirty, and each is compared with the others.
const MAX_USER_KEYS: usize = 1000;

fn limit_user_keys(config: &Mapping) -> Result<(), SeedError> {
    let users = config.get("users").and_then(Node::as_sequence).unwrap_or_default();
    let mut sizes = users.iter().filter_map(Node::as_mapping).map(Mapping::len);
    match sizes.find(|keys| *keys > MAX_USER_KEYS) {
        Some(keys) => Err(SeedError(format!(
            "has an entry of `users` with {keys} keys; the maximum is {MAX_USER_KEYS}"
        ))),
        None => Ok(()),
    }
}

/// Normalizes alternative spellings of `users`, so the entries are merged and none is lost. cloud-init treats `-` in a
/// key as `_`, and accepts one key in place of a list (its `ug_util.normalize_users_groups` and `cc_users_groups`).
fn normalize_users(config: Mapping) -> Mapping {
    let key = |name: &str| config.iter().find(|(key, _)| key.text() == name).map(|(key, _)| key.clone());
    let Some((users, list)) = key("users").zip(config.get("users").and_then(Node::as_sequence)) else {
        return config;
    };
    let list = list.iter().map(normalize_user).collect();
    let mut config = config;
    config.insert(users, Node::from_nodes(list));
    config
}

fn normalize_user(entry: &Node) -> Node {
    let Some(mapping) = entry.as_mapping() else { return entry.clone() };
    let mut known = Mapping::new();
    for (key, value) in mapping.iter() {
        let name = key.text().replace('-', "_");
        let is_one_key = name == "ssh_authorized_keys" && value.as_text().is_some() && !value.is_null();
        let value = if is_one_key { Node::from_nodes(vec![value.clone()]) } else { value.clone() };
        let both = match (known.get(&name).and_then(Node::as_sequence), value.as_sequence()) {
            (Some(first), Some(second)) => Node::from_nodes([first, second].concat()),
            _ => value,
        };
        known = known.with_entry(&name, both);
    }
    known.into()
}

fn expect_type(
    node: Option<&Node>,
    key: &str,
    wanted: &str,
    fits: fn(&Node) -> bool,
) -> Result<(), SeedError> {
    match node {
        Some(node) if !fits(node) => {
            let kind = node.kind_text();
            Err(SeedError(format!(
                "`{key}` is {kind}; it must be {wanted} to be merged with the generated one"
            )))
        }
        _ => Ok(()),
    }
}

fn parse_mapping(text: &str) -> Result<Mapping, String> {
    require_mapping(&parse_only_document(text)?, "cloud-config").cloned()
}

/// Returns the document's keys, or an error that names the expected kind of keys.
pub(super) fn require_mapping<'d>(document: &'d Node, kind: &str) -> Result<&'d Mapping, String> {
    document.as_mapping().ok_or_else(|| format!("is {}, not a mapping of {kind} keys", document.kind_text()))
}

fn check_list(text: &str) -> Result<(), String> {
    let document = parse_only_document(text)?;
    let found = || format!("is {}; a cloud-config archive is a list", document.kind_text());
    document.as_sequence().map(|_| ()).ok_or_else(found)
}

pub(super) fn parse_only_document(text: &str) -> Result<Node, String> {
    let mut documents = read_documents(text).map_err(|e| e.to_string())?;
    match (documents.pop(), documents.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err("contains no YAML".to_owned()),
        (Some(_), before) => Err(format!("contains {} YAML documents instead of one", before + 1)),
    }
}
