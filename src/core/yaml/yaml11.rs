//! Rejects text that YAML 1.1 and YAML 1.2 parsers read differently.
//!
//! PyYAML, the YAML reader of cloud-init, follows YAML 1.1; foundry's parser follows YAML 1.2. If the two read a text
//! differently, or if PyYAML's `SafeLoader` refuses it, it is refused here.

use serde_saphyr::granit_parser::Tag;

use super::field_error::Position;
use super::rules::BrokenRule;

/// Namespace of YAML's own tags; `!!str` is short for it followed by `str`.
const CORE: &str = "tag:yaml.org,2002:";

/// The tags of scalars that PyYAML's `SafeLoader` converts to plain data.
const SCALAR_TAGS: [&str; 7] = ["!!str", "!!null", "!!bool", "!!int", "!!float", "!!binary", "!!timestamp"];

/// Finds characters that YAML forbids (PyYAML's `reader.py` fails on them) and those that end a line, and so a comment,
/// only in YAML 1.1. In double quotes all of them can be written as escapes.
pub(super) fn check_characters(text: &str) -> Option<(BrokenRule, Position)> {
    text.lines().enumerate().find_map(|(line, content)| {
        let (column, c) = content.chars().enumerate().find(|(_, c)| is_refused(*c))?;
        Some((BrokenRule::Character(c), Position { line: line + 1, column: column + 1 }))
    })
}

fn is_refused(c: char) -> bool {
    (c.is_control() && c != '\t' && c != '\r')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Finds unquoted text that is one word in YAML 1.2 but not in YAML 1.1: there `[?a]` begins a key, and a tab ends the
/// word.
pub(super) fn check_plain(text: &str, in_brackets: bool) -> Option<BrokenRule> {
    if text.contains('\t') {
        return Some(BrokenRule::Tab);
    }
    (in_brackets && text.starts_with('?')).then_some(BrokenRule::QuestionMark)
}

/// Finds anchors with special characters: `&a:` is an anchor `a:` in YAML 1.2, but an anchor `a` and a colon in YAML
/// 1.1.
pub(super) fn check_anchor(name: &str) -> Option<BrokenRule> {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (!is_plain).then_some(BrokenRule::Anchor)
}

/// Finds a scalar's tag that is not for plain data.
pub(super) fn check_scalar_tag(tag: Option<&Tag>) -> Option<BrokenRule> {
    tag.map(tag_name).filter(|name| !SCALAR_TAGS.contains(&name.as_str())).map(BrokenRule::Tag)
}

/// Finds a tag of a list or mapping other than its own (`own`).
pub(super) fn check_collection_tag(tag: Option<&Tag>, own: &str) -> Option<BrokenRule> {
    tag.map(tag_name).filter(|name| name != own).map(BrokenRule::Tag)
}

/// Returns a tag as it is written in a text without directives.
pub(super) fn tag_name(tag: &Tag) -> String {
    tag.suffix_in_namespace(CORE).map_or_else(|| tag.original(), |name| format!("!!{name}"))
}
