//! Parses YAML text into trees.

use serde_saphyr::granit_parser::{self, Marker, Parser};

use super::builder::{Builder, ParsedDocuments};
use super::field_error::Position;
use super::node::Node;
use super::rules::{BrokenRule, MAX_DEPTH, ReadError, Rules};
use super::yaml11;

/// Reads all documents of a text; a text without any is an empty list.
///
/// # Errors
/// What is not YAML or not the same to YAML 1.1 and 1.2, a key that comes twice, a tag or a key that a
/// loader of plain data would refuse, nesting deeper than [`MAX_DEPTH`], and aliases that stand for more
/// than [`MAX_ALIASED_NODES`](super::node::MAX_ALIASED_NODES) or
/// [`MAX_ALIASED_BYTES`](super::node::MAX_ALIASED_BYTES).
pub fn read_documents(text: &str) -> Result<Vec<Node>, ReadError> {
    read_with_rules(text, Rules::CloudConfig).map(|documents| documents.nodes)
}

/// Reads all documents of a text that foundry itself defines.
///
/// # Errors
/// The first thing that is not YAML or that a limit rules out.
pub fn read_manifests(text: &str) -> Result<ParsedDocuments, ReadError> {
    read_with_rules(text, Rules::Manifest)
}

fn read_with_rules(text: &str, rules: Rules) -> Result<ParsedDocuments, ReadError> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_anchor_events: true,
        // The parser looks ahead: its limits lie behind the builder's, which says what it is about.
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
    };
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
    Position { line: marker.line(), column: marker.col() + 1 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    #[test]
    fn aliases_count_where_they_stand() {
        let nested = |inner: &str, levels| format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels));
        let text = |levels| format!("- &a {}\n- {}\n", nested("x", 32), nested("*a", levels - 33));
        for rules in [Rules::Manifest, Rules::CloudConfig] {
            assert!(read_with_rules(&text(MAX_DEPTH), rules).is_ok());
            let told = read_with_rules(&text(MAX_DEPTH + 1), rules).err().unwrap();
            assert_eq!((told.broken, told.at.line), (BrokenRule::Depth, 2));
        }
    }

    #[test]
    fn an_alias_is_the_same_node_and_a_merge_adds_no_level() {
        let chain: String = (1..2 * MAX_DEPTH).map(|i| format!("- &m{i} {{<<: *m{}}}\n", i - 1)).collect();
        let read = read_documents(&format!("- &m0 {{a: x}}\n{chain}")).unwrap();
        assert_eq!(read[0].size().levels, 2);
        assert_eq!(read_documents("[&a [x, y], *a]").unwrap()[0].size().nodes, 7);
    }

    #[test]
    fn what_cloud_init_would_refuse_is_a_doubt_in_a_manifest_and_the_first_one_counts() {
        let text = "a: b\tc\nd: !vault e\n'1': f\n";
        let manifest = read_manifests(text).unwrap();
        assert_eq!(manifest.first_violation, read_documents(text).err());
        assert_eq!(manifest.first_violation.unwrap().broken, BrokenRule::Tab);
        assert_eq!(manifest.nodes[0].get("d").unwrap().tag(), Some("!vault"));
    }

    #[test]
    fn keys_are_told_apart_by_text_in_a_manifest_only() {
        assert!(read_documents("1: a\n'1': b\n~: c\n").is_ok());
        let told = |text| read_manifests(text).err().unwrap().broken;
        assert_eq!(told("1: a\n'1': b\n"), BrokenRule::KeyTwice { key: "1".into(), first_line: 1 });
        assert_eq!(told("~: c\n"), BrokenRule::NullKey);
    }
}
