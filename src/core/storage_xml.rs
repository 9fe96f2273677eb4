//! The XML of volumes (libvirt's "Storage pool and volume XML format").

use serde::Serialize;

use crate::units::Bytes;

/// A volume to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Name of the volume in its pool.
    pub name: String,
    /// `qcow2` or `raw`.
    pub format: String,
    /// Virtual size, as the guest sees it.
    pub capacity: Bytes,
    /// Space to allocate immediately. For an upload this is the whole capacity, so a full disk is detected here and not
    /// in the middle of the stream; otherwise zero. Without this element libvirt allocates a raw volume in full.
    pub allocation: Bytes,
    /// Path and format of the backing image.
    pub backing: Option<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename = "volume")]
struct VolumeXml<'a> {
    name: &'a str,
    capacity: SizeElement,
    allocation: SizeElement,
    target: VolumeTarget<'a>,
    #[serde(rename = "backingStore", skip_serializing_if = "Option::is_none")]
    backing: Option<Backing<'a>>,
}

#[derive(Serialize)]
struct SizeElement {
    #[serde(rename = "@unit")]
    unit: &'static str,
    #[serde(rename = "$text")]
    value: u64,
}

#[derive(Serialize)]
struct VolumeTarget<'a> {
    format: VolumeFormat<'a>,
    permissions: Permissions,
    /// The version of qcow2. libvirt 9.0 makes 0.10 if none is named: it knows no zero clusters, so an overlay cannot
    /// free what its guest discards.
    #[serde(skip_serializing_if = "Option::is_none")]
    compat: Option<&'static str>,
}

#[derive(Serialize)]
struct VolumeFormat<'a> {
    #[serde(rename = "@type")]
    kind: &'a str,
}

#[derive(Serialize)]
struct Permissions {
    mode: &'static str,
}

#[derive(Serialize)]
struct Backing<'a> {
    path: &'a str,
    format: VolumeFormat<'a>,
}

fn size_in_bytes(size: Bytes) -> SizeElement {
    SizeElement { unit: "bytes", value: size.0 }
}

/// Renders the XML of a volume. Only the owner may read the volume: a seed contains password hashes, and a disk may
/// contain any secret.
///
/// # Errors
/// None in practice; those of the serializer.
pub fn render_volume(spec: &VolumeSpec) -> Result<String, quick_xml::SeError> {
    let backing =
        spec.backing.as_ref().map(|(path, format)| Backing { path, format: VolumeFormat { kind: format } });
    quick_xml::se::to_string(&VolumeXml {
        name: &spec.name,
        capacity: size_in_bytes(spec.capacity),
        allocation: size_in_bytes(spec.allocation),
        target: VolumeTarget {
            format: VolumeFormat { kind: &spec.format },
            permissions: Permissions { mode: "0600" },
            compat: (spec.format == "qcow2").then_some("1.1"),
        },
        backing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay_has_path_and_format_of_its_backing_file() {
        let xml = render_volume(&VolumeSpec {
            name: "web_boot".into(),
            format: "qcow2".into(),
            capacity: Bytes(1 << 30),
            allocation: Bytes(0),
            backing: Some(("/images/a & b".into(), "raw".into())),
        })
        .unwrap();
        assert_eq!(
            xml,
            "<volume><name>web_boot</name><capacity unit=\"bytes\">1073741824</capacity>\
             <allocation unit=\"bytes\">0</allocation><target><format type=\"qcow2\"/>\
             <permissions><mode>0600</mode></permissions><compat>1.1</compat></target>\
             <backingStore><path>/images/a &amp; b</path><format type=\"raw\"/></backingStore></volume>"
        );
    }
}
