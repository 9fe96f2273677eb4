//! `cloudInit.userData` as a mapping: it becomes the text that it would have been.
//!
//! Types that are made from a tree see text only. The text is written from the tree of [`crate::yaml`],
//! which knows how to repeat a scalar so that cloud-init's reader takes it as it was meant.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;

use super::fault::{Fault, Position, Step};
use super::tree::{Content, Node};
use crate::yaml::node::{Node as Spelled, ReadError, read_documents};

/// Where the user's cloud-config stands in a document.
const PATH: [&str; 3] = ["spec", "cloudInit", "userData"];

/// The documents of a text once more, read only if one of them has `userData` as a mapping.
pub(super) struct UserData<'t> {
    text: &'t str,
    documents: OnceCell<Result<Vec<Spelled>, ReadError>>,
}

impl<'t> UserData<'t> {
    /// For a text that may have several documents.
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, documents: OnceCell::new() }
    }

    /// The document of that number (from 0) with `userData` as text.
    ///
    /// # Errors
    /// What the tree of [`crate::yaml`] cannot hold: a tag that cloud-init would refuse, for one.
    pub(super) fn as_text<'n>(&self, document: &'n Node, number: usize) -> Result<Cow<'n, Node>, Fault> {
        let Some(found) = PATH.iter().try_fold(document, |node, key| node.get(key)) else {
            return Ok(Cow::Borrowed(document));
        };
        match found.content {
            Content::Scalar { .. } => Ok(Cow::Borrowed(document)),
            Content::List(_) => {
                Err(inside(Fault::at(found.at, "wants a mapping or text, got a list"), found.at))
            }
            Content::Map(_) => {
                let content = Content::Scalar { text: self.spelled(number, found.at)?, plain: false };
                let text = Rc::new(Node { at: found.at, content, tag: None });
                Ok(Cow::Owned(replaced(document, &PATH, &text)))
            }
        }
    }

    fn spelled(&self, number: usize, at: Position) -> Result<String, Fault> {
        let documents = self.documents.get_or_init(|| read_documents(self.text));
        let documents = documents.as_ref().map_err(|error| {
            let at = Position { line: error.line, column: error.column };
            inside(Fault::at(at, error.message.clone()), at)
        })?;
        let mapping = documents.get(number).and_then(|d| PATH.iter().try_fold(d, |node, key| node.get(key)));
        // Both trees are made from the same events, so what one has the other has.
        mapping
            .map(Spelled::to_yaml)
            .ok_or_else(|| Fault::at(at, "cannot be written as text; give it as text"))
    }
}

/// Says that a fault is about the user's cloud-config.
fn inside(fault: Fault, at: Position) -> Fault {
    PATH.iter().rev().fold(fault, |fault, key| fault.within(Step::Key((*key).to_owned()), at))
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
