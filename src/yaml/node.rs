//! A YAML tree in which each scalar is still what its author wrote.
//!
//! A tree of booleans, numbers and strings would have to decide what `0755`, `on` or `1:30` is, and
//! the readers of the world disagree. This tree only knows whether a scalar was written plain, and
//! so open to a reader's interpretation, or quoted, and so a string to everyone.

pub use super::read::{MAX_ALIASED_BYTES, MAX_ALIASED_NODES, MAX_DEPTH, ReadError, read_documents};
use super::resolve;

/// One node of a YAML document, aliases expanded and merge keys (`<<`) applied.
///
/// Nodes are equal if every reader takes them for the same value: quoting and the order of a
/// mapping's keys do not matter.
#[derive(Debug, Clone)]
pub enum Node {
    /// A leaf.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values.
    Mapping(Mapping),
}

/// A leaf: its text, and what its notation says about the text's meaning.
#[derive(Debug, Clone)]
pub struct Scalar {
    text: String,
    meaning: Meaning,
}

/// Who decides what the text of a scalar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Meaning {
    /// The reader, from the text: it was written plain.
    Resolved,
    /// Nobody: it was quoted, a block scalar or tagged `!!str`, and is a string.
    String,
    /// A tag; the name is what follows `!!`.
    Tagged(&'static str),
}

/// Keys and values in the order in which they were written; no key comes twice.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    entries: Vec<(Scalar, Node)>,
}

impl Node {
    /// A string, whatever its text looks like.
    pub fn string(text: impl Into<String>) -> Self {
        Self::Scalar(Scalar::string(text))
    }

    /// `true` or `false`.
    pub fn boolean(value: bool) -> Self {
        Self::Scalar(Scalar::plain(value.to_string()))
    }

    /// A whole number.
    pub fn integer(value: u64) -> Self {
        Self::Scalar(Scalar::plain(value.to_string()))
    }

    /// The value of a key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_mapping()?.get(key)
    }

    /// The mapping, if it is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match self {
            Self::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// The list, if it is one.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match self {
            Self::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a leaf as it was written (after unfolding and escapes), whatever it means.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Scalar(scalar) => Some(scalar.text()),
            _ => None,
        }
    }

    /// Whether it is a leaf that says "nothing": empty, `~` or `null`, not quoted.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(s) if s.meaning == Meaning::Tagged("null")
            || (s.meaning == Meaning::Resolved && resolve::is_null(&s.text)))
    }

    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Scalar(_) if self.is_null() => "nothing",
            Self::Scalar(_) => "a single value",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }

    /// How many levels it has, itself included.
    pub(super) fn height(&self) -> usize {
        1 + self.children().map(Self::height).max().unwrap_or(0)
    }

    /// How many nodes it has, keys and itself included, and how many bytes of text.
    pub(super) fn weight(&self) -> (usize, usize) {
        let own = match self {
            Self::Scalar(scalar) => (1, scalar.text.len()),
            Self::Sequence(_) => (1, 0),
            Self::Mapping(m) => (1 + m.len(), m.entries.iter().map(|(k, _)| k.text.len()).sum()),
        };
        self.children().map(Self::weight).fold(own, |a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)))
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match self {
            Self::Scalar(_) => Box::new(std::iter::empty()),
            Self::Sequence(items) => Box::new(items.iter()),
            Self::Mapping(mapping) => Box::new(mapping.entries.iter().map(|(_, value)| value)),
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a == b,
            (Self::Sequence(a), Self::Sequence(b)) => a == b,
            (Self::Mapping(a), Self::Mapping(b)) => a == b,
            _ => false,
        }
    }
}

impl Scalar {
    /// A scalar that was written plain.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), meaning: Meaning::Resolved }
    }

    /// A string.
    pub fn string(text: impl Into<String>) -> Self {
        Self { text: text.into(), meaning: Meaning::String }
    }

    /// A scalar with a tag of YAML's own, by the name that follows `!!`.
    pub(super) fn tagged(text: impl Into<String>, tag: &'static str) -> Self {
        Self { text: text.into(), meaning: Meaning::Tagged(tag) }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn meaning(&self) -> Meaning {
        self.meaning
    }

    /// What a reader tells scalars apart by: a plain word that nobody takes for anything but a string is
    /// the same as the quoted one.
    pub(super) fn identity(&self) -> (Meaning, &str) {
        let meaning = match self.meaning {
            Meaning::Resolved if !resolve::is_open(&self.text) => Meaning::String,
            other => other,
        };
        (meaning, &self.text)
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Mapping {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more entry, or with another value for a key that is there.
    #[must_use]
    pub fn with(mut self, key: &str, value: Node) -> Self {
        self.set(Scalar::string(key), value);
        self
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.value(&Scalar::string(key))
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Scalar, &Node)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn value(&self, key: &Scalar) -> Option<&Node> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Sets the value of a key, in its place if it has one, else at the end.
    pub(crate) fn set(&mut self, key: Scalar, value: Node) {
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Takes entries whose keys are known to differ.
    pub(super) fn from_distinct(entries: Vec<(Scalar, Node)>) -> Self {
        Self { entries }
    }
}

impl PartialEq for Mapping {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.value(key) == Some(value))
    }
}

impl From<Mapping> for Node {
    fn from(mapping: Mapping) -> Self {
        Self::Mapping(mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_tells_a_string_from_what_a_reader_may_take_it_for() {
        let plain = |t: &str| Node::Scalar(Scalar::plain(t));
        assert_eq!(plain("web"), Node::string("web"));
        for open in ["on", "0755", "1:30", "2024-01-01", "~", ""] {
            assert_ne!(plain(open), Node::string(open), "{open}");
        }
    }

    #[test]
    fn mappings_are_equal_in_any_order() {
        let a = Mapping::new().with("x", Node::integer(1)).with("y", Node::boolean(true));
        let b = Mapping::new().with("y", Node::boolean(true)).with("x", Node::integer(1));
        assert_eq!(a, b);
        assert_ne!(a, b.with("z", Node::integer(1)));
    }

    #[test]
    fn only_an_unquoted_nothing_is_null() {
        for null in ["", "~", "null", "Null", "NULL"] {
            assert!(Node::Scalar(Scalar::plain(null)).is_null());
            assert!(!Node::string(null).is_null());
        }
        assert!(!Node::Scalar(Scalar::plain("nil")).is_null());
    }
}
