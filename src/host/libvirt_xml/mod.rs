//! Reads libvirt's XML by namespace and element, never by text search.
//!
//! Pure readers: XML in, a value or [`HostError::Unreadable`] out. The adapter reads libvirt's answers with them, and
//! `memory` reads definitions with them, so both see the same domain in the same text. Writing is done by `domain_xml`
//! and `storage_xml`. Nothing that was read here is written back, because a reader that knows only some elements loses
//! the others; [`edit`], [`edit_boot`] and [`edit_screen`] change single elements of
//! a text and keep the rest.

mod capabilities;
mod domain;
pub mod edit;
pub mod edit_boot;
pub mod edit_screen;
pub mod edit_warm;
mod machine;
mod mentions;
mod network;
mod snapshot;
mod storage;

pub use capabilities::{read_capabilities, read_host_cpu};
pub use domain::{
    DiskDescription, DiskDevice, DiskSource, DomainDescription, GraphicsDescription, InterfaceDescription,
    disk_element, metadata_text,
};
pub use machine::{guest_machine, has_free_port, host_machine, selinux_label};
pub use mentions::{Mentions, snapshot_memory};
pub use network::read_network;
pub use snapshot::{SnapshotDescription, SnapshotOverlay, set_snapshot_overlays};
#[cfg(feature = "testing")]
pub(super) use storage::{PoolParts, VolumeParts};
pub use storage::{read_pool, read_volume, volume_name};

use roxmltree::{Document, Node};

use super::{HostError, Result};
use foundry_core::xml::parse_limited;
pub(crate) use foundry_core::xml::{child_element, find_element, is_tag, text_of};

/// Parses XML with the given root element. Document types are refused: libvirt writes none, and entities could expand
/// without bound.
pub(super) fn parse_xml<'a>(xml: &'a str, root: &str, what: &str) -> Result<Document<'a>> {
    let document = parse_limited(xml).map_err(|cause| unreadable_xml(what, cause))?;
    let found = document.root_element().tag_name().name();
    if found != root {
        return Err(unreadable_xml(what, format!("it is a <{found}>, not a <{root}>")));
    }
    Ok(document)
}

pub(super) fn unreadable_xml(what: &str, cause: impl Into<String>) -> HostError {
    HostError::Unreadable { what: what.to_owned(), cause: cause.into() }
}

/// The child elements with a name.
fn child_elements<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children().filter(move |n| is_tag(*n, name))
}

/// The text of the element at the end of a path; `None` if there is no such element.
fn text_at(node: Node<'_, '_>, path: &[&'static str]) -> Option<String> {
    find_element(node, path).map(text_of)
}

fn attribute_value(node: Node<'_, '_>, name: &str) -> Option<String> {
    node.attribute(name).map(str::to_owned)
}

/// A size with libvirt's `unit` attribute, in bytes.
fn read_size(node: Node<'_, '_>, default_unit: &str, what: &str) -> Result<u64> {
    let text = text_of(node);
    let unit = node.attribute("unit").unwrap_or(default_unit);
    let scaled = text.trim().parse::<u64>().ok().zip(unit_factor(unit)).and_then(|(n, by)| n.checked_mul(by));
    scaled.ok_or_else(|| {
        unreadable_xml(what, format!("<{}> is '{text}' {unit}, which is no size", node.tag_name().name()))
    })
}

/// The factor of a unit (`virScaleInteger`): a letter alone or with `iB` counts in powers of 1024, with `B` in powers
/// of 1000.
fn unit_factor(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "b" | "byte" | "bytes") {
        return Some(1);
    }
    let letter = unit.chars().next()?;
    let power = u32::try_from("kmgtpe".find(letter)?).ok()? + 1;
    match &unit[1..] {
        "" | "ib" => 1024u64.checked_pow(power),
        "b" => 1000u64.checked_pow(power),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foundry_core::xml::{MAX_NODES, MAX_TEXT};

    fn parse_failure(outcome: Result<Document<'_>>) -> String {
        outcome.unwrap_err().cause().unwrap()
    }

    #[test]
    fn document_types_are_refused() {
        let bomb = "<!DOCTYPE domain [<!ENTITY a 'aaaa'>]><domain>&a;</domain>";
        assert!(parse_failure(parse_xml(bomb, "domain", "it")).contains("DTD"));
    }

    #[test]
    fn what_is_no_xml_or_another_element_is_refused_by_name() {
        let error = parse_xml("<volume><name>", "volume", "the description of volume 'x'").unwrap_err();
        assert_eq!(error.to_string(), "cannot read the description of volume 'x' that libvirt gave");
        assert_eq!(parse_failure(parse_xml("<pool/>", "volume", "it")), "it is a <pool>, not a <volume>");
        parse_xml("", "volume", "it").unwrap_err();
    }

    #[test]
    fn text_is_bounded() {
        let long = format!("<domain>{}</domain>", "a".repeat(MAX_TEXT));
        assert!(parse_failure(parse_xml(&long, "domain", "it")).contains("at most"));
        let wide = format!("<domain>{}</domain>", "<a/>".repeat(MAX_NODES as usize));
        parse_xml(&wide, "domain", "it").unwrap_err();
    }

    #[test]
    fn nesting_of_any_depth_ends_in_an_answer() {
        let deep = format!("<domain>{}{}</domain>", "<a>".repeat(100_000), "</a>".repeat(100_000));
        // Both results are fine; a stack overflow would abort the process.
        let _ = parse_xml(&deep, "domain", "it").map(|d| d.descendants().count());
    }

    #[test]
    fn units_are_libvirts() {
        for (unit, factor) in [
            ("bytes", 1),
            ("B", 1),
            ("KiB", 1024),
            ("k", 1024),
            ("KB", 1000),
            ("M", 1 << 20),
            ("GiB", 1 << 30),
            ("TB", 1_000_000_000_000),
        ] {
            assert_eq!(unit_factor(unit), Some(factor), "{unit}");
        }
        for bad in ["", "x", "kib/s", "ki", "é"] {
            assert_eq!(unit_factor(bad), None, "{bad}");
        }
    }
}
