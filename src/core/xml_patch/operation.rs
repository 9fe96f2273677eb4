//! What one entry does at the place that its selector finds.

use quick_xml::escape::escape;
use roxmltree::{Document, Node};

use super::selector::{LastStep, PatchSelector, QEMU_NAMESPACE};
use crate::xml::{
    append_text, inner_range, is_tag, name_end, parse_limited, replace_ranges, text_of, with_leading_space,
};

/// The most bytes of a fragment. All entries are in the record, which has to fit into libvirt's strings.
pub const MAX_FRAGMENT: usize = 64 << 10;

/// The most levels of a fragment; libvirt's XML has fewer.
const MAX_DEPTH: usize = 64;

/// An operation of RFC 5261.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchOperation {
    /// Adds elements at the end of the element, or an attribute with this value.
    Add(String),
    /// Puts an element, or the value of an attribute or text, in the place of the present one.
    Replace(String),
    /// Removes an element, an attribute or a text.
    Remove,
}

/// A field of an entry, and what is wrong with it.
type Refusal = (&'static str, String);

/// The element around a fragment when it is parsed alone.
const WRAPPER: &str = "fragment";

impl PatchOperation {
    /// The name of its field in the manifest.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Replace(_) => "replace",
            Self::Remove => "remove",
        }
    }

    /// Checks what can be checked without a domain: the fragment, and whether it fits the selector.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, selector: &PatchSelector) -> Result<(), String> {
        let (Self::Add(text) | Self::Replace(text)) = self else { return Ok(()) };
        if text.len() > MAX_FRAGMENT {
            return Err(format!("has {} bytes; the maximum is {MAX_FRAGMENT}", text.len()));
        }
        let is_element = match (self, &selector.last) {
            (Self::Add(_), LastStep::Text) => {
                return Err("cannot be added to text(); replace the text".to_owned());
            }
            (_, LastStep::Element) => true,
            (_, LastStep::Attribute(name)) if name.local == "passwd" => return Err(SECRET.to_owned()),
            (_, LastStep::Attribute(_)) => {
                if text.chars().any(char::is_control) {
                    return Err("is the value of an attribute, which has one line".to_owned());
                }
                false
            }
            (_, LastStep::Text) => false,
        };
        if !is_element {
            let is_carried = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
            let is_all = text.chars().all(|c| is_carried(c) && !matches!(c, '\u{fffe}' | '\u{ffff}'));
            return if is_all { Ok(()) } else { Err("has characters that XML cannot carry".to_owned()) };
        }
        let wrapped = wrap(text, &declarations(None));
        let document = parse_fragment(&wrapped)?;
        let elements = document.root_element().children().filter(Node::is_element).count();
        match self {
            Self::Replace(_) if elements != 1 => {
                Err(format!("must be one element, in the place of one; it has {elements}"))
            }
            Self::Add(_) if elements == 0 => Err("has no element".to_owned()),
            _ => Ok(()),
        }
    }

    /// Applies the operation to a domain's XML.
    ///
    /// # Errors
    /// The selector finds nothing, or more than one node; or the fragment does not fit.
    pub(super) fn apply(&self, xml: &str, selector: &PatchSelector) -> Result<String, Refusal> {
        let document = parse_limited(xml).map_err(|cause| ("xpath", cause))?;
        let element = only_one(&selector.elements(&document))?;
        let is_whole = element == document.root_element() && selector.last == LastStep::Element;
        if is_whole && !matches!(self, Self::Add(_)) {
            return Err(("xpath", "is the whole domain".to_owned()));
        }
        match &selector.last {
            LastStep::Element => self.apply_to_element(xml, &document, element),
            LastStep::Attribute(_) => self.apply_to_attribute(xml, selector, element),
            LastStep::Text => self.apply_to_text(xml, element),
        }
    }

    fn apply_to_element(
        &self,
        xml: &str,
        document: &Document<'_>,
        element: Node<'_, '_>,
    ) -> Result<String, Refusal> {
        let (Self::Add(fragment) | Self::Replace(fragment)) = self else {
            return Ok(replace_ranges(xml, vec![(with_leading_space(xml, element.range()), String::new())]));
        };
        let wrapped = wrap(fragment, &declarations(Some(element)));
        let parsed = parse_fragment(&wrapped).map_err(|cause| (self.field(), cause))?;
        let changed = match self {
            Self::Add(_) => append_text(xml, element, fragment.trim()),
            _ => replace_ranges(xml, vec![(element.range(), fragment.trim().to_owned())]),
        };
        // libvirt declares its own prefix at the root, too.
        let has_qemu = parsed.descendants().any(|node| node.tag_name().namespace() == Some(QEMU_NAMESPACE));
        let root = document.root_element();
        if has_qemu && root.lookup_namespace_uri(Some("qemu")).is_none() {
            let at = root.range().start + name_end(xml.get(root.range()).unwrap_or_default());
            return Ok(replace_ranges(&changed, vec![(at..at, format!(" xmlns:qemu='{QEMU_NAMESPACE}'"))]));
        }
        Ok(changed)
    }

    fn apply_to_attribute(
        &self,
        xml: &str,
        selector: &PatchSelector,
        element: Node<'_, '_>,
    ) -> Result<String, Refusal> {
        let LastStep::Attribute(name) = &selector.last else { return Ok(xml.to_owned()) };
        let found = name.attribute_of(element);
        let tag = element.tag_name().name();
        let change = match (self, found) {
            (Self::Add(_), Some(_)) => {
                let message = format!("<{tag}> has this attribute; replace it");
                return Err(("xpath", message));
            }
            (Self::Add(value), None) => {
                let own = element.range();
                let at = own.start + name_end(xml.get(own.clone()).unwrap_or_default());
                (at..at, format!(" {}='{}'", name.qualified(), escape(value.as_str())))
            }
            (_, None) => return Err(("xpath", format!("matches nothing: <{tag}> has no such attribute"))),
            (Self::Replace(value), Some(found)) => (found.range_value(), escape(value.as_str()).into_owned()),
            (Self::Remove, Some(found)) => (with_leading_space(xml, found.range()), String::new()),
        };
        Ok(replace_ranges(xml, vec![change]))
    }

    /// The text of an element without child elements.
    fn apply_to_text(&self, xml: &str, element: Node<'_, '_>) -> Result<String, Refusal> {
        let tag = element.tag_name().name();
        if element.children().any(|child| child.is_element()) {
            return Err(("xpath", format!("matches no single text: <{tag}> has elements")));
        }
        let text = inner_range(xml, element).filter(|range| !range.is_empty());
        let range = text.ok_or_else(|| ("xpath", format!("matches nothing: <{tag}> has no text")))?;
        let new = match self {
            Self::Add(value) | Self::Replace(value) => escape(value.as_str()).into_owned(),
            Self::Remove => String::new(),
        };
        Ok(replace_ranges(xml, vec![(range, new)]))
    }
}

fn only_one<'a, 'i>(found: &[Node<'a, 'i>]) -> Result<Node<'a, 'i>, Refusal> {
    match found {
        [one] => Ok(*one),
        [] => Err(("xpath", "matches nothing in the domain's XML".to_owned())),
        more => Err(("xpath", format!("matches {} elements; it must match one, as with [1]", more.len()))),
    }
}

/// Declarations of the prefixes that are known at an element.
fn declarations(element: Option<Node<'_, '_>>) -> String {
    let mut text = String::new();
    let known = element.iter().flat_map(|element| element.namespaces());
    for namespace in known {
        let Some(prefix) = namespace.name().filter(|prefix| !matches!(*prefix, "xml" | "qemu")) else {
            continue;
        };
        text.push_str(&format!(" xmlns:{prefix}='{}'", escape(namespace.uri())));
    }
    format!("{text} xmlns:qemu='{QEMU_NAMESPACE}'")
}

fn wrap(fragment: &str, declarations: &str) -> String {
    format!("<{WRAPPER}{declarations}>{fragment}</{WRAPPER}>")
}

/// Parses a wrapped fragment, and refuses what a record must not show.
fn parse_fragment(wrapped: &str) -> Result<Document<'_>, String> {
    let document = parse_limited(wrapped).map_err(|cause| {
        // The position is one of the wrapper's text.
        let cause = cause.split(" at ").next().unwrap_or_default().replace(WRAPPER, "the fragment");
        format!("is not well-formed XML: {cause}")
    })?;
    let root = document.root_element();
    if root.children().any(|child| child.is_text() && child.text().is_some_and(|t| !t.trim().is_empty())) {
        return Err("has text beside its elements; text is set by a path that ends with text()".to_owned());
    }
    // What is compared later is compared level by level.
    if root.descendants().any(|node| node.ancestors().count() > MAX_DEPTH) {
        return Err(format!("is more than {MAX_DEPTH} elements deep"));
    }
    let is_secret =
        |node: Node<'_, '_>| node.tag_name().name() == "cookies" || node.attribute("passwd").is_some();
    if root.descendants().any(is_secret) {
        return Err(SECRET.to_owned());
    }
    Ok(document)
}

/// How many elements of that name a fragment has at its top.
pub(super) fn count_elements(fragment: &str, name: &str) -> usize {
    let wrapped = wrap(fragment, &declarations(None));
    let document = parse_fragment(&wrapped);
    document.map_or(0, |d| d.root_element().children().filter(|child| is_tag(*child, name)).count())
}

/// libvirt shows these two only to connections that may change the domain. The record is shown to everyone.
const SECRET: &str = "has a password (passwd, cookies): everyone with a read-only connection can read the record, \
                      where the patch is kept; set it with virsh edit";

/// Whether a domain's XML is as the entry says, as far as that can be seen: libvirt adds addresses, aliases and defaults.
/// `None` if it cannot be seen.
pub fn is_in_effect(
    xml: &Document<'_>,
    selector: &PatchSelector,
    operation: &PatchOperation,
) -> Option<bool> {
    let (places, wanted) = match (operation, &selector.last) {
        (PatchOperation::Add(fragment), LastStep::Element) => (selector.elements(xml), fragment),
        (PatchOperation::Replace(fragment), LastStep::Element) => (selector.parent().elements(xml), fragment),
        (PatchOperation::Add(value) | PatchOperation::Replace(value), LastStep::Attribute(name)) => {
            let [element] = selector.elements(xml)[..] else { return None };
            return Some(name.attribute_of(element).is_some_and(|found| found.value() == value));
        }
        (PatchOperation::Add(value) | PatchOperation::Replace(value), LastStep::Text) => {
            let [element] = selector.elements(xml)[..] else { return None };
            return Some(text_of(element) == *value);
        }
        (PatchOperation::Remove, _) => return None,
    };
    let [place] = places[..] else { return None };
    let wrapped = wrap(wanted, &declarations(Some(place)));
    let fragment = parse_fragment(&wrapped).ok()?;
    let mut parts = fragment.root_element().children().filter(Node::is_element);
    Some(parts.all(|part| place.children().any(|child| contains(child, part))))
}

/// Whether an element has everything that another one has.
fn contains(found: Node<'_, '_>, wanted: Node<'_, '_>) -> bool {
    let is_named = found.is_element() && found.tag_name() == wanted.tag_name();
    let has_attributes = || {
        wanted.attributes().all(|a| {
            // libvirt chooses a port where the definition says -1.
            let is_any = a.name() == "port" && a.value() == "-1";
            let is_same =
                |b: &roxmltree::Attribute<'_, '_>| b.name() == a.name() && b.namespace() == a.namespace();
            found.attributes().any(|b| is_same(&b) && (is_any || b.value() == a.value()))
        })
    };
    let has_text = || {
        let text = |node: Node<'_, '_>| node.text().map(str::trim).unwrap_or_default().to_owned();
        let text_wanted = text(wanted);
        text_wanted.is_empty() || text(found) == text_wanted
    };
    let has_children = || {
        let mut children = wanted.children().filter(Node::is_element);
        children.all(|part| found.children().any(|child| contains(child, part)))
    };
    is_named && has_attributes() && has_text() && has_children()
}
