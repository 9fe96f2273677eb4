//! Finds what a domain's definition has and a rendering has not: the entries of a patch that lead from one to the other.
//!
//! libvirt adds much to what it is given. Its defaults and addresses are left out, and so is what the manifest says.

use roxmltree::Node;

use super::{PatchEntry, PatchOperation, PatchSelector, ProtectedParts, apply_patch};
use crate::xml::{child_element, is_tag, parse_limited, replace_ranges, text_of};

/// A part of a definition that a manifest has no field for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsaidPart {
    /// Its place in the domain's XML.
    pub path: String,
    /// What is there, on one line.
    pub what: String,
    /// The entry that makes it. `None` if a patch may not or cannot.
    pub entry: Option<PatchEntry>,
}

/// Compares a rendering without a patch with the definition of a domain.
///
/// # Errors
/// If one of the two is not XML.
pub fn derive_patch(
    rendered: &str,
    defined: &str,
    parts: &ProtectedParts,
) -> Result<Vec<UnsaidPart>, String> {
    let (ours, theirs) = (parse_limited(rendered)?, parse_limited(defined)?);
    let mut walk = Walk { xml: defined, found: Vec::new(), removed: Vec::new() };
    walk.compare(ours.root_element(), theirs.root_element(), "/domain");
    // From the last to the first, so that positions stay true.
    let all = walk.found.into_iter().chain(walk.removed.into_iter().rev());
    let mut patched = rendered.to_owned();
    let check = |(path, what, operation): UnsaidFinding| {
        let entry = operation.and_then(|operation| {
            let entry = PatchEntry { selector: PatchSelector::parse(&path).ok()?, operation };
            entry.operation.check(&entry.selector).ok()?;
            patched = apply_patch(&patched, std::slice::from_ref(&entry), 0, parts).ok()?;
            Some(entry)
        });
        UnsaidPart { path, what, entry }
    };
    Ok(all.map(check).collect())
}

/// A place, what is there, and the operation that makes it.
type UnsaidFinding = (String, String, Option<PatchOperation>);

struct Walk<'x> {
    /// The text of the definition.
    xml: &'x str,
    found: Vec<UnsaidFinding>,
    removed: Vec<UnsaidFinding>,
}

impl Walk<'_> {
    /// Compares two elements that are the same one on both sides. `path` is ours.
    fn compare(&mut self, ours: Node<'_, '_>, theirs: Node<'_, '_>, path: &str) {
        self.compare_attributes(ours, theirs, path);
        let (own_text, text) = (own_text(ours), own_text(theirs));
        if own_text != text && !has_said_text(ours) {
            let place = format!("{path}/text()");
            self.found.push((place, text.clone(), Some(PatchOperation::Replace(text))));
        }
        let mut rest: Vec<Node<'_, '_>> = theirs.children().filter(Node::is_element).collect();
        for child in ours.children().filter(Node::is_element) {
            let key = key_of(child);
            let place = format!("{path}/{}", step_to(child));
            match rest.iter().position(|other| key_of(*other) == key) {
                Some(at) => {
                    let other = rest.remove(at);
                    if !is_said(child) {
                        self.compare(child, other, &place);
                    }
                }
                None if is_said(child) => {}
                None => self.removed.push((place, "not there".to_owned(), Some(PatchOperation::Remove))),
            }
        }
        for other in rest.into_iter().filter(|other| !is_said(*other) && !is_default(*other)) {
            let fragment = self.fragment_of(other);
            let what = fragment.split_whitespace().collect::<Vec<_>>().join(" ");
            let operation = (!is_of_this_host(other)).then_some(PatchOperation::Add(fragment));
            self.found.push((path.to_owned(), what, operation));
        }
    }

    fn compare_attributes(&mut self, ours: Node<'_, '_>, theirs: Node<'_, '_>, path: &str) {
        let said = |name: &str| is_said_attribute(ours, name);
        for attribute in theirs.attributes().filter(|a| a.namespace().is_none() && !said(a.name())) {
            let (name, value) = (attribute.name(), attribute.value());
            let operation = match ours.attribute(name) {
                Some(own) if own == value => continue,
                // A newer machine of the same kind; libvirt chose it.
                Some(own) if name == "machine" && value.starts_with(&format!("pc-{own}-")) => continue,
                Some(own) if name == "machine" && value.starts_with(&format!("{own}-")) => continue,
                // The devices of a rendering are for its own kind of machine.
                Some(_) if name == "machine" => None,
                Some(_) => Some(PatchOperation::Replace(value.to_owned())),
                None => Some(PatchOperation::Add(value.to_owned())),
            };
            self.found.push((format!("{path}/@{name}"), value.to_owned(), operation));
        }
        let is_lost = |name: &str| theirs.attribute(name).is_none() && !said(name);
        for attribute in ours.attributes().filter(|a| is_lost(a.name())) {
            let place = format!("{path}/@{}", attribute.name());
            self.removed.push((place, "not there".to_owned(), Some(PatchOperation::Remove)));
        }
    }

    /// The text of an element, without the address and alias that libvirt chose.
    fn fragment_of(&self, element: Node<'_, '_>) -> String {
        let own = element.range();
        let text = self.xml.get(own.clone()).unwrap_or_default();
        let chosen = element.children().filter(|n| is_tag(*n, "address") || is_tag(*n, "alias"));
        let within = |node: Node<'_, '_>| node.range().start - own.start..node.range().end - own.start;
        let shorter = replace_ranges(text, chosen.map(|node| (within(node), String::new())).collect());
        let lines = shorter.lines().filter(|line| !line.trim().is_empty());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The text of an element without child elements.
fn own_text(node: Node<'_, '_>) -> String {
    if node.children().any(|child| child.is_element()) {
        return String::new();
    }
    text_of(node).trim().to_owned()
}

/// What makes an element the same one on both sides.
fn key_of(node: Node<'_, '_>) -> (String, String) {
    let attribute = |node: Option<Node<'_, '_>>, name: &str| {
        node.and_then(|n| n.attribute(name)).unwrap_or_default().to_ascii_lowercase()
    };
    let child = |name| child_element(node, name);
    let name = node.tag_name();
    let key = match name.name() {
        "disk" => attribute(child("target"), "dev"),
        "interface" => attribute(child("mac"), "address"),
        "channel" => attribute(child("target"), "name"),
        "serial" => attribute(Some(node), "type"),
        "console" => attribute(child("target"), "type"),
        "feature" => attribute(Some(node), "name"),
        "rng" => attribute(Some(node), "model"),
        _ => String::new(),
    };
    (format!("{}{}", name.namespace().unwrap_or_default(), name.name()), key)
}

/// The step of a selector that finds one of our elements among its siblings.
fn step_to(node: Node<'_, '_>) -> String {
    let name = node.tag_name().name();
    let siblings = || node.parent().into_iter().flat_map(|parent| parent.children());
    let same: Vec<Node<'_, '_>> = siblings().filter(|other| is_tag(*other, name)).collect();
    if same.len() < 2 {
        return name.to_owned();
    }
    let by_child = |child: &'static str, attribute: &'static str| {
        let value = child_element(node, child)?.attribute(attribute)?;
        (!value.contains('\'')).then(|| format!("{name}[{child}/@{attribute}='{value}']"))
    };
    let named = match name {
        "disk" => by_child("target", "dev"),
        "interface" => by_child("mac", "address"),
        _ => None,
    };
    let place = same.iter().position(|other| *other == node).unwrap_or_default() + 1;
    named.unwrap_or_else(|| format!("{name}[{place}]"))
}

/// The name of an element's parent.
fn parent_name<'a>(node: Node<'a, '_>) -> &'a str {
    node.parent().map(|parent| parent.tag_name().name()).unwrap_or_default()
}

/// Whether the manifest says the element, or libvirt chooses it anew for each domain.
fn is_said(node: Node<'_, '_>) -> bool {
    let name = node.tag_name().name();
    match parent_name(node) {
        "domain" => matches!(name, "name" | "uuid" | "memory" | "currentMemory" | "vcpus"),
        "os" => {
            matches!(name, "firmware") || (matches!(name, "loader" | "nvram") && has_automatic_firmware(node))
        }
        "disk" => matches!(name, "source" | "backingStore" | "address" | "alias" | "boot"),
        "interface" => matches!(
            name,
            "mac" | "source" | "vlan" | "mtu" | "virtualport" | "boot" | "target" | "address" | "alias"
        ),
        "serial" | "console" | "channel" => matches!(name, "source" | "target" | "address" | "alias"),
        "devices" => matches!(name, "controller" | "emulator") && !is_scsi(node),
        "cpu" => {
            name == "model" && node.parent().is_some_and(|cpu| cpu.attribute("mode") == Some("host-model"))
        }
        _ => matches!(name, "address" | "alias"),
    }
}

/// libvirt makes other SCSI controllers by itself than the one that most guests have drivers for.
fn is_scsi(node: Node<'_, '_>) -> bool {
    node.attribute("type") == Some("scsi") && node.attribute("model").is_some()
}

fn has_automatic_firmware(node: Node<'_, '_>) -> bool {
    node.parent().is_some_and(|os| os.attribute("firmware").is_some())
}

/// Whether the element's text is in the manifest, or differs without a meaning.
fn has_said_text(ours: Node<'_, '_>) -> bool {
    let is_data_serial = || {
        let target = ours.parent().and_then(|disk| child_element(disk, "target"));
        target.is_some_and(|target| target.attribute("dev") != Some("vda"))
    };
    match ours.tag_name().name() {
        "vcpu" | "genid" => true,
        "serial" => parent_name(ours) == "disk" && is_data_serial(),
        _ => false,
    }
}

fn is_said_attribute(ours: Node<'_, '_>, name: &str) -> bool {
    matches!(
        (ours.tag_name().name(), name),
        ("domain", "id" | "type")
            | ("vcpu", "placement" | "current")
            | ("os", "firmware")
            | ("type", "arch")
            | ("disk" | "interface", "type" | "device")
            | ("driver", "name" | "type")
            | ("cpu", "check" | "migratable")
            | ("target", "dev")
            | ("console", "tty")
    )
}

/// Whether libvirt adds the element to every definition.
fn is_default(theirs: Node<'_, '_>) -> bool {
    let has = |name, value| theirs.attribute(name) == Some(value);
    let children = || theirs.children().filter(Node::is_element);
    let is_bare = || children().all(|child| is_tag(child, "address") || is_tag(child, "alias"));
    let text = || text_of(theirs).trim().to_owned();
    match (parent_name(theirs), theirs.tag_name().name()) {
        ("domain", "clock") => has("offset", "utc") && children().next().is_none(),
        ("domain", "on_poweroff") => text() == "destroy",
        ("domain", "on_reboot") => text() == "restart",
        ("domain", "on_crash") => text() == "destroy",
        ("domain", "resource") => text() == "/machine",
        ("domain", "iothreadids") => false,
        // A rendering names the boot disk itself.
        ("os", "boot") => {
            has("dev", "hd") && theirs.next_sibling_element().is_none_or(|next| !is_tag(next, "boot"))
        }
        ("os", "bootmenu") => has("enable", "no"),
        ("devices", "input") => has("bus", "ps2"),
        ("devices", "memballoon") => has("model", "virtio") && is_bare(),
        ("devices", "audio") => has("id", "1"),
        ("devices", "watchdog") => has("model", "itco") && has("action", "reset"),
        _ => false,
    }
}

/// Whether the element hands over something of this host, so that it means nothing elsewhere.
fn is_of_this_host(theirs: Node<'_, '_>) -> bool {
    let name = theirs.tag_name().name();
    let is_in_domain = matches!(name, "metadata" | "seclabel" | "sysinfo");
    let is_device = matches!(name, "hostdev" | "filesystem" | "shmem" | "lease");
    (parent_name(theirs) == "domain" && is_in_domain) || (parent_name(theirs) == "devices" && is_device)
}
