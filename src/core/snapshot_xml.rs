//! The XML of snapshots (libvirt's "Snapshot and Checkpoint XML format").

use serde::Serialize;

/// A snapshot to be made: each of its disks continues in an overlay, and its present file stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSpec {
    /// Name of the snapshot.
    pub name: String,
    /// What the user says about it.
    pub description: Option<String>,
    /// Its disks. A disk of the domain that is not among them has to be left out by name, because libvirt makes an
    /// overlay for each disk that is not mentioned.
    pub disks: Vec<SnapshotDisk>,
}

/// A disk in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotDisk {
    /// Device name in the guest.
    pub target: String,
    /// Path of its overlay; `None` if the disk is left out.
    pub overlay: Option<String>,
}

#[derive(Serialize)]
#[serde(rename = "domainsnapshot")]
struct SnapshotXml<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    disks: DisksElement<'a>,
}

#[derive(Serialize)]
struct DisksElement<'a> {
    disk: Vec<SnapshotDiskElement<'a>>,
}

#[derive(Serialize)]
struct SnapshotDiskElement<'a> {
    #[serde(rename = "@name")]
    target: &'a str,
    #[serde(rename = "@snapshot")]
    snapshot: &'static str,
    #[serde(rename = "@type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<DriverElement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<SnapshotSourceElement<'a>>,
}

#[derive(Serialize)]
struct DriverElement {
    #[serde(rename = "@type")]
    format: &'static str,
}

#[derive(Serialize)]
struct SnapshotSourceElement<'a> {
    #[serde(rename = "@file")]
    file: &'a str,
}

/// Renders the XML of a snapshot.
///
/// # Errors
/// None in practice; those of the serializer.
pub fn render_snapshot(spec: &SnapshotSpec) -> Result<String, quick_xml::SeError> {
    quick_xml::se::to_string(&SnapshotXml {
        name: &spec.name,
        description: spec.description.as_deref(),
        disks: DisksElement { disk: spec.disks.iter().map(disk_element).collect() },
    })
}

fn disk_element(disk: &SnapshotDisk) -> SnapshotDiskElement<'_> {
    let is_in = disk.overlay.is_some();
    SnapshotDiskElement {
        target: &disk.target,
        snapshot: if is_in { "external" } else { "no" },
        kind: is_in.then_some("file"),
        driver: is_in.then_some(DriverElement { format: "qcow2" }),
        source: disk.overlay.as_deref().map(|file| SnapshotSourceElement { file }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_have_an_overlay_or_are_left_out() {
        let disk = |target: &str, overlay: Option<&str>| SnapshotDisk {
            target: target.into(),
            overlay: overlay.map(str::to_owned),
        };
        let xml = render_snapshot(&SnapshotSpec {
            name: "before".into(),
            description: Some("a <b>".into()),
            disks: vec![disk("vda", Some("/p/a & b.2")), disk("sda", None)],
        })
        .unwrap();
        assert_eq!(
            xml,
            "<domainsnapshot><name>before</name><description>a &lt;b&gt;</description><disks>\
             <disk name=\"vda\" snapshot=\"external\" type=\"file\"><driver type=\"qcow2\"/>\
             <source file=\"/p/a &amp; b.2\"/></disk><disk name=\"sda\" snapshot=\"no\"/></disks></domainsnapshot>"
        );
    }
}
