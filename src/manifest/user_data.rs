//! `cloudInit.userData` as a mapping: it becomes the text that it would have been.
//!
//! Types that are made from a tree see text only. The tree knows how to repeat a scalar so that
//! cloud-init's reader takes it as it was meant.

use crate::yaml::node::{Content, Node, ReadError, Scalar};
use crate::yaml::{Fault, Position, Step};

/// Where the user's cloud-config stands in a document.
const PATH: [&str; 3] = ["spec", "cloudInit", "userData"];

/// The document with `userData` as text.
///
/// # Errors
/// A list, and the first thing in the file that cloud-init would refuse (`doubt`) or could take otherwise.
pub(super) fn as_text(document: &Node, doubt: Option<&ReadError>) -> Result<Node, Fault> {
    let Some(found) = PATH.iter().try_fold(document, |node, key| node.get(key)) else {
        return Ok(document.clone());
    };
    match (found.content(), doubt) {
        (Content::Scalar(_), _) => Ok(document.clone()),
        (Content::Sequence(_), _) => Err(fault(found.at(), "wants a mapping or text, got a list")),
        (Content::Mapping(_), Some(doubt)) => Err(fault(Some(doubt.at), &doubt.broken.to_string())),
        (Content::Mapping(_), None) => {
            let text = Content::Scalar(Scalar::string(found.to_yaml()));
            Ok(replaced(document, &PATH, &found.with_content(text)))
        }
    }
}

/// A fault of the user's cloud-config.
fn fault(at: Option<Position>, message: &str) -> Fault {
    let step = |key: &&str| Step::Key((*key).to_owned());
    PATH.iter().rev().fold(Fault::at(at, message), |fault, key| fault.within(step(key), at))
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
    node.with_content(Content::Mapping(copy))
}
