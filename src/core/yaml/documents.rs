//! Parses YAML text into trees.

use serde_saphyr::granit_parser::{self, Marker, Parser};

use super::builder::{Builder, ParsedDocuments};
use super::field_error::Position;
use super::node::Node;
use super::rules::{BrokenRule, MAX_DEPTH, ReadError, Rules};
use super::yaml11;

/// Reads all documents of a text with the rules for a cloud-config. A text without documents is an empty list.
///
/// # Errors
/// Text that is not YAML or that YAML 1.1 and 1.2 read differently, duplicate keys, tags and keys that a loader of
/// plain data would refuse, nesting deeper than [`MAX_DEPTH`], and aliases that stand for more than
/// [`MAX_ALIASED_NODES`](super::node::MAX_ALIASED_NODES) or [`MAX_ALIASED_BYTES`](super::node::MAX_ALIASED_BYTES).
pub fn read_documents(text: &str) -> Result<Vec<Node>, ReadError> {
    read_with_rules(text, Rules::CloudConfig).map(|documents| documents.nodes)
}

/// Reads all documents of a text in a format that foundry defines.
///
/// # Errors
/// The first violation of YAML or of a limit.
pub fn read_manifests(text: &str) -> Result<ParsedDocuments, ReadError> {
    read_with_rules(text, Rules::Manifest)
}

fn read_with_rules(text: &str, rules: Rules) -> Result<ParsedDocuments, ReadError> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_anchor_events: true,
        // The parser's own limits are higher than the builder's, whose message says which limit was reached.
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
    };
    // A byte order mark at the start is allowed; `check_characters` refuses it anywhere else.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(rules);
    if let Some((broken, at)) = yaml11::check_characters(text) {
        builder.report_violation(broken, at)?;
    }
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take_event(event, position_of(span.start))?,
            Err(e) => {
                builder.report_violation(BrokenRule::Syntax(e.info().to_owned()), position_of(*e.marker()))?
            }
        }
    }
    Ok(builder.into_documents())
}

fn position_of(marker: Marker) -> Position {
    // The parser counts lines from 1 and columns from 0.
    Position { line: marker.line(), column: marker.col() + 1 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    #[test]
    fn aliases_count_at_their_place() {
        let nested = |inner: &str, levels| format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels));
        let text = |levels| format!("- &a {}\n- {}\n", nested("x", 32), nested("*a", levels - 33));
        for rules in [Rules::Manifest, Rules::CloudConfig] {
            assert!(read_with_rules(&text(MAX_DEPTH), rules).is_ok());
            let error = read_with_rules(&text(MAX_DEPTH + 1), rules).err().unwrap();
            assert_eq!((error.broken, error.at.line), (BrokenRule::Depth, 2));
        }
    }

    #[test]
    fn alias_is_the_same_node_and_merge_adds_no_level() {
        let chain: String = (1..2 * MAX_DEPTH).map(|i| format!("- &m{i} {{<<: *m{}}}\n", i - 1)).collect();
        let read = read_documents(&format!("- &m0 {{a: x}}\n{chain}")).unwrap();
        assert_eq!(read[0].size().levels, 2);
        assert_eq!(read_documents("[&a [x, y], *a]").unwrap()[0].size().nodes, 7);
    }

    #[test]
    fn first_violation_of_cloud_config_rules_is_kept_for_manifest() {
        let text = "a: b\tc\nd: !vault e\n'1': f\n";
        let manifest = read_manifests(text).unwrap();
        assert_eq!(manifest.first_violation, read_documents(text).err());
        assert_eq!(manifest.first_violation.unwrap().broken, BrokenRule::Tab);
        assert_eq!(manifest.nodes[0].get("d").unwrap().tag(), Some("!vault"));
    }

    #[test]
    fn keys_of_manifest_are_compared_by_text() {
        assert!(read_documents("1: a\n'1': b\n~: c\n").is_ok());
        let broken_rule = |text| read_manifests(text).err().unwrap().broken;
        assert_eq!(broken_rule("1: a\n'1': b\n"), BrokenRule::KeyTwice { key: "1".into(), first_line: 1 });
        assert_eq!(broken_rule("~: c\n"), BrokenRule::NullKey);
    }
}
