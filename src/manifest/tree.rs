//! A YAML text as a tree in which each node knows where it stands and how it was written.
//!
//! Three things must survive that a library's value type drops: the place of each key (for messages),
//! whether a scalar was quoted (a quoted number is text) and how it was spelled (`1.10` in a label
//! stays `1.10`).

use std::rc::Rc;

use serde_saphyr::granit_parser::{Marker, Parser};

use super::fault::{Fault, Position};
use super::tree_builder::Builder;

/// The deepest nesting of mappings and lists; a manifest needs six levels, a cloud-config some more.
pub(super) const MAX_DEPTH: usize = 64;

/// A node and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) content: Content,
    /// A tag other than `!!str`; manifests have no use for one.
    pub(super) tag: Option<String>,
}

/// What a node holds. Children are shared, so that an alias costs nothing in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A scalar; `plain` is one that was not quoted and whose spelling therefore decides its type.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Rc<Node>>),
    /// A mapping in the order in which it was written, each key once.
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the key begins.
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) value: Rc<Node>,
}

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &*entry.value)
    }

    /// The entry of a key, if this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|e| e.key == key),
            Content::Scalar { .. } | Content::List(_) => None,
        }
    }
}

/// Reads all documents of a text, empty ones (as a null scalar) included.
///
/// # Errors
/// The first thing that is not YAML or that a limit rules out, with the number of its document.
pub(super) fn read(text: &str) -> Result<Vec<Rc<Node>>, (usize, Fault)> {
    let options = serde_saphyr::granit_parser::options! {
        emit_comments: false,
        // The parser looks ahead: its limits lie behind the builder's, which says what it is about.
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
    };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        event
            .map_err(|e| Fault::at(position(*e.marker()), format!("not YAML: {}", e.info())))
            .and_then(|(event, span)| builder.take(event, position(span.start)))
            .map_err(|fault| (builder.begun.max(1), fault))?;
    }
    Ok(builder.documents)
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
