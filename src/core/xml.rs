//! XML as libvirt writes it: parsed within limits, found by namespace and name, and changed by ranges of its text.
//!
//! A change replaces ranges and keeps every other byte. A definition that is read into types and written anew would
//! lose everything that the types do not have.

use std::ops::Range;

use roxmltree::{Document, Node, ParsingOptions};

/// The longest accepted text. libvirt's protocol limits strings to 4 MiB (`REMOTE_STRING_MAX`).
pub const MAX_TEXT: usize = 4 << 20;

/// The maximum number of nodes in a text; a domain has some hundreds.
pub const MAX_NODES: u32 = 200_000;

/// Parses XML. Document types are refused: libvirt writes none, and entities could expand without bound.
///
/// # Errors
/// Why it cannot be read.
pub fn parse_limited(xml: &str) -> Result<Document<'_>, String> {
    if xml.len() > MAX_TEXT {
        return Err(format!("it has {} bytes; libvirt gives {MAX_TEXT} at most", xml.len()));
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(xml, options).map_err(|e| e.to_string())
}

/// Whether a node is libvirt's own element of that name. libvirt's own elements have no namespace, so an `<x:disk>` in
/// somebody's metadata is none.
pub fn is_tag(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name && node.tag_name().namespace().is_none()
}

/// The first child element with a name.
pub fn child_element<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| is_tag(*child, name))
}

/// The element at the end of a path of names.
pub fn find_element<'a, 'i>(node: Node<'a, 'i>, path: &[&str]) -> Option<Node<'a, 'i>> {
    path.iter().try_fold(node, |at, name| child_element(at, name))
}

/// All text below a node, unescaped.
pub fn text_of(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|n| n.text()).collect()
}

/// Replaces ranges of the text that do not overlap.
pub fn replace_ranges(xml: &str, mut changes: Vec<(Range<usize>, String)>) -> String {
    changes.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut changed = xml.to_owned();
    for (range, text) in changes {
        changed.replace_range(range, &text);
    }
    changed
}

/// Adds text after everything in an element, on a line of its own if its child elements are.
pub fn append_text(xml: &str, element: Node<'_, '_>, text: &str) -> String {
    if let Some(last) = element.last_element_child() {
        let at = last.range().end;
        let line = leading_space(xml, last.range().start);
        let begin = if line.starts_with('\n') { line } else { "" };
        return replace_ranges(xml, vec![(at..at, format!("{begin}{text}"))]);
    }
    match inner_range(xml, element) {
        Some(inner) => replace_ranges(xml, vec![(inner.end..inner.end, text.to_owned())]),
        None => {
            let own = element.range();
            let tag = xml.get(own.clone()).unwrap_or_default();
            let name = tag.get(1..name_end(tag)).unwrap_or_default().to_owned();
            let open = tag.trim_end_matches("/>").trim_end();
            replace_ranges(xml, vec![(own, format!("{open}>{text}</{name}>"))])
        }
    }
}

/// The range of an element or attribute, with the space before it.
pub fn with_leading_space(xml: &str, range: Range<usize>) -> Range<usize> {
    range.start - leading_space(xml, range.start).len()..range.end
}

/// The space before a place, back to the last line break in it.
fn leading_space(xml: &str, at: usize) -> &str {
    let before = xml.get(..at).unwrap_or_default();
    let space = &before[before.trim_end().len()..];
    &space[space.rfind('\n').unwrap_or_default()..]
}

/// The range between an element's tags; `None` if it has only one (`<acpi/>`).
pub fn inner_range(xml: &str, element: Node<'_, '_>) -> Option<Range<usize>> {
    let own = element.range();
    let text = xml.get(own.clone())?;
    let mut quote = None;
    let open = text.char_indices().find_map(|(at, c)| match (quote, c) {
        (Some(end), c) if c == end => {
            quote = None;
            None
        }
        (None, '"' | '\'') => {
            quote = Some(c);
            None
        }
        (None, '>') => Some(at),
        _ => None,
    })?;
    if text.get(..open)?.ends_with('/') {
        return None;
    }
    Some(own.start + open + 1..own.start + text.rfind("</")?)
}

/// The end of the name in a tag that begins with `<`.
pub fn name_end(tag: &str) -> usize {
    tag.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap_or(tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(xml: &str) -> String {
        let document = parse_limited(xml).unwrap();
        append_text(xml, document.root_element(), "<b/>")
    }

    #[test]
    fn text_is_appended_to_every_form_of_an_element() {
        assert_eq!(append("<a>x</a>"), "<a>x<b/></a>");
        assert_eq!(append("<a></a>"), "<a><b/></a>");
        assert_eq!(append("<a/>"), "<a><b/></a>");
        assert_eq!(append("<a x='>'  />"), "<a x='>'><b/></a>");
        assert_eq!(append("<x:a xmlns:x='u' y=\"'>\"/>"), "<x:a xmlns:x='u' y=\"'>\"><b/></x:a>");
        assert_eq!(append("<a x='/'><c/></a>"), "<a x='/'><c/><b/></a>");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(append("<a>\n  <c/>\n</a>"), "<a>\n  <c/>\n  <b/>\n</a>");
        assert_eq!(append("<a> <c/> </a>"), "<a> <c/><b/> </a>");
        let xml = "<a>\n\n  <c/>\n</a>";
        assert_eq!(replace_ranges(xml, vec![(with_leading_space(xml, 7..11), String::new())]), "<a>\n\n</a>");
    }

    #[test]
    fn document_types_are_refused() {
        let bomb = "<!DOCTYPE domain [<!ENTITY a 'aaaa'>]><domain>&a;</domain>";
        assert!(parse_limited(bomb).unwrap_err().contains("DTD"));
    }
}
