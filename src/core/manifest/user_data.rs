//! `cloudInit.userData` and `networkConfig` as mappings: each is turned into the text that it could have been.
//!
//! Types that are made from a tree see text only. The tree knows how to repeat a scalar so that
//! cloud-init's reader takes it as it was meant.

use crate::yaml::node::{Node, NodeContent, ReadError, Scalar};
use crate::yaml::{FieldError, PathStep, Position};

/// Where the user's own YAML for cloud-init stands in a document.
const PATHS: [[&str; 3]; 2] = [["spec", "cloudInit", "userData"], ["spec", "cloudInit", "networkConfig"]];

/// The document with `userData` and `networkConfig` as text.
///
/// # Errors
/// A list, and the first thing in the file that cloud-init would refuse (`violation`) or could take otherwise.
pub(super) fn user_data_to_text(document: &Node, violation: Option<&ReadError>) -> Result<Node, FieldError> {
    PATHS.iter().try_fold(document.clone(), |document, path| field_to_text(&document, path, violation))
}

fn field_to_text(document: &Node, path: &[&str], violation: Option<&ReadError>) -> Result<Node, FieldError> {
    let Some(found) = path.iter().try_fold(document, |node, key| node.get(key)) else {
        return Ok(document.clone());
    };
    match (found.content(), violation) {
        (NodeContent::Scalar(_), _) => Ok(document.clone()),
        (NodeContent::Sequence(_), _) => {
            Err(field_error(path, found.position(), "wants a mapping or text, got a list"))
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

/// A fault of the user's YAML.
fn field_error(path: &[&str], at: Option<Position>, message: &str) -> FieldError {
    let step = |key: &&str| PathStep::Key((*key).to_owned());
    path.iter().rev().fold(FieldError::new(at, message), |fault, key| fault.add_step(step(key), at))
}

/// A copy of a node in which the node at a path is another one.
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
