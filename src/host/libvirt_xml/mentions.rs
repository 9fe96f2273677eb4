//! Finds the host's storage that a domain's XML names, in any element.
//!
//! libvirt's XML grows: mirrors of a copy that is under way, data files beside a qcow2 image, EFI variables in a volume,
//! memory in a file. Who deletes a file must know that a domain needs it, also where an element says so that did
//! not exist when this was written. So here every absolute path counts, and every pair of pool and volume.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::{attribute_value, child_element, parse_xml};
use crate::Result;

/// What was named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Absolute paths.
    pub paths: BTreeSet<String>,
    /// Volumes, by pool and name.
    pub volumes: BTreeSet<(String, String)>,
}

/// The file with the memory of an external snapshot, if it has one.
///
/// # Errors
/// Where the text is not a `<domainsnapshot>`.
pub fn snapshot_memory(xml: &str) -> Result<Option<String>> {
    let document = parse_xml(xml, "domainsnapshot", "the description of a snapshot")?;
    let memory = child_element(document.root_element(), "memory");
    Ok(memory.and_then(|node| attribute_value(node, "file")).filter(|path| path.starts_with('/')))
}

impl Mentions {
    /// What the description of a snapshot names: the files that it made, and those of the domain as it was then.
    ///
    /// # Errors
    /// Where the text is not a `<domainsnapshot>`.
    pub fn of_snapshot(xml: &str) -> Result<Self> {
        let document = parse_xml(xml, "domainsnapshot", "the description of a snapshot")?;
        Ok(Self::of(document.root_element()))
    }

    /// All below a `<domain>` or `<domainsnapshot>`, but for what is there for people and other programs.
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
            self.volumes.insert((pool.to_owned(), volume.to_owned()));
        }
    }
}
