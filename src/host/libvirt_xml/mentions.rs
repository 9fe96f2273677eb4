//! Finds all storage that a domain's XML mentions, in any element.
//!
//! libvirt's XML grows: mirrors of a running copy, data files of a qcow2 image, EFI variables in a volume, memory in a
//! file. Before a file is deleted, it must be known whether a domain needs it, even if an element says so that did not
//! exist when this was written. So every absolute path counts, and every pair of pool and volume.

use foundry_core::record::VolumeRef;
use std::collections::BTreeSet;

use roxmltree::Node;

use super::{attribute_value, child_element, parse_xml};
use crate::Result;

/// The mentioned storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Absolute paths of files and devices.
    pub paths: BTreeSet<String>,
    /// Volumes.
    pub volumes: BTreeSet<VolumeRef>,
}

/// The memory file of an external snapshot, if it has one.
///
/// # Errors
/// If the text is not a `<domainsnapshot>`.
pub fn snapshot_memory(xml: &str) -> Result<Option<String>> {
    let document = parse_xml(xml, "domainsnapshot", "the description of a snapshot")?;
    let memory = child_element(document.root_element(), "memory");
    Ok(memory.and_then(|node| attribute_value(node, "file")).filter(|path| path.starts_with('/')))
}

impl Mentions {
    /// The files that a snapshot created, and those of the domain at that time.
    ///
    /// # Errors
    /// If the text is not a `<domainsnapshot>`.
    pub fn of_snapshot(xml: &str) -> Result<Self> {
        let document = parse_xml(xml, "domainsnapshot", "the description of a snapshot")?;
        Ok(Self::of(document.root_element()))
    }

    /// Everything in a `<domain>` or `<domainsnapshot>`, except for titles, descriptions and metadata.
    pub(super) fn of(domain: Node<'_, '_>) -> Self {
        let said =
            |n: &Node<'_, '_>| !matches!(n.tag_name().name(), "metadata" | "title" | "description" | "name");
        let elements = domain.children().filter(said).flat_map(|n| n.descendants());
        let mut mentions = Self::default();
        elements.for_each(|node| mentions.add(node));
        mentions
    }

    fn add(&mut self, node: Node<'_, '_>) {
        let values = node.attributes().map(|a| a.value()).chain(node.text().map(str::trim));
        self.paths.extend(values.filter(|v| v.starts_with('/')).map(str::to_owned));
        if let (Some(pool), Some(volume)) = (node.attribute("pool"), node.attribute("volume")) {
            self.volumes.insert(VolumeRef::new(pool, volume));
        }
    }
}
