//! Converts `cloudInit.userData` and `networkConfig` from mappings to text.
//!
//! The Rust types contain them as text only. The tree writes each scalar so that cloud-init's YAML reader takes it as
//! its author meant it.

use crate::yaml::node::{Node, NodeContent, ReadError, Scalar};
use crate::yaml::{FieldError, PathSegment, Position};

/// Fields of `cloudInit` with the user's YAML for cloud-init.
const FIELDS: [&str; 2] = ["userData", "networkConfig"];

/// Returns the document with `userData` and `networkConfig` as text; `spec` is the path of the VM's desired state.
///
/// # Errors
/// A list instead of a mapping, and the first part of the file that cloud-init would refuse or could read differently
/// (`violation`).
pub(super) fn user_data_to_text(
    document: &Node,
    spec: &[&str],
    violation: Option<&ReadError>,
) -> Result<Node, FieldError> {
    FIELDS.iter().try_fold(document.clone(), |document, field| {
        field_to_text(&document, &[spec, &["cloudInit", field]].concat(), violation)
    })
}

/// As for a manifest, in a document that has the spec of a VM at `spec.template`.
///
/// # Errors
/// As for a manifest.
pub fn template_data_to_text(document: &Node, violation: Option<&ReadError>) -> Result<Node, FieldError> {
    user_data_to_text(document, &["spec", "template"], violation)
}

fn field_to_text(document: &Node, path: &[&str], violation: Option<&ReadError>) -> Result<Node, FieldError> {
    let Some(found) = path.iter().try_fold(document, |node, key| node.get(key)) else {
        return Ok(document.clone());
    };
    match (found.content(), violation) {
        (NodeContent::Scalar(_), _) => Ok(document.clone()),
        (NodeContent::Sequence(_), _) => {
            Err(field_error(path, found.position(), "expected a mapping or text, got a list"))
        }
        (NodeContent::Mapping(_), Some(violation)) => {
            Err(field_error(path, Some(violation.at), &violation.broken.to_string()))
        }
        (NodeContent::Mapping(_), None) => {
            let text = NodeContent::Scalar(Scalar::from_string(found.to_yaml()));
            Ok(replace_node(document, path, &found.with_content(text)))
        }
    }
}

/// Makes an error about the user's YAML.
fn field_error(path: &[&str], at: Option<Position>, message: &str) -> FieldError {
    let segment = |key: &&str| PathSegment::Key((*key).to_owned());
    path.iter().rev().fold(FieldError::new(at, message), |fault, key| fault.add_segment(segment(key), at))
}

/// Returns a copy of a node in which the node at a path is replaced.
fn replace_node(node: &Node, path: &[&str], with: &Node) -> Node {
    let (Some((key, rest)), Some(mapping)) = (path.split_first(), node.as_mapping()) else {
        return with.clone();
    };
    let mut copy = mapping.clone();
    if let Some((key, value)) = mapping.iter().find(|(k, _)| k.text() == *key) {
        copy.insert(key.clone(), replace_node(value, rest, with));
    }
    node.with_content(NodeContent::Mapping(copy))
}
