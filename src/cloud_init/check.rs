//! What a user's own user-data must be like.

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
    user_config(text).map(|_| ()).map_err(|e| e.0)
}

/// Checks a `rawUserData`: cloud-init must know by its beginning what it is, and a cloud-config in it must
/// be YAML that cloud-init can read.
///
/// # Errors
/// A sentence that says what is wrong, with line and column where there is one.
pub fn check_raw_user_data(text: &str) -> Result<(), String> {
    match Header::of(text)? {
        Header::CloudConfig => mapping(text).map(|_| ()),
        Header::CloudConfigArchive => list(text),
        _ => Ok(()),
    }
}

/// Reads the user's cloud-config.
pub(super) fn user_config(text: &str) -> Result<Mapping, SeedError> {
    match Header::at_start(text) {
        None | Some(Header::CloudConfig) => {}
        Some(other) => {
            let message =
                format!("is {other}; only a cloud-config can be merged, anything else is rawUserData");
            return Err(SeedError(message));
        }
    }
    let config = mapping(text).map_err(SeedError)?;
    check_merged_keys(&config)?;
    Ok(config)
}

/// The keys under which the generated cloud-config has something that must not get lost: another kind of
/// value there would take root's keys or password away.
fn check_merged_keys(config: &Mapping) -> Result<(), SeedError> {
    expect(config.get("users"), "users", "a list", |n| n.as_sequence().is_some())?;
    let chpasswd = config.get("chpasswd");
    expect(chpasswd, "chpasswd", "a mapping", |n| n.as_mapping().is_some())?;
    let users = chpasswd.and_then(|c| c.get("users"));
    expect(users, "chpasswd.users", "a list", |n| n.as_sequence().is_some())
}

fn expect(node: Option<&Node>, key: &str, wanted: &str, fits: fn(&Node) -> bool) -> Result<(), SeedError> {
    match node {
        Some(node) if !fits(node) => {
            let kind = node.kind();
            Err(SeedError(format!(
                "`{key}` is {kind}; it must be {wanted}, to be merged with the generated one"
            )))
        }
        _ => Ok(()),
    }
}

fn mapping(text: &str) -> Result<Mapping, String> {
    let document = only_document(text)?;
    let found = || format!("is {}, not a mapping of cloud-config keys", document.kind());
    document.as_mapping().cloned().ok_or_else(found)
}

fn list(text: &str) -> Result<(), String> {
    let document = only_document(text)?;
    let found = || format!("is {}; a cloud-config archive is a list", document.kind());
    document.as_sequence().map(|_| ()).ok_or_else(found)
}

fn only_document(text: &str) -> Result<Node, String> {
    let mut documents = read_documents(text).map_err(|e| e.to_string())?;
    match (documents.pop(), documents.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err("holds no YAML".to_owned()),
        (Some(_), before) => Err(format!("holds {} YAML documents, not one", before + 1)),
    }
}
