//! `cloudInit.userData` and `networkConfig` as mappings: each is turned into the text that it could have been.
//!
//! Types that are made from a tree see text only. The tree knows how to repeat a scalar so that
//! cloud-init's reader takes it as it was meant.

use crate::yaml::node::{NodeContent, Node, ReadError, Scalar};
use crate::yaml::{FieldError, Position, PathStep};

/// Where the user's own YAML for cloud-init stands in a document.
const PATHS: [[&str; 3]; 2] = [["spec", "cloudInit", "userData"], ["spec", "cloudInit", "networkConfig"]];

/// The document with `userData` and `networkConfig` as text.
///
/// # Errors
/// A list, and the first thing in the file that cloud-init would refuse (`doubt`) or could take otherwise.
pub(super) fn as_text(document: &Node, doubt: Option<&ReadError>) -> Result<Node, FieldError> {
    PATHS.iter().try_fold(document.clone(), |document, path| one_as_text(&document, path, doubt))
}

fn one_as_text(document: &Node, path: &[&str], doubt: Option<&ReadError>) -> Result<Node, FieldError> {
    let Some(found) = path.iter().try_fold(document, |node, key| node.get(key)) else {
        return Ok(document.clone());
    };
    match (found.content(), doubt) {
        (NodeContent::Scalar(_), _) => Ok(document.clone()),
        (NodeContent::Sequence(_), _) => Err(fault(path, found.at(), "wants a mapping or text, got a list")),
        (NodeContent::Mapping(_), Some(doubt)) => Err(fault(path, Some(doubt.at), &doubt.broken.to_string())),
        (NodeContent::Mapping(_), None) => {
            let text = NodeContent::Scalar(Scalar::string(found.to_yaml()));
            Ok(replaced(document, path, &found.with_content(text)))
        }
    }
}

/// A fault of the user's YAML.
fn fault(path: &[&str], at: Option<Position>, message: &str) -> FieldError {
    let step = |key: &&str| PathStep::Key((*key).to_owned());
    path.iter().rev().fold(FieldError::at(at, message), |fault, key| fault.within(step(key), at))
}

/// A copy of a node in which the node at a path is another one.
fn replaced(node: &Node, path: &[&str], with: &Node) -> Node {
    let (Some((key, rest)), Some(mapping)) = (path.split_first(), node.as_mapping()) else {
        return with.clone();
    };
    let mut copy = mapping.clone();
    if let Some((key, value)) = mapping.iter().find(|(k, _)| k.text() == *key) {
        copy.set(key.clone(), replaced(value, rest, with));
    }
    node.with_content(NodeContent::Mapping(copy))
}
