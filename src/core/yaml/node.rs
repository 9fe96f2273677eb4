//! A YAML tree that keeps each scalar's source text and each node's position.
//!
//! A tree of booleans, numbers and strings would have to decide what `0755`, `on` or `1:30` means, and YAML readers
//! disagree about that. This tree only knows whether a scalar was written plain, so its meaning is open, or quoted, so
//! it is a string to every reader.

use std::rc::Rc;

pub use super::builder::{MAX_ALIASED_BYTES, MAX_ALIASED_NODES};
pub use super::documents::read_documents;
use super::field_error::{PathSegment, Position};
pub use super::rules::{MAX_DEPTH, ReadError};
use super::scalar::PlainValue;
pub use super::scalar::Scalar;

/// One node of a YAML document, with merge keys (`<<`) applied. Cloning is cheap and gives the same node; an alias is
/// such a clone.
///
/// Nodes are equal if every reader takes them for the same value. Positions, quoting and the order of a mapping's keys
/// make no difference.
#[derive(Debug, Clone)]
pub struct Node(Rc<NodeData>);

#[derive(Debug)]
struct NodeData {
    /// Position of its start, if it was read.
    at: Option<Position>,
    /// Tag of a list or mapping; a scalar has its own.
    tag: Option<String>,
    content: NodeContent,
    extent: NodeSize,
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeContent {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values.
    Mapping(Mapping),
}

/// Size of a node with its aliases expanded.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeSize {
    /// Number of levels of lists and mappings, including itself.
    pub(super) levels: usize,
    /// Number of nodes, including keys and itself.
    pub(super) nodes: usize,
    /// Number of bytes of text.
    pub(super) bytes: usize,
}

/// Keys and values in the order in which they were written; no key occurs twice.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    entries: Vec<MappingEntry>,
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub struct MappingEntry {
    /// Position of the key, if it was read.
    pub at: Option<Position>,
    /// The key.
    pub key: Scalar,
    /// Value of the key.
    pub value: Node,
}

impl Node {
    /// Makes a string, whatever its text looks like.
    pub fn from_string(text: impl Into<String>) -> Self {
        NodeContent::Scalar(Scalar::from_string(text)).into()
    }

    /// Makes the boolean `true` or `false`.
    pub fn from_bool(value: bool) -> Self {
        NodeContent::Scalar(Scalar::from_plain(value.to_string())).into()
    }

    /// Makes a whole number.
    pub fn from_u64(value: u64) -> Self {
        NodeContent::Scalar(Scalar::from_plain(value.to_string())).into()
    }

    /// Makes a list of nodes.
    pub fn from_nodes(items: Vec<Self>) -> Self {
        NodeContent::Sequence(items).into()
    }

    /// Makes a node that was read from a text.
    pub(super) fn read_at(at: Position, tag: Option<String>, content: NodeContent) -> Self {
        Self::new(Some(at), tag, content)
    }

    fn new(at: Option<Position>, tag: Option<String>, content: NodeContent) -> Self {
        let extent = content.measure();
        Self(Rc::new(NodeData { at, tag, content, extent }))
    }

    /// Returns a copy without the field at the end of the segments. Returns `None` if there is no such field.
    pub fn without_field(&self, segments: &[&PathSegment]) -> Option<Self> {
        let (first, rest) = segments.split_first()?;
        let content = match (self.content(), first) {
            (NodeContent::Sequence(items), PathSegment::Index(index)) => {
                let mut items = items.clone();
                let item = items.get_mut(*index)?;
                *item = item.without_field(rest)?;
                NodeContent::Sequence(items)
            }
            (NodeContent::Mapping(mapping), PathSegment::Key(name)) => {
                let mut entries = mapping.entries.clone();
                let place = entries.iter().position(|entry| entry.key.text() == name)?;
                if rest.is_empty() {
                    entries.remove(place);
                } else {
                    entries[place].value = entries[place].value.without_field(rest)?;
                }
                NodeContent::Mapping(Mapping { entries })
            }
            _ => return None,
        };
        Some(self.with_content(content))
    }

    /// Returns a node with the same position and tag and another content.
    pub fn with_content(&self, content: NodeContent) -> Self {
        Self::new(self.0.at, self.0.tag.clone(), content)
    }

    /// Returns the scalar, list or mapping.
    pub fn content(&self) -> &NodeContent {
        &self.0.content
    }

    /// Returns the position of its start, if it was read. An alias has the position of its anchor.
    pub fn position(&self) -> Option<Position> {
        self.0.at
    }

    /// Returns its tag, if it has one other than `!!str`.
    pub(super) fn tag(&self) -> Option<&str> {
        match self.content() {
            NodeContent::Scalar(scalar) => scalar.tag(),
            NodeContent::Sequence(_) | NodeContent::Mapping(_) => self.0.tag.as_deref(),
        }
    }

    pub(super) fn size(&self) -> NodeSize {
        self.0.extent
    }

    /// Returns the value of a key, if the node is a mapping with that key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key)
    }

    /// Returns the mapping, if the node is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match self.content() {
            NodeContent::Mapping(mapping) => Some(mapping),
            NodeContent::Scalar(_) | NodeContent::Sequence(_) => None,
        }
    }

    /// Returns the items, if the node is a list.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match self.content() {
            NodeContent::Sequence(items) => Some(items),
            NodeContent::Scalar(_) | NodeContent::Mapping(_) => None,
        }
    }

    /// Returns the text of a scalar after unfolding and escapes, whatever it means.
    pub fn as_text(&self) -> Option<&str> {
        match self.content() {
            NodeContent::Scalar(scalar) => Some(scalar.text()),
            NodeContent::Sequence(_) | NodeContent::Mapping(_) => None,
        }
    }

    /// Whether the node is an unquoted scalar that means null: empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.content(), NodeContent::Scalar(scalar) if scalar.to_foundry() == PlainValue::Null)
    }

    /// Names the type of the node for a message.
    pub fn kind_text(&self) -> &'static str {
        match self.content() {
            NodeContent::Scalar(_) if self.is_null() => "nothing",
            NodeContent::Scalar(_) => "a single value",
            NodeContent::Sequence(_) => "a list",
            NodeContent::Mapping(_) => "a mapping",
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.content() == other.content()
    }
}

impl From<NodeContent> for Node {
    fn from(content: NodeContent) -> Self {
        Self::new(None, None, content)
    }
}

impl From<Mapping> for Node {
    fn from(mapping: Mapping) -> Self {
        NodeContent::Mapping(mapping).into()
    }
}

impl NodeContent {
    fn measure(&self) -> NodeSize {
        match self {
            Self::Scalar(scalar) => NodeSize { levels: 0, nodes: 1, bytes: scalar.text().len() },
            Self::Sequence(items) => items.iter().fold(NodeSize::COLLECTION, NodeSize::add_child),
            Self::Mapping(mapping) => mapping.entries.iter().fold(NodeSize::COLLECTION, |extent, entry| {
                let bytes = extent.bytes.saturating_add(entry.key.text().len());
                NodeSize { nodes: extent.nodes.saturating_add(1), bytes, ..extent }.add_child(&entry.value)
            }),
        }
    }
}

impl NodeSize {
    const COLLECTION: Self = Self { levels: 1, nodes: 1, bytes: 0 };

    fn add_child(self, child: &Node) -> Self {
        let Self { levels, nodes, bytes } = child.size();
        Self {
            levels: self.levels.max(levels + 1),
            nodes: self.nodes.saturating_add(nodes),
            bytes: self.bytes.saturating_add(bytes),
        }
    }
}

impl Mapping {
    /// Makes an empty mapping.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a key and returns the mapping.
    #[must_use]
    pub fn with_entry(mut self, key: &str, value: Node) -> Self {
        self.insert(Scalar::from_string(key), value);
        self
    }

    /// Returns the value of the first key with this text.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key.text() == key).map(|entry| &entry.value)
    }

    /// Returns keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Scalar, &Node)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.value))
    }

    /// Returns the entries in order, with their positions.
    pub fn entries(&self) -> &[MappingEntry] {
        &self.entries
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the mapping has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the value of a key that every reader takes for the same key.
    pub fn value_of_key(&self, key: &Scalar) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.value)
    }

    /// Sets the value of a key. A new key is added at the end.
    pub fn insert(&mut self, key: Scalar, value: Node) {
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.value = value,
            None => self.entries.push(MappingEntry { at: None, key, value }),
        }
    }

    /// Makes a mapping from entries with different keys.
    pub(super) fn from_distinct(entries: Vec<MappingEntry>) -> Self {
        Self { entries }
    }
}

impl PartialEq for Mapping {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.value_of_key(key) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalar_differs_from_string_if_readers_may_interpret_it() {
        let plain = |t: &str| Node::from(NodeContent::Scalar(Scalar::from_plain(t)));
        assert_eq!(plain("web"), Node::from_string("web"));
        for open in ["on", "0755", "1:30", "2024-01-01", "~", ""] {
            assert_ne!(plain(open), Node::from_string(open), "{open}");
        }
    }

    #[test]
    fn mappings_are_equal_in_any_order() {
        let a = Mapping::new().with_entry("x", Node::from_u64(1)).with_entry("y", Node::from_bool(true));
        let b = Mapping::new().with_entry("y", Node::from_bool(true)).with_entry("x", Node::from_u64(1));
        assert_eq!(a, b);
        assert_ne!(a, b.with_entry("z", Node::from_u64(1)));
    }

    #[test]
    fn only_unquoted_null_words_are_null() {
        for null in ["", "~", "null", "Null", "NULL"] {
            assert!(Node::from(NodeContent::Scalar(Scalar::from_plain(null))).is_null());
            assert!(!Node::from_string(null).is_null());
        }
        assert!(!Node::from(NodeContent::Scalar(Scalar::from_plain("nil"))).is_null());
    }
}
