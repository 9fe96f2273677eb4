//! Reads the documents of others: the configuration file, and JSON that GARM passes on.
//!
//! JSON is YAML, too, so one reader serves both, with the position and the path of what is wrong.

use serde::de::DeserializeOwned;

use foundry_core::error::{Code, Error};
use foundry_core::yaml::{self, FieldError, Position, escape_unseen};

/// Reads one document into a type. An empty text is read as an empty mapping. `name` is the document in messages.
///
/// # Errors
/// Text that is not YAML, several documents, and the first field that is wrong, with its line.
pub(crate) fn read_document<T: DeserializeOwned + Default>(text: &str, name: &str) -> Result<T, Error> {
    let failed = |code: Code, at: Option<Position>, path: &str, message: &str| {
        let at = at.map(|at| format!(":{at}")).unwrap_or_default();
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        Error::new(code, format!("{name}{at}: {path}{}", escape_unseen(message))).unchanged()
    };
    let documents =
        yaml::read_manifests(text).map_err(|e| failed(e.code(), Some(e.at), "", &e.rule_text()))?;
    let mut filled = documents.nodes.iter().filter(|node| !node.is_null());
    let Some(node) = filled.next() else { return Ok(T::default()) };
    if let Some(second) = filled.next() {
        return Err(failed(Code::WrongType, second.position(), "", "this is one document"));
    }
    yaml::read(node)
        .map_err(|fault: FieldError| failed(fault.code, fault.at, &fault.path_text(), &fault.message))
}
