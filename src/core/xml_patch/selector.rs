//! The XPath of a patch: the selectors of RFC 5261 (XML Patch Operations), section 4.1.
//!
//! ```text
//!   /domain/devices/interface[2]/@type      /domain/devices/disk[target/@dev='vdb']/driver      /domain/title/text()
//! ```
//!
//! An absolute path of element names or `*`, with predicates of a position, an attribute, a child's text or the own
//! text; the last step may be an attribute or `text()`. One predicate more than in the RFC: the attribute of a child,
//! because libvirt has the name of a disk and the address of an interface there.

use std::fmt;

use roxmltree::{Document, Node};

use crate::xml::text_of;

/// The namespace of `<qemu:commandline>`, which libvirt itself binds to the prefix `qemu`.
pub const QEMU_NAMESPACE: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// The most steps of a selector; libvirt's XML is less deep.
const MAX_STEPS: usize = 64;

/// A parsed selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchSelector {
    text: String,
    pub(super) steps: Vec<PatchStep>,
    pub(super) last: LastStep,
}

/// The kind of node that a selector finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LastStep {
    Element,
    Attribute(PatchName),
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PatchStep {
    /// `None` is `*`.
    pub(super) name: Option<PatchName>,
    predicates: Vec<Predicate>,
}

/// A name, with the prefix of its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PatchName {
    prefix: Option<String>,
    pub(super) local: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Predicate {
    Position(usize),
    Attribute(PatchName, String),
    Child(PatchName, String),
    ChildAttribute(PatchName, PatchName, String),
    OwnText(String),
}

impl fmt::Display for PatchSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PatchSelector {
    /// Parses a selector.
    ///
    /// # Errors
    /// What was expected, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        Parser { text, at: 0 }.parse_selector()
    }

    /// The elements that the steps lead to. An attribute or text is in one of them.
    pub(super) fn elements<'a, 'i>(&self, document: &'a Document<'i>) -> Vec<Node<'a, 'i>> {
        let mut found = vec![document.root()];
        for step in &self.steps {
            found = found.into_iter().flat_map(|parent| step.children_of(parent)).collect();
        }
        found
    }

    /// The selector without its last element.
    pub(super) fn parent(&self) -> Self {
        let steps = self.steps[..self.steps.len().saturating_sub(1)].to_vec();
        Self { text: String::new(), steps, last: LastStep::Element }
    }

    /// Whether the selector is below, or at, an element of libvirt's at the beginning of the path.
    pub fn is_below(&self, path: &[&str]) -> bool {
        let names = self.steps.iter().map(|step| step.name.as_ref());
        let mut pairs = names.map(|n| n.filter(|n| n.prefix.is_none()).map(|n| n.local.as_str())).zip(path);
        self.steps.len() >= path.len() && pairs.all(|(name, wanted)| name == Some(*wanted))
    }
}

impl PatchStep {
    fn children_of<'a, 'i>(&self, parent: Node<'a, 'i>) -> Vec<Node<'a, 'i>> {
        let is_named = |node: &Node<'_, '_>| {
            node.is_element() && self.name.as_ref().is_none_or(|name| name.is_of_element(*node))
        };
        let mut found: Vec<Node<'a, 'i>> = parent.children().filter(is_named).collect();
        for predicate in &self.predicates {
            match predicate {
                Predicate::Position(n) => {
                    found = found.get(n - 1).copied().into_iter().collect();
                }
                other => found.retain(|node| other.holds(*node)),
            }
        }
        found
    }
}

impl Predicate {
    fn holds(&self, node: Node<'_, '_>) -> bool {
        match self {
            Self::Position(_) => true,
            Self::Attribute(name, value) => name.value_in(node) == Some(value),
            Self::Child(name, value) => {
                node.children().any(|child| name.is_of_element(child) && text_of(child) == *value)
            }
            Self::ChildAttribute(name, attribute, value) => node
                .children()
                .any(|child| name.is_of_element(child) && attribute.value_in(child) == Some(value)),
            Self::OwnText(value) => text_of(node) == *value,
        }
    }
}

impl PatchName {
    /// The namespace of the prefix: what the element declares, or libvirt's own prefix.
    fn namespace<'a>(&'a self, node: Node<'a, '_>) -> Option<&'a str> {
        let prefix = self.prefix.as_deref()?;
        let declared = node.lookup_namespace_uri(Some(prefix));
        declared.or_else(|| (prefix == "qemu").then_some(QEMU_NAMESPACE)).or(Some("(unknown)"))
    }

    fn is_of_element(&self, node: Node<'_, '_>) -> bool {
        let name = node.tag_name();
        node.is_element() && name.name() == self.local && name.namespace() == self.namespace(node)
    }

    /// The value of the attribute of this name.
    fn value_in<'a>(&self, node: Node<'a, '_>) -> Option<&'a str> {
        self.attribute_of(node).map(|attribute| attribute.value())
    }

    pub(super) fn attribute_of<'a, 'i>(&self, node: Node<'a, 'i>) -> Option<roxmltree::Attribute<'a, 'i>> {
        node.attributes().find(|a| a.name() == self.local && a.namespace() == self.namespace(node))
    }

    /// The name as it is written.
    pub(super) fn qualified(&self) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}:{}", self.local),
            None => self.local.clone(),
        }
    }
}

/// Reads from left to right.
struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn parse_selector(mut self) -> Result<PatchSelector, String> {
        let mut steps = Vec::new();
        let mut last = LastStep::Element;
        if !self.text.starts_with('/') {
            return Err(self.expected("'/': a path begins at the root, as /domain/devices"));
        }
        while self.skip("/") {
            if last != LastStep::Element {
                return Err("has steps after an attribute or text()".to_owned());
            }
            if self.skip("@") {
                last = LastStep::Attribute(self.parse_name()?);
            } else if self.skip("text()") {
                last = LastStep::Text;
            } else {
                steps.push(self.parse_step()?);
            }
            if steps.len() > MAX_STEPS {
                return Err(format!("has more than {MAX_STEPS} steps"));
            }
        }
        if self.at < self.text.len() {
            return Err(self.expected("'/' or the end"));
        }
        if steps.is_empty() {
            return Err("names no element".to_owned());
        }
        Ok(PatchSelector { text: self.text.to_owned(), steps, last })
    }

    fn parse_step(&mut self) -> Result<PatchStep, String> {
        let name = if self.skip("*") { None } else { Some(self.parse_name()?) };
        let mut predicates = Vec::new();
        while self.skip("[") {
            predicates.push(self.parse_predicate()?);
            self.skip_spaces();
            if !self.skip("]") {
                return Err(self.expected("']'"));
            }
        }
        Ok(PatchStep { name, predicates })
    }

    fn parse_predicate(&mut self) -> Result<Predicate, String> {
        self.skip_spaces();
        let digits: String = self.rest().chars().take_while(char::is_ascii_digit).collect();
        if !digits.is_empty() {
            let number = digits.parse::<usize>().ok().filter(|n| *n > 0);
            let number = number.ok_or_else(|| self.expected("a position from 1"))?;
            self.at += digits.len();
            return Ok(Predicate::Position(number));
        }
        if self.skip("@") {
            let name = self.parse_name()?;
            return Ok(Predicate::Attribute(name, self.parse_value()?));
        }
        if self.skip(".") {
            return Ok(Predicate::OwnText(self.parse_value()?));
        }
        let child = self.parse_name()?;
        if self.skip("/@") {
            let name = self.parse_name()?;
            return Ok(Predicate::ChildAttribute(child, name, self.parse_value()?));
        }
        Ok(Predicate::Child(child, self.parse_value()?))
    }

    /// `='value'`, in either kind of quotes. XPath has no escapes.
    fn parse_value(&mut self) -> Result<String, String> {
        self.skip_spaces();
        if !self.skip("=") {
            return Err(self.expected("='a value'"));
        }
        self.skip_spaces();
        let quote = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"'));
        let quote = quote.ok_or_else(|| self.expected("a value in quotes"))?;
        self.at += 1;
        let end = self.rest().find(quote).ok_or_else(|| self.expected("the end of the value"))?;
        let value = self.rest()[..end].to_owned();
        self.at += end + 1;
        Ok(value)
    }

    fn parse_name(&mut self) -> Result<PatchName, String> {
        let first = self.parse_part()?;
        if !self.skip(":") {
            return Ok(PatchName { prefix: None, local: first });
        }
        Ok(PatchName { prefix: Some(first), local: self.parse_part()? })
    }

    fn parse_part(&mut self) -> Result<String, String> {
        let is_part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let part: String = self.rest().chars().take_while(is_part).collect();
        if !part.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return Err(self.expected("a name"));
        }
        self.at += part.len();
        if self.rest().starts_with('(') {
            return Err(format!("uses {part}(), which foundry does not know"));
        }
        Ok(part)
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, word: &str) -> bool {
        let is_next = self.rest().starts_with(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn expected(&self, what: &str) -> String {
        let place = self.text.get(..self.at).map_or(0, |read| read.chars().count()) + 1;
        format!("is no XPath of a patch: character {place}: expected {what}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::parse_limited;

    const DOMAIN: &str = "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' type='kvm'>
        <title>a'b</title><devices>
        <disk n='1'><target dev='vda'/><serial>one</serial></disk><disk n='2'><target dev='vdb'/></disk>
        <console n='3'/></devices><q:commandline n='4'><q:arg value='-x'/></q:commandline></domain>";

    fn numbers(selector: &str) -> Vec<&'static str> {
        let document = Box::leak(Box::new(parse_limited(DOMAIN).unwrap()));
        let selector = PatchSelector::parse(selector).unwrap_or_else(|e| panic!("{selector} {e}"));
        let found = selector.elements(document);
        found.into_iter().map(|node| node.attribute("n").unwrap_or(node.tag_name().name())).collect()
    }

    #[test]
    fn selectors_find_their_elements() {
        let cases: [(&str, &[&str]); 19] = [
            ("/domain", &["domain"]),
            ("/*", &["domain"]),
            ("/other", &[]),
            ("/domain/devices/disk", &["1", "2"]),
            ("/domain/devices/*", &["1", "2", "3"]),
            ("/domain/devices/*[2]", &["2"]),
            ("/domain/devices/disk[2]", &["2"]),
            ("/domain/devices/disk[3]", &[]),
            ("/*/*/disk[1]", &["1"]),
            ("/domain/devices/disk[@n='2'][1]", &["2"]),
            ("/domain/devices/disk[1][@n='2']", &[]),
            ("/domain/devices/disk[serial='one']", &["1"]),
            ("/domain/devices/disk[ target/@dev = \"vdb\" ]", &["2"]),
            ("/domain/title[.=\"a'b\"]", &["title"]),
            ("/domain/q:commandline", &["4"]),
            // libvirt's own prefix is known wherever it is declared.
            ("/domain/qemu:commandline/qemu:arg[@value='-x']", &["arg"]),
            ("/domain/commandline", &[]),
            ("/domain/x:commandline", &[]),
            ("/domain/devices/disk/@n", &["1", "2"]),
        ];
        for (selector, wanted) in cases {
            assert_eq!(numbers(selector), wanted, "{selector}");
        }
    }

    #[test]
    fn other_paths_are_refused_with_the_place() {
        let cases = [
            ("", "character 1: expected '/'"),
            ("domain", "character 1: expected '/'"),
            ("/", "character 2: expected a name"),
            ("//disk", "character 2: expected a name"),
            ("/domain/", "character 9: expected a name"),
            ("/domain disk", "character 8: expected '/' or the end"),
            ("/@type", "names no element"),
            ("/domain/@type/x", "has steps after"),
            ("/domain/text()/x", "has steps after"),
            ("/domain/disk[0]", "expected a position from 1"),
            ("/domain/disk[99999999999999999999999]", "expected a position from 1"),
            ("/domain/disk[last()]", "uses last(), which foundry does not know"),
            ("/domain/disk[position()=1]", "uses position()"),
            ("/domain/disk[@n]", "character 16: expected ='a value'"),
            ("/domain/disk[@n=1]", "expected a value in quotes"),
            ("/domain/disk[@n='1]", "expected the end of the value"),
            ("/domain/disk[@n='1'", "expected ']'"),
            ("/domain/disk[@n='1' and @m='2']", "expected ']'"),
            ("/domain/disk[..='x']", "expected ='a value'"),
            ("/domain/é[\u{0}]", "character 11: expected a name"),
            ("/domain/a:", "character 11: expected a name"),
        ];
        for (selector, wanted) in cases {
            let said = PatchSelector::parse(selector).unwrap_err();
            assert!(said.contains(wanted), "{selector}: {said}");
        }
        assert!(PatchSelector::parse(&"/a".repeat(65)).unwrap_err().contains("more than 64 steps"));
        let _ = PatchSelector::parse(&"/a[".repeat(100_000));
    }

    #[test]
    fn a_selector_knows_what_it_is_below() {
        let is_below = |text: &str| PatchSelector::parse(text).unwrap().is_below(&["domain", "cpu"]);
        assert!(is_below("/domain/cpu") && is_below("/domain/cpu/@mode") && is_below("/domain/cpu[1]/model"));
        assert!(!is_below("/domain") && !is_below("/domain/vcpu") && !is_below("/domain/*/model"));
    }
}
