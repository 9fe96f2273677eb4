//! `<domainsnapshot>`: what libvirt remembers of a snapshot.

use quick_xml::escape::escape;
use roxmltree::Node;

use super::{
    DomainDescription, attribute_value, child_element, child_elements, find_element, parse_xml, text_at,
    unreadable_xml,
};
use crate::Result;
use foundry_core::xml::replace_ranges;

const WHAT: &str = "the description of a snapshot";

/// The parts of a snapshot's description that foundry uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDescription {
    /// Its name, unique in the domain.
    pub name: String,
    /// What its maker says about it.
    pub description: Option<String>,
    /// The name of the snapshot that it was made after.
    pub parent: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: Option<u64>,
    /// The state of the domain at that time: `running`, `shutoff`, or `disk-snapshot` without memory.
    pub state: String,
    /// Whether the memory of the guest is in it.
    pub has_memory: bool,
    /// Whether a disk has the snapshot inside its image.
    pub is_internal: bool,
    /// The disks that continued in an overlay.
    pub disks: Vec<SnapshotOverlay>,
}

/// A disk that continued in an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotOverlay {
    /// The device name in the guest.
    pub target: String,
    /// The path of the overlay.
    pub overlay: String,
    /// The path that the disk had before, which holds the snapshot's content.
    pub frozen: Option<String>,
    /// The format of that file in the domain's XML.
    pub frozen_format: Option<String>,
    /// Whether a deletion of the snapshot was interrupted, after which that file may have newer content.
    pub is_being_deleted: bool,
}

impl SnapshotDescription {
    /// Reads it.
    ///
    /// # Errors
    /// If the text is not a `<domainsnapshot>` with a name.
    pub fn read(xml: &str) -> Result<Self> {
        let document = parse_xml(xml, "domainsnapshot", WHAT)?;
        let root = document.root_element();
        let name = text_at(root, &["name"]).ok_or_else(|| unreadable_xml(WHAT, "it has no name"))?;
        // libvirt writes the whole domain as it was; very old versions wrote only its UUID.
        let domain = child_element(root, "domain").and_then(|domain| xml.get(domain.range()));
        let before = domain.and_then(|domain| DomainDescription::read(domain).ok());
        let listed = || disk_elements(root);
        let memory = child_element(root, "memory").and_then(|memory| memory.attribute("snapshot"));
        let overlay = |disk: Node<'_, '_>| {
            let target = attribute_value(disk, "name")?;
            let file = child_element(disk, "source")?.attribute("file")?.to_owned();
            let was = before.as_ref().and_then(|before| before.disk(&target));
            Some(SnapshotOverlay {
                frozen: was.and_then(|disk| disk.source.path()).map(str::to_owned),
                frozen_format: was.and_then(|disk| disk.format.clone()),
                is_being_deleted: child_element(disk, "snapshotDeleteInProgress").is_some(),
                overlay: file,
                target,
            })
        };
        Ok(Self {
            name,
            description: text_at(root, &["description"]),
            parent: text_at(root, &["parent", "name"]),
            created: text_at(root, &["creationTime"]).and_then(|text| text.trim().parse().ok()),
            state: text_at(root, &["state"]).unwrap_or_default(),
            has_memory: memory.is_some_and(|kind| kind != "no"),
            is_internal: memory == Some("internal")
                || listed().any(|disk| disk.attribute("snapshot") == Some("internal")),
            disks: listed()
                .filter(|d| d.attribute("snapshot") == Some("external"))
                .filter_map(overlay)
                .collect(),
        })
    }
}

fn disk_elements<'a, 'i>(root: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    find_element(root, &["disks"]).into_iter().flat_map(|disks| child_elements(disks, "disk"))
}

/// Replaces the overlays in a snapshot's description, by target, and keeps every other byte.
///
/// # Errors
/// If the text is not a `<domainsnapshot>` that has an overlay for each of these targets.
pub fn set_snapshot_overlays(xml: &str, overlays: &[(&str, &str)]) -> Result<String> {
    let document = parse_xml(xml, "domainsnapshot", WHAT)?;
    let mut changes = Vec::new();
    for (target, path) in overlays {
        let disk = disk_elements(document.root_element()).find(|d| d.attribute("name") == Some(target));
        let source = disk.and_then(|disk| child_element(disk, "source"));
        let file = source.and_then(|source| source.attribute_node("file"));
        let file = file.ok_or_else(|| unreadable_xml(WHAT, format!("disk '{target}' has no overlay")))?;
        changes.push((file.range_value(), escape(*path).into_owned()));
    }
    Ok(replace_ranges(xml, changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libvirt 11.3 wrote it, shortened.
    const BEFORE: &str = "<domainsnapshot>
  <name>before</name>
  <description>a &lt;b&gt;</description>
  <state>disk-snapshot</state>
  <parent><name>first</name></parent>
  <creationTime>1796065532</creationTime>
  <memory snapshot='no'/>
  <disks>
    <disk name='vda' snapshot='external' type='file'>
      <driver type='qcow2'/>
      <source file='/p/web_boot.3'/>
    </disk>
    <disk name='vdb' snapshot='external' type='file'>
      <driver type='qcow2'/>
      <source file='/p/web_data-vdb.3'/>
      <snapshotDeleteInProgress/>
    </disk>
    <disk name='sda' snapshot='no'/>
  </disks>
  <domain type='kvm'><name>web</name><memory unit='KiB'>1024</memory><vcpu>1</vcpu><devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/web_boot.2'/><target dev='vda'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/p/web_data-vdb'/><target dev='vdb'/></disk>
  </devices></domain>
  <cookie/>
</domainsnapshot>";

    #[test]
    fn snapshot_is_read_with_the_files_before_and_after() {
        let read = SnapshotDescription::read(BEFORE).unwrap();
        assert_eq!((read.name.as_str(), read.description.as_deref()), ("before", Some("a <b>")));
        assert_eq!((read.parent.as_deref(), read.created), (Some("first"), Some(1_796_065_532)));
        assert_eq!((read.state.as_str(), read.has_memory, read.is_internal), ("disk-snapshot", false, false));
        let disks: Vec<_> = read
            .disks
            .iter()
            .map(|d| {
                (d.target.as_str(), d.overlay.as_str(), d.frozen.as_deref().unwrap(), d.is_being_deleted)
            })
            .collect();
        assert_eq!(
            disks,
            [
                ("vda", "/p/web_boot.3", "/p/web_boot.2", false),
                ("vdb", "/p/web_data-vdb.3", "/p/web_data-vdb", true)
            ]
        );
        assert_eq!(read.disks[1].frozen_format.as_deref(), Some("raw"));
    }

    #[test]
    fn internal_snapshot_and_memory_are_noticed() {
        let xml = "<domainsnapshot><name>a</name><state>running</state><memory snapshot='internal'/>
            <disks><disk name='vda' snapshot='internal'/></disks></domainsnapshot>";
        let read = SnapshotDescription::read(xml).unwrap();
        assert!(read.is_internal && read.has_memory && read.disks.is_empty());
        SnapshotDescription::read("<domainsnapshot/>").unwrap_err();
    }

    #[test]
    fn overlays_are_replaced_and_the_rest_is_kept() {
        let changed = set_snapshot_overlays(BEFORE, &[("vdb", "/p/b & c"), ("vda", "/p/a")]).unwrap();
        let read = SnapshotDescription::read(&changed).unwrap();
        let overlays: Vec<&str> = read.disks.iter().map(|d| d.overlay.as_str()).collect();
        assert_eq!(overlays, ["/p/a", "/p/b & c"]);
        assert_eq!(read.disks[0].frozen.as_deref(), Some("/p/web_boot.2"));
        let back = set_snapshot_overlays(&changed, &[("vda", "/p/web_boot.3"), ("vdb", "/p/web_data-vdb.3")]);
        assert_eq!(back.unwrap(), BEFORE);
        set_snapshot_overlays(BEFORE, &[("sda", "/p/a")]).unwrap_err();
    }
}
