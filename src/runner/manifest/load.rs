//! Reads the manifests of pools.

use foundry_core::error::{Code, Error};
use foundry_core::manifest::{API_VERSION, template_data_to_text};
use foundry_core::yaml::node::{Node, ReadError};
use foundry_core::yaml::{self, FieldError, Position, escape_unseen};

use super::RunnerPool;

/// The `kind` of a pool's manifest.
pub const RUNNER_POOL_KIND: &str = "RunnerPool";

/// Reads all pools of a text; `file` is its name in messages. Empty documents are skipped.
///
/// # Errors
/// [`foundry_core::error::Kind::Configuration`] for the first thing in each document that is wrong, with its line; also
/// for a text without a pool.
pub fn load_runner_pools(text: &str, file: &str) -> Result<Vec<RunnerPool>, Error> {
    let documents =
        yaml::read_manifests(text).map_err(|e| load_error(file, e.code(), Some(e.at), "", &e.rule_text()))?;
    let mut pools = Vec::new();
    let mut wrong = Vec::new();
    for node in documents.nodes.iter().filter(|node| !node.is_null()) {
        match read_pool(node, documents.first_violation.as_ref()) {
            Ok(pool) => pools.push(pool),
            Err(fault) => {
                wrong.push(load_error(file, fault.code, fault.at, &fault.path_text(), &fault.message));
            }
        }
    }
    if let Some(error) = Error::combine(&wrong) {
        return Err(error);
    }
    if pools.is_empty() {
        return Err(load_error(file, Code::NoManifest, None, "", "contains no pool"));
    }
    Ok(pools)
}

fn load_error(file: &str, code: Code, at: Option<Position>, path: &str, message: &str) -> Error {
    let at = at.map(|at| format!(":{at}")).unwrap_or_default();
    let path = if path.is_empty() { String::new() } else { format!("{}: ", escape_unseen(path)) };
    Error::new(code, format!("{}{at}: {path}{}", escape_unseen(file), escape_unseen(message))).unchanged()
}

fn read_pool(node: &Node, violation: Option<&ReadError>) -> Result<RunnerPool, FieldError> {
    // Before the fields: the manifest of something else is reported as that.
    check_word(node, "kind", RUNNER_POOL_KIND)?;
    check_word(node, "apiVersion", API_VERSION)?;
    yaml::read(&template_data_to_text(node, violation)?)
}

fn check_word(document: &Node, key: &str, known: &str) -> Result<(), FieldError> {
    let fault = |at, message: String| FieldError::new(at, message).with_code(Code::OtherKind);
    let Some(value) = document.get(key).filter(|value| !value.is_null()) else {
        return Err(fault(document.position(), format!("{key} is missing; write '{key}: {known}'")));
    };
    match value.as_text() {
        Some(text) if text == known => Ok(()),
        Some(text) => Err(fault(value.position(), format!("{key} is {text:?}, not {known:?}"))),
        None => Err(fault(value.position(), format!("{key} is not {known:?}"))),
    }
}
