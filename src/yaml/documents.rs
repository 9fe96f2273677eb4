//! YAML text to trees.

use serde_saphyr::granit_parser::{self, Marker, Parser};

use super::broken::{BrokenRule, ReadError, Rules};
use super::builder::Builder;
use super::fault::Position;
use super::node::Node;
use super::portable;

/// The deepest nesting of mappings and lists that is read, aliases expanded; a manifest needs six levels,
/// a cloud-config some more. Everything that walks a tree does so by recursion, and PyYAML itself gives up
/// near 200 levels (Python's limit of 1,000 frames).
pub const MAX_DEPTH: usize = 64;

/// All documents of a text, empty ones (as a null scalar) included.
pub(crate) struct Documents {
    pub(crate) nodes: Vec<Node>,
    /// The first thing, if any, that would be refused in a cloud-config.
    pub(crate) doubt: Option<ReadError>,
}

/// Reads all documents of a text; a text without any is an empty list.
///
/// # Errors
/// What is not YAML or not the same to YAML 1.1 and 1.2, a key that comes twice, a tag or a key that a
/// loader of plain data would refuse, nesting deeper than [`MAX_DEPTH`], and aliases that stand for more
/// than [`MAX_ALIASED_NODES`](super::node::MAX_ALIASED_NODES) or
/// [`MAX_ALIASED_BYTES`](super::node::MAX_ALIASED_BYTES).
pub fn read_documents(text: &str) -> Result<Vec<Node>, ReadError> {
    documents(text, Rules::CloudConfig).map(|documents| documents.nodes)
}

/// Reads all documents of a text that foundry itself defines.
///
/// # Errors
/// The first thing that is not YAML or that a limit rules out.
pub(crate) fn read_manifests(text: &str) -> Result<Documents, ReadError> {
    documents(text, Rules::Manifest)
}

fn documents(text: &str, rules: Rules) -> Result<Documents, ReadError> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_anchor_events: true,
        // The parser looks ahead: its limits lie behind the builder's, which says what it is about.
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(rules);
    if let Some((broken, at)) = portable::check_characters(text) {
        builder.refuse(broken, at)?;
    }
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, position(span.start))?,
            Err(e) => builder.refuse(BrokenRule::Syntax(e.info().to_owned()), position(*e.marker()))?,
        }
    }
    Ok(builder.finish())
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
