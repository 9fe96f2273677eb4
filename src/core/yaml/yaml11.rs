//! Rejects text that YAML 1.1 and YAML 1.2 parsers read differently.
//!
//! PyYAML, cloud-init's reader, follows YAML 1.1, and foundry's parser YAML 1.2. Where the two take a text
//! for different things, or PyYAML's `SafeLoader` refuses it, it is better refused here.

use serde_saphyr::granit_parser::Tag;

use super::field_error::Position;
use super::rules::BrokenRule;

/// Where YAML's own tags live; `!!str` is short for it and `str`.
const CORE: &str = "tag:yaml.org,2002:";

/// The tags of scalars that PyYAML's `SafeLoader`, cloud-init's, makes plain data of.
const SCALAR_TAGS: [&str; 7] = ["!!str", "!!null", "!!bool", "!!int", "!!float", "!!binary", "!!timestamp"];

/// Finds what no YAML text may hold (PyYAML's `reader.py` stops there) and what ends a line, and so a
/// comment, in YAML 1.1 only. Between double quotes all of them can be written as escapes.
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

/// Finds unquoted text that YAML 1.2 takes for one word and YAML 1.1 does not: `[?a]` begins a key there,
/// and a tab ends the word.
pub(super) fn check_plain(text: &str, in_brackets: bool) -> Option<BrokenRule> {
    if text.contains('\t') {
        return Some(BrokenRule::Tab);
    }
    (in_brackets && text.starts_with('?')).then_some(BrokenRule::QuestionMark)
}

/// `&a:` is an anchor `a:` to YAML 1.2, and an anchor `a` and a colon to YAML 1.1.
pub(super) fn check_anchor(name: &str) -> Option<BrokenRule> {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (!is_plain).then_some(BrokenRule::Anchor)
}

/// Finds a tag that a scalar of plain data does not have.
pub(super) fn check_scalar_tag(tag: Option<&Tag>) -> Option<BrokenRule> {
    tag.map(tag_name).filter(|name| !SCALAR_TAGS.contains(&name.as_str())).map(BrokenRule::Tag)
}

/// A list or a mapping may say that it is one (`own`), and nothing else.
pub(super) fn check_collection_tag(tag: Option<&Tag>, own: &str) -> Option<BrokenRule> {
    tag.map(tag_name).filter(|name| name != own).map(BrokenRule::Tag)
}

/// A tag as it is written in a text without directives of its own.
pub(super) fn tag_name(tag: &Tag) -> String {
    tag.suffix_in_namespace(CORE).map_or_else(|| tag.original(), |name| format!("!!{name}"))
}
