//! Builds a tree from the parser's events, with limits that are checked before anything reads it.
//!
//! ```text
//!  MappingStart ──▶ open ── key, value, key, value … ──▶ MappingEnd ──▶ complete ──▶ parent
//!  Scalar ─────────────────────────────────────────────────────────────▶ complete    or document
//!  Alias ──▶ the anchor's node again, its content counted once more ──▶ attach
//! ```

use std::borrow::Cow;
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, ScalarStyle, StructureStyle, Tag};

use super::field_error::Position;
use super::node::{Mapping, MappingEntry, Node, NodeContent, Scalar};
use super::rules::{BrokenRule, MAX_DEPTH, MAX_EXPANDED, ReadError, Rules};
use super::yaml11;

/// All documents of a text, including empty ones (as a null scalar).
pub struct ParsedDocuments {
    pub nodes: Vec<Node>,
    /// The first violation, if any, of the rules for a cloud-config.
    pub first_violation: Option<ReadError>,
}

/// Maximum number of nodes that all aliases of a text together may stand for. Nodes outside of aliases are not counted.
pub const MAX_ALIASED_NODES: usize = 100_000;
/// Maximum number of bytes that all aliases together may stand for.
pub const MAX_ALIASED_BYTES: usize = 4 << 20;

pub(super) struct Builder {
    rules: Rules,
    documents: Vec<Node>,
    /// Number of documents that have begun.
    begun: usize,
    open: Vec<OpenNode>,
    anchors: HashMap<usize, Node>,
    /// What the aliases stand for so far: nodes, bytes.
    aliased: (usize, usize),
    expanded: usize,
    first_violation: Option<ReadError>,
}

/// A mapping or list that has not ended yet.
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
    /// Number of merge keys in the mapping.
    merges: usize,
    /// Line of each key, by the key's identity under the rules.
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

    /// Processes the next event.
    pub(super) fn take_event(&mut self, event: Event<'_>, at: Position) -> Result<(), ReadError> {
        match event {
            Event::DocumentStart(..) => {
                self.begun += 1;
                // An alias cannot refer to a node of another document.
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

    /// Stops reading if the broken rule applies to this document. Otherwise the first violation is only remembered.
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
        // One for the node itself, so that empty scalars count, too.
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
        // The parser pairs its start and end events. If it did not, the result would be an incomplete tree, not a
        // panic.
        let Some(OpenNode { at, anchor, tag, parts, .. }) = self.open.pop() else { return Ok(()) };
        let content = match parts {
            OpenContent::List(items) => NodeContent::Sequence(items),
            OpenContent::Map(map) => NodeContent::Mapping(map.into_mapping(self.rules)),
        };
        self.complete_node(Node::read_at(at, tag, content), anchor, at)
    }

    fn add_alias(&mut self, anchor: usize, at: Position) -> Result<(), ReadError> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            // The parser refuses unknown anchors, so the anchor's node has not ended yet.
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
        // The parser numbers anchors from 1; 0 is a node without an anchor.
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

    /// Checks the nesting depth before something with `levels` levels is added.
    fn check_depth(&mut self, levels: usize, at: Position) -> Result<(), ReadError> {
        self.report_violation((self.open.len() + levels > MAX_DEPTH).then_some(BrokenRule::Depth), at)
    }

    fn count_expanded(&mut self, weight: usize, at: Position) -> Result<(), ReadError> {
        self.expanded = self.expanded.saturating_add(weight);
        self.report_violation((self.expanded > MAX_EXPANDED).then_some(BrokenRule::Expanded), at)
    }
}

impl OpenMap {
    /// Adds a key or a value, and returns the rule that it breaks, if any.
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

    /// Adds the entries of merge keys. The mapping's own keys have priority, then the sources in their order.
    fn into_mapping(mut self, rules: Rules) -> Mapping {
        for entry in self.merged.iter().filter_map(Node::as_mapping).flat_map(Mapping::entries) {
            // Any line: a key that a merge repeats is no error.
            if self.lines.insert(key_identity(&entry.key, rules), 0).is_none() {
                self.entries.push(entry.clone());
            }
        }
        Mapping::from_distinct(self.entries)
    }
}

/// Returns what makes two keys equal: their text in a manifest, and also the meaning of the text in a cloud-config.
fn key_identity(key: &Scalar, rules: Rules) -> String {
    match rules {
        Rules::Manifest => key.text().to_owned(),
        Rules::CloudConfig => format!("{:?} {}", key.meaning(), key.text()),
    }
}

/// Separates `!!str` (and `!`, which means "not plain") from other tags.
fn split_tag(tag: Option<&Tag>) -> (Option<String>, bool) {
    match tag.map(yaml11::tag_name) {
        Some(name) if name == "!!str" || name == "!" => (None, true),
        name => (name, false),
    }
}
