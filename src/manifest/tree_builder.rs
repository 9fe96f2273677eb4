//! From the parser's events to a tree, bounded before anything reads it.
//!
//! ```text
//!  MappingStart ──▶ open ── key, value, key, value … ──▶ MappingEnd ──▶ complete ──▶ parent
//!  Scalar ─────────────────────────────────────────────────────────────▶ complete    or document
//!  Alias ──▶ the anchor's node again, its weight counted once more ─────▶ attach
//! ```

use std::collections::HashMap;
use std::rc::Rc;

use serde_saphyr::granit_parser::{Event, ScalarStyle, Tag};

use super::fault::{Fault, Position, shortened};
use super::scalar::Plain;
use super::tree::{Content, Entry, MAX_DEPTH, Node};

/// The most that all documents together may hold once aliases are expanded, in bytes and nodes.
const MAX_EXPANDED: usize = 8 << 20;

#[derive(Default)]
pub(super) struct Builder {
    /// The complete documents.
    pub(super) documents: Vec<Rc<Node>>,
    /// How many documents have begun.
    pub(super) begun: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Weighed>,
    expanded: usize,
}

/// A node and what it holds once its aliases are expanded.
#[derive(Clone)]
struct Weighed {
    node: Rc<Node>,
    weight: usize,
}

/// A mapping or list whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    tag: Option<String>,
    weight: usize,
    parts: Parts,
}

enum Parts {
    List(Vec<Rc<Node>>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    merged: Vec<Rc<Node>>,
    lines: HashMap<String, usize>,
    key: Option<(Position, Key)>,
}

/// The key of the entry whose value comes next.
enum Key {
    Name(String),
    /// An unquoted `<<`: the value's entries join the mapping (YAML 1.1, type merge).
    Merge,
}

impl Builder {
    /// Takes the next event.
    pub(super) fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => {
                self.begun += 1;
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let (tag, is_text) = split_tag(tag.as_deref());
                let plain = style == ScalarStyle::Plain && !is_text;
                let weight = 1 + text.len();
                let content = Content::Scalar { text: text.into_owned(), plain };
                self.weigh(weight, at)?;
                self.complete(Node { at, content, tag }, anchor, weight)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(at, anchor, tag.as_deref(), Parts::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.begin(at, anchor, tag.as_deref(), Parts::Map(OpenMap::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, tag: Option<&Tag>, parts: Parts) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::at(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.weigh(1, at)?;
        self.open.push(Open { at, anchor, tag: split_tag(tag).0, weight: 1, parts });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        // The parser pairs its start and end events; were it not to, nothing would be complete.
        let Some(Open { at, anchor, tag, weight, parts }) = self.open.pop() else { return Ok(()) };
        let content = match parts {
            Parts::List(items) => Content::List(items),
            Parts::Map(map) => Content::Map(map.finish()?),
        };
        self.complete(Node { at, content, tag }, anchor, weight)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Fault> {
        let Some(Weighed { node, weight }) = self.anchors.get(&anchor).cloned() else {
            return Err(Fault::at(at, "an alias of a node that holds the alias itself"));
        };
        self.weigh(weight, at)?;
        self.attach(node, weight)
    }

    fn complete(&mut self, node: Node, anchor: usize, weight: usize) -> Result<(), Fault> {
        let node = Rc::new(node);
        // The parser numbers anchors from 1; 0 is a node without one.
        if anchor != 0 {
            self.anchors.insert(anchor, Weighed { node: Rc::clone(&node), weight });
        }
        self.attach(node, weight)
    }

    fn attach(&mut self, node: Rc<Node>, weight: usize) -> Result<(), Fault> {
        let Some(parent) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        parent.weight = parent.weight.saturating_add(weight);
        match &mut parent.parts {
            Parts::List(items) => items.push(node),
            Parts::Map(map) => map.add(node)?,
        }
        Ok(())
    }

    fn weigh(&mut self, weight: usize, at: Position) -> Result<(), Fault> {
        self.expanded = self.expanded.saturating_add(weight);
        if self.expanded > MAX_EXPANDED {
            return Err(Fault::at(
                at,
                format!("holds more than {MAX_EXPANDED} bytes once aliases are expanded"),
            ));
        }
        Ok(())
    }
}

impl OpenMap {
    fn add(&mut self, node: Rc<Node>) -> Result<(), Fault> {
        match self.key.take() {
            None => self.key = Some((node.at, self.key_of(&node)?)),
            Some((at, Key::Name(key))) => self.entries.push(Entry { at, key, value: node }),
            Some((_, Key::Merge)) => self.merged.push(node),
        }
        Ok(())
    }

    fn key_of(&mut self, node: &Node) -> Result<Key, Fault> {
        let Content::Scalar { text, plain } = &node.content else {
            return Err(Fault::at(node.at, "a key must be a word, not a list or a mapping"));
        };
        match (text.as_str(), plain) {
            ("<<", true) => return Ok(Key::Merge),
            (text, true) if Plain::of(text) == Plain::Null => {
                return Err(Fault::at(node.at, "a key must be a word, not null"));
            }
            _ => {}
        }
        match self.lines.insert(text.clone(), node.at.line) {
            None => Ok(Key::Name(text.clone())),
            Some(line) => {
                let key = shortened(text);
                Err(Fault::at(node.at, format!("duplicate key {key:?}, given before on line {line}")))
            }
        }
    }

    /// Adds what merge keys bring; what the mapping says itself wins, then what was named first.
    fn finish(mut self) -> Result<Vec<Entry>, Fault> {
        for source in std::mem::take(&mut self.merged) {
            match &source.content {
                Content::List(sources) => sources.iter().try_for_each(|s| self.merge(s))?,
                Content::Map(_) | Content::Scalar { .. } => self.merge(&source)?,
            }
        }
        Ok(self.entries)
    }

    fn merge(&mut self, source: &Node) -> Result<(), Fault> {
        let Content::Map(entries) = &source.content else {
            return Err(Fault::at(source.at, "'<<' wants a mapping or a list of mappings"));
        };
        for entry in entries {
            if self.lines.insert(entry.key.clone(), entry.at.line).is_none() {
                self.entries.push(entry.clone());
            }
        }
        Ok(())
    }
}

/// Tells `!!str` (and the `!` that means "not plain") from tags that say something else.
fn split_tag(tag: Option<&Tag>) -> (Option<String>, bool) {
    match tag {
        None => (None, false),
        Some(tag) if tag.is_yaml_core_schema_tag("str") || tag.original() == "!" => (None, true),
        Some(tag) => (Some(tag.original()), false),
    }
}
