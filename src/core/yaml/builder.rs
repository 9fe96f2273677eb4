//! From the parser's events to a tree, bounded before anything reads it.
//!
//! ```text
//!  MappingStart ──▶ open ── key, value, key, value … ──▶ MappingEnd ──▶ complete ──▶ parent
//!  Scalar ─────────────────────────────────────────────────────────────▶ complete    or document
//!  Alias ──▶ the anchor's node again, what it holds counted once more ──▶ attach
//! ```

use std::borrow::Cow;
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, ScalarStyle, StructureStyle, Tag};

use super::field_error::Position;
use super::node::{Mapping, MappingEntry, Node, NodeContent, Scalar};
use super::rules::{BrokenRule, MAX_DEPTH, MAX_EXPANDED, ReadError, Rules};
use super::yaml11;

/// All documents of a text, empty ones (as a null scalar) included.
pub struct ParsedDocuments {
    pub nodes: Vec<Node>,
    /// The first thing, if any, that would be refused in a cloud-config.
    pub first_violation: Option<ReadError>,
}

/// How many nodes all aliases of a text together may stand for; the text's own nodes are not counted.
pub const MAX_ALIASED_NODES: usize = 100_000;
/// How many bytes of text all aliases together may stand for.
pub const MAX_ALIASED_BYTES: usize = 4 << 20;

pub(super) struct Builder {
    rules: Rules,
    documents: Vec<Node>,
    /// How many documents have begun.
    begun: usize,
    open: Vec<OpenNode>,
    anchors: HashMap<usize, Node>,
    /// What the aliases stand for: nodes, bytes.
    aliased: (usize, usize),
    expanded: usize,
    first_violation: Option<ReadError>,
}

/// A mapping or list whose end has not come yet.
struct OpenNode {
    at: Position,
    anchor: usize,
    tag: Option<String>,
    in_brackets: bool,
    parts: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<MappingEntry>,
    merged: Vec<Node>,
    /// How many merge keys there are.
    merges: usize,
    /// The line of each key, by what tells keys apart.
    lines: HashMap<String, usize>,
    key: Option<PendingKey>,
}

/// The key of the entry whose value comes next.
enum PendingKey {
    Own(Position, Scalar),
    /// An unquoted `<<`: the value's entries join the mapping (YAML 1.1, type merge).
    Merge,
}

impl Builder {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            documents: Vec::new(),
            begun: 0,
            open: Vec::new(),
            anchors: HashMap::new(),
            aliased: (0, 0),
            expanded: 0,
            first_violation: None,
        }
    }

    /// Takes the next event.
    pub(super) fn take_event(&mut self, event: Event<'_>, at: Position) -> Result<(), ReadError> {
        match event {
            Event::DocumentStart(..) => {
                self.begun += 1;
                self.anchors.clear();
                Ok(())
            }
            Event::Anchor(_, name) => self.report_violation(yaml11::check_anchor(&name), at),
            Event::Alias(anchor) => self.add_alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                self.add_scalar(text, style, anchor, tag.as_deref(), at)
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.report_violation(yaml11::check_collection_tag(tag.as_deref(), "!!seq"), at)?;
                self.open_collection(at, anchor, tag.as_deref(), style, OpenContent::List(Vec::new()))
            }
            Event::MappingStart(style, anchor, tag) => {
                self.report_violation(yaml11::check_collection_tag(tag.as_deref(), "!!map"), at)?;
                self.open_collection(at, anchor, tag.as_deref(), style, OpenContent::Map(OpenMap::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close_collection(),
            _ => Ok(()),
        }
    }

    /// Ends the reading over a rule that binds here; the first that does not is kept as a doubt.
    pub(super) fn report_violation(
        &mut self,
        broken: impl Into<Option<BrokenRule>>,
        at: Position,
    ) -> Result<(), ReadError> {
        let Some(broken) = broken.into() else { return Ok(()) };
        let error = ReadError { at, document: self.begun.max(1), broken };
        if error.broken.ends_reading(self.rules) {
            return Err(error);
        }
        self.first_violation.get_or_insert(error);
        Ok(())
    }

    pub(super) fn into_documents(self) -> ParsedDocuments {
        ParsedDocuments { nodes: self.documents, first_violation: self.first_violation }
    }

    fn add_scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), ReadError> {
        let plain = style == ScalarStyle::Plain;
        if plain {
            self.report_violation(yaml11::check_plain(&text, self.is_in_brackets()), at)?;
        }
        self.report_violation(yaml11::check_scalar_tag(tag), at)?;
        self.count_expanded(1 + text.len(), at)?;
        let (tag, is_text) = split_tag(tag);
        let scalar = Scalar::from_source(text, plain && !is_text, tag);
        self.complete_node(Node::read_at(at, None, NodeContent::Scalar(scalar)), anchor, at)
    }

    fn open_collection(
        &mut self,
        at: Position,
        anchor: usize,
        tag: Option<&Tag>,
        style: StructureStyle,
        parts: OpenContent,
    ) -> Result<(), ReadError> {
        self.check_depth(1, at)?;
        self.count_expanded(1, at)?;
        let in_brackets = style == StructureStyle::Flow || self.is_in_brackets();
        self.open.push(OpenNode { at, anchor, tag: split_tag(tag).0, in_brackets, parts });
        Ok(())
    }

    fn close_collection(&mut self) -> Result<(), ReadError> {
        // The parser pairs its start and end events; were it not to, nothing would be complete.
        let Some(OpenNode { at, anchor, tag, parts, .. }) = self.open.pop() else { return Ok(()) };
        let content = match parts {
            OpenContent::List(items) => NodeContent::Sequence(items),
            OpenContent::Map(map) => NodeContent::Mapping(map.into_mapping(self.rules)),
        };
        self.complete_node(Node::read_at(at, tag, content), anchor, at)
    }

    fn add_alias(&mut self, anchor: usize, at: Position) -> Result<(), ReadError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return self.report_violation(BrokenRule::AliasInItself, at);
        };
        let extent = node.size();
        self.check_depth(extent.levels, at)?;
        self.aliased =
            (self.aliased.0.saturating_add(extent.nodes), self.aliased.1.saturating_add(extent.bytes));
        if self.aliased.0 > MAX_ALIASED_NODES || self.aliased.1 > MAX_ALIASED_BYTES {
            self.report_violation(BrokenRule::Aliased, at)?;
        }
        self.count_expanded(extent.nodes.saturating_add(extent.bytes), at)?;
        self.attach_to_parent(node, at)
    }

    fn complete_node(&mut self, node: Node, anchor: usize, at: Position) -> Result<(), ReadError> {
        // The parser numbers anchors from 1; 0 is a node without one.
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach_to_parent(node, at)
    }

    fn attach_to_parent(&mut self, node: Node, at: Position) -> Result<(), ReadError> {
        let broken = match self.open.last_mut().map(|open| &mut open.parts) {
            None => {
                self.documents.push(node);
                None
            }
            Some(OpenContent::List(items)) => {
                items.push(node);
                None
            }
            Some(OpenContent::Map(map)) => map.add_key_or_value(node, at, self.rules),
        };
        broken.map_or(Ok(()), |(broken, at)| self.report_violation(broken, at))
    }

    fn is_in_brackets(&self) -> bool {
        self.open.last().is_some_and(|open| open.in_brackets)
    }

    /// Bounds the nesting where something with so many levels is added.
    fn check_depth(&mut self, levels: usize, at: Position) -> Result<(), ReadError> {
        self.report_violation((self.open.len() + levels > MAX_DEPTH).then_some(BrokenRule::Depth), at)
    }

    fn count_expanded(&mut self, weight: usize, at: Position) -> Result<(), ReadError> {
        self.expanded = self.expanded.saturating_add(weight);
        self.report_violation((self.expanded > MAX_EXPANDED).then_some(BrokenRule::Expanded), at)
    }
}

impl OpenMap {
    /// Takes a key or a value, and says which rule it breaks.
    fn add_key_or_value(&mut self, node: Node, at: Position, rules: Rules) -> Option<(BrokenRule, Position)> {
        match self.key.take() {
            None => self.add_key(&node, at, rules).map(|broken| (broken, at)),
            Some(PendingKey::Own(at, key)) => {
                self.entries.push(MappingEntry { at: Some(at), key, value: node });
                None
            }
            Some(PendingKey::Merge) => match node.as_sequence() {
                Some(sources) => {
                    sources.iter().find_map(|s| self.add_merge_source(s, s.position().unwrap_or(at)))
                }
                None => self.add_merge_source(&node, at),
            },
        }
    }

    fn add_key(&mut self, node: &Node, at: Position, rules: Rules) -> Option<BrokenRule> {
        let NodeContent::Scalar(key) = node.content() else { return Some(BrokenRule::KeyIsCollection) };
        if key.is_merge() {
            self.key = Some(PendingKey::Merge);
            self.merges += 1;
            return (self.merges > 1).then_some(BrokenRule::MergeTwice);
        }
        self.key = Some(PendingKey::Own(at, key.clone()));
        match self.lines.insert(key_identity(key, rules), at.line) {
            Some(first_line) => Some(BrokenRule::KeyTwice { key: key.text().to_owned(), first_line }),
            None => node.is_null().then_some(BrokenRule::NullKey),
        }
    }

    fn add_merge_source(&mut self, source: &Node, at: Position) -> Option<(BrokenRule, Position)> {
        self.merged.push(source.clone());
        source.as_mapping().is_none().then_some((BrokenRule::MergeOfOther, at))
    }

    /// Adds what merge keys bring; what the mapping says itself wins, then what was named first.
    fn into_mapping(mut self, rules: Rules) -> Mapping {
        for entry in self.merged.iter().filter_map(Node::as_mapping).flat_map(Mapping::entries) {
            if self.lines.insert(key_identity(&entry.key, rules), 0).is_none() {
                self.entries.push(entry.clone());
            }
        }
        Mapping::from_distinct(self.entries)
    }
}

/// What is the same for keys that are the same: to a manifest's author the text, to cloud-init also what
/// the text means.
fn key_identity(key: &Scalar, rules: Rules) -> String {
    match rules {
        Rules::Manifest => key.text().to_owned(),
        Rules::CloudConfig => format!("{:?} {}", key.meaning(), key.text()),
    }
}

/// Tells `!!str` (and the `!` that means "not plain") from tags that say something else.
fn split_tag(tag: Option<&Tag>) -> (Option<String>, bool) {
    match tag.map(yaml11::tag_name) {
        Some(name) if name == "!!str" || name == "!" => (None, true),
        name => (name, false),
    }
}
