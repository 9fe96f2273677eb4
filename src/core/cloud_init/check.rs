//! Validates a user's own user-data.

use super::header::Header;
use crate::yaml::node::{Mapping, Node, read_documents};

/// Why a seed cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SeedError(pub(super) String);

/// Checks a `userData`: a cloud-config that can be merged with the generated one.
///
/// # Errors
/// A sentence that says what is wrong, with line and column where there is one.
pub fn check_user_data(text: &str) -> Result<(), String> {
    parse_user_config(text).map(|_| ()).map_err(|e| e.0)
}

/// Checks a `rawUserData`: cloud-init must know by its beginning what it is, and a cloud-config in it must
/// be YAML that cloud-init can read.
///
/// # Errors
/// A sentence that says what is wrong, with line and column where there is one.
pub fn check_raw_user_data(text: &str) -> Result<(), String> {
    match Header::require(text)? {
        Header::CloudConfig => parse_mapping(text).map(|_| ()),
        Header::CloudConfigArchive => check_list(text),
        _ => Ok(()),
    }
}

/// The `fqdn` of a `userData`, in lower case, where it does not say a `hostname` too.
pub fn read_host_name(text: &str) -> Option<String> {
    let config = parse_user_config(text).ok()?;
    let fqdn = config.get("fqdn").filter(|node| !node.is_null())?.as_text()?.trim().to_lowercase();
    config.get("hostname").is_none().then_some(fqdn)
}

/// What of a `userData` does nothing, since the generated `users` list names root and not the image's own user: the keys
/// that are about that one (cloud-init's `cc_set_passwords`, `cc_ssh_import_id`, and `system_info`).
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

/// Reads the user's cloud-config.
pub(super) fn parse_user_config(text: &str) -> Result<Mapping, SeedError> {
    match Header::at_start(text) {
        None | Some(Header::CloudConfig) => {}
        Some(other) => {
            let message =
                format!("is {other}; only a cloud-config can be merged, anything else is rawUserData");
            return Err(SeedError(message));
        }
    }
    let config = parse_mapping(text).map_err(SeedError)?;
    limit_user_keys(&config)?;
    let config = normalize_users(config);
    check_merged_keys(&config)?;
    Ok(config)
}

/// The keys under which the generated cloud-config has something that must not get lost: another kind of
/// value there would take root's keys or password away.
fn check_merged_keys(config: &Mapping) -> Result<(), SeedError> {
    if config.get("network").is_some() {
        let message = "has `network`, which cloud-init reads from network-config only; say it in networkInterfaces, or in networkConfig";
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

/// The most keys of an entry of `users`, of which cloud-init knows some thirty: each is compared with the others.
const MAX_USER_KEYS: usize = 1000;

fn limit_user_keys(config: &Mapping) -> Result<(), SeedError> {
    let users = config.get("users").and_then(Node::as_sequence).unwrap_or_default();
    let mut sizes = users.iter().filter_map(Node::as_mapping).map(Mapping::len);
    match sizes.find(|keys| *keys > MAX_USER_KEYS) {
        Some(keys) => Err(SeedError(format!(
            "has an entry of `users` with {keys} keys; at most {MAX_USER_KEYS} are taken"
        ))),
        None => Ok(()),
    }
}

/// The config with what cloud-init takes for the same written in the same way, so that the two are merged and not one of
/// them lost: in an entry of `users` each `-` of a key is a `_`, and one key may stand for a list of one (cloud-init's
/// `ug_util.normalize_users_groups` and `cc_users_groups`).
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
                "`{key}` is {kind}; it must be {wanted}, to be merged with the generated one"
            )))
        }
        _ => Ok(()),
    }
}

fn parse_mapping(text: &str) -> Result<Mapping, String> {
    require_mapping(&parse_only_document(text)?, "cloud-config").cloned()
}

/// The keys of a document of that kind.
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
        (None, _) => Err("holds no YAML".to_owned()),
        (Some(_), before) => Err(format!("holds {} YAML documents, not one", before + 1)),
    }
}
