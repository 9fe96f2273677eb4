//! YAML text to trees.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{
    self, Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, StructureStyle, Tag,
};

use super::node::{Mapping, Node, Scalar};

/// The deepest nesting that is read. Everything that walks a tree does so by recursion, and PyYAML
/// itself gives up near 200 levels (Python's limit of 1,000 frames).
pub const MAX_DEPTH: usize = 64;
/// How many nodes all aliases of a text together may stand for; the text's own nodes are not counted.
pub const MAX_ALIASED_NODES: usize = 100_000;
/// How many bytes of text all aliases together may stand for.
pub const MAX_ALIASED_BYTES: usize = 4 << 20;

/// Where YAML's own tags live; `!!str` is short for it and `str`.
const CORE: &str = "tag:yaml.org,2002:";

/// Why a text cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line} column {column}")]
pub struct ReadError {
    /// What is wrong.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

impl ReadError {
    fn at(place: Marker, message: impl Into<String>) -> Self {
        Self { message: message.into(), line: place.line(), column: place.col() + 1 }
    }
}

impl From<ScanError> for ReadError {
    fn from(error: ScanError) -> Self {
        Self::at(*error.marker(), error.info())
    }
}

/// Reads all documents of a text; a text without any is an empty list.
///
/// # Errors
/// What is not YAML or not the same to YAML 1.1 and 1.2, a key that comes twice, a tag or a key that a loader of plain data would refuse,
/// nesting deeper than [`MAX_DEPTH`], and aliases that stand for more than [`MAX_ALIASED_NODES`].
pub fn read_documents(text: &str) -> Result<Vec<Node>, ReadError> {
    check_characters(text)?;
    let mut reader = Reader::new(text);
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::DocumentStart(..), _) => {
                let first = reader.next()?;
                documents.push(reader.node(first, 1)?);
            }
            (Event::StreamEnd, _) => return Ok(documents),
            _ => {}
        }
    }
}

/// What an anchor stands for.
struct Anchored {
    node: Node,
    height: usize,
    nodes: usize,
    bytes: usize,
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    nodes_left: usize,
    bytes_left: usize,
    /// How many `[` and `{` are open.
    flow: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            emit_anchor_events: true,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: HashMap::new(),
            nodes_left: MAX_ALIASED_NODES,
            bytes_left: MAX_ALIASED_BYTES,
            flow: 0,
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), ReadError> {
        loop {
            match self.parser.next() {
                Some(Ok((Event::Anchor(_, name), span))) => check_anchor(&name, span.start)?,
                Some(event) => return Ok(event?),
                None => {
                    return Err(ReadError { message: "the text ends too early".into(), line: 1, column: 1 });
                }
            }
        }
    }

    /// The node that begins with an event, at a depth that counts from 1.
    fn node(&mut self, (event, span): (Event<'t>, Span), depth: usize) -> Result<Node, ReadError> {
        check_depth(depth, span.start)?;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if style == ScalarStyle::Plain {
                    check_plain(&text, self.flow, span.start)?;
                }
                let scalar = scalar(text, style, tag.as_deref(), span.start)?;
                Ok(self.anchored(anchor, Node::Scalar(scalar)))
            }
            Event::SequenceStart(style, anchor, tag) => {
                check_collection_tag(tag.as_deref(), "seq", span.start)?;
                let items = self.inside(style, |reader| reader.sequence(depth))?;
                Ok(self.anchored(anchor, Node::Sequence(items)))
            }
            Event::MappingStart(style, anchor, tag) => {
                check_collection_tag(tag.as_deref(), "map", span.start)?;
                let mapping = self.inside(style, |reader| reader.mapping(depth))?;
                Ok(self.anchored(anchor, Node::Mapping(mapping)))
            }
            Event::Alias(anchor) => self.alias(anchor, depth, span.start),
            _ => Err(ReadError::at(span.start, "a value is expected")),
        }
    }

    /// Reads a collection's entries, counting the brackets around them.
    fn inside<T>(
        &mut self,
        style: StructureStyle,
        read: impl FnOnce(&mut Self) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let brackets = usize::from(style == StructureStyle::Flow);
        self.flow += brackets;
        let entries = read(self);
        self.flow -= brackets;
        entries
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, ReadError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                item => items.push(self.node(item, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Mapping, ReadError> {
        let mut entries = Entries::default();
        loop {
            let event = self.next()?;
            let place = event.1.start;
            if matches!(event.0, Event::MappingEnd) {
                return Ok(entries.finish());
            }
            let merge = is_merge_key(&event.0);
            let Node::Scalar(key) = self.node(event, depth + 1)? else {
                return Err(ReadError::at(place, "a key must be a single value, not a list or a mapping"));
            };
            let value = self.next()?;
            let value_place = value.1.start;
            let value = self.node(value, depth + 1)?;
            entries.add_key(&key, place)?;
            if merge { entries.merge(value, value_place)? } else { entries.own.push((key, value)) }
        }
    }

    fn anchored(&mut self, anchor: usize, node: Node) -> Node {
        if anchor != 0 {
            let (nodes, bytes) = node.weight();
            let entry = Anchored { height: node.height(), nodes, bytes, node: node.clone() };
            self.anchors.insert(anchor, entry);
        }
        node
    }

    fn alias(&mut self, anchor: usize, depth: usize, place: Marker) -> Result<Node, ReadError> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(ReadError::at(place, "an alias stands inside what it stands for"));
        };
        check_depth(depth + target.height - 1, place)?;
        let left = self.nodes_left.checked_sub(target.nodes).zip(self.bytes_left.checked_sub(target.bytes));
        let Some((nodes, bytes)) = left else {
            return Err(ReadError::at(place, "the aliases stand for too much text"));
        };
        (self.nodes_left, self.bytes_left) = (nodes, bytes);
        Ok(target.node.clone())
    }
}

/// The entries of a mapping while it is read.
#[derive(Default)]
struct Entries {
    own: Vec<(Scalar, Node)>,
    /// What `<<` brings in; the mapping's own entries win over it.
    merged: Vec<(Scalar, Node)>,
    seen: HashSet<String>,
}

impl Entries {
    fn add_key(&mut self, key: &Scalar, place: Marker) -> Result<(), ReadError> {
        if self.seen.insert(fingerprint(key)) {
            return Ok(());
        }
        Err(ReadError::at(place, format!("the key `{}` comes twice", excerpt(key.text()))))
    }

    /// Applies `<<` (YAML 1.1's merge type, which PyYAML follows): a mapping or a list of mappings, of
    /// which the earlier one wins.
    fn merge(&mut self, value: Node, place: Marker) -> Result<(), ReadError> {
        let sources = match value {
            Node::Sequence(items) => items,
            other => vec![other],
        };
        for source in sources {
            let Node::Mapping(mapping) = source else {
                return Err(ReadError::at(place, "`<<` takes a mapping or a list of mappings"));
            };
            self.merged.extend(mapping.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        Ok(())
    }

    fn finish(mut self) -> Mapping {
        for (key, value) in self.merged {
            if self.seen.insert(fingerprint(&key)) {
                self.own.push((key, value));
            }
        }
        Mapping::from_distinct(self.own)
    }
}

/// What is the same for keys that are the same.
fn fingerprint(key: &Scalar) -> String {
    let (meaning, text) = key.identity();
    format!("{meaning:?} {text}")
}

/// Only the plain, untagged `<<` merges.
fn is_merge_key(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

fn check_depth(depth: usize, place: Marker) -> Result<(), ReadError> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(ReadError::at(place, format!("nested deeper than {MAX_DEPTH} levels")))
}

/// Refuses what no YAML text may hold (PyYAML's `reader.py` stops there) and what ends a line, and so a
/// comment, in YAML 1.1 only. Between double quotes all of them can be written as escapes.
fn check_characters(text: &str) -> Result<(), ReadError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (i, line) in text.lines().enumerate() {
        if let Some((column, c)) = line.chars().enumerate().find(|(_, c)| is_refused(*c)) {
            let message =
                format!("U+{:04X} must be written as an escape between double quotes,", u32::from(c));
            return Err(ReadError { message, line: i + 1, column: column + 1 });
        }
    }
    Ok(())
}

fn is_refused(c: char) -> bool {
    (c.is_control() && c != '\t' && c != '\r')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Refuses unquoted text that YAML 1.2 takes for one word and YAML 1.1 does not: `[?a]` begins a key there,
/// and a tab ends the word.
fn check_plain(text: &str, flow: usize, place: Marker) -> Result<(), ReadError> {
    if text.contains('\t') {
        return Err(ReadError::at(place, "text with a tab in it must be quoted"));
    }
    if flow > 0 && text.starts_with('?') {
        return Err(ReadError::at(place, "what begins with `?` must be quoted between brackets"));
    }
    Ok(())
}

/// `&a:` is an anchor `a:` to YAML 1.2, and an anchor `a` and a colon to YAML 1.1.
fn check_anchor(name: &str, place: Marker) -> Result<(), ReadError> {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Ok(());
    }
    Err(ReadError::at(place, "an anchor's name has only letters, digits, `-` and `_`"))
}

/// The tags of scalars that PyYAML's `SafeLoader`, cloud-init's, makes plain data of.
const SCALAR_TAGS: [&str; 6] = ["null", "bool", "int", "float", "binary", "timestamp"];

fn scalar(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    place: Marker,
) -> Result<Scalar, ReadError> {
    match tag.map(tag_name) {
        None if style == ScalarStyle::Plain => Ok(Scalar::plain(text)),
        None => Ok(Scalar::string(text)),
        Some(name) if name == format!("{CORE}str") => Ok(Scalar::string(text)),
        Some(name) => match SCALAR_TAGS.iter().find(|t| name == format!("{CORE}{t}")) {
            Some(known) => Ok(Scalar::tagged(text, known)),
            None => Err(unknown_tag(&name, place)),
        },
    }
}

/// A list or a mapping may say that it is one, and nothing else.
fn check_collection_tag(tag: Option<&Tag>, own: &str, place: Marker) -> Result<(), ReadError> {
    match tag.map(tag_name) {
        Some(name) if name != format!("{CORE}{own}") => Err(unknown_tag(&name, place)),
        _ => Ok(()),
    }
}

fn tag_name(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

fn unknown_tag(name: &str, place: Marker) -> ReadError {
    let shown = match name.strip_prefix(CORE) {
        Some(core) => format!("!!{core}"),
        None => name.to_owned(),
    };
    ReadError::at(place, format!("the tag `{}` is not one of plain data here", excerpt(&shown)))
}

/// The beginning of a text, for a message.
fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}
