//! Renders single parts of a domain, to be put into a definition that exists.

use super::disks::{DiskLocation, backing_store, seed_element, source_element, source_kind};
use super::elements::{self, Controller};

/// The parts of a `<disk>` that depend on the volume that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskParts {
    /// The disk's type: `file`, `block`, `network`.
    pub kind: &'static str,
    /// The format in `<driver>`.
    pub format: String,
    /// The element `<source>`.
    pub source: String,
    /// The element `<backingStore>`; `None` for Ceph, which manages the chain itself.
    pub below: Option<String>,
}

/// Renders the parts of a disk that is at `location`; `format` is the planned one.
///
/// # Errors
/// None in practice; those of the serializer.
pub fn render_disk_parts(location: &DiskLocation, format: &str) -> Result<DiskParts, quick_xml::SeError> {
    let below = backing_store(location)
        .map(|store| quick_xml::se::to_string_with_root("backingStore", &store))
        .transpose()?;
    Ok(DiskParts {
        kind: source_kind(location),
        format: location.stored_format(format).to_owned(),
        source: quick_xml::se::to_string_with_root("source", &source_element(location))?,
        below,
    })
}

/// Renders the CD-ROM drive with the seed.
///
/// # Errors
/// None in practice; those of the serializer.
pub fn render_seed_disk(location: &DiskLocation) -> Result<String, quick_xml::SeError> {
    quick_xml::se::to_string_with_root("disk", &seed_element(location))
}

/// Renders the controller of the drive with the seed.
///
/// # Errors
/// None in practice; those of the serializer.
pub fn render_seed_controller() -> Result<String, quick_xml::SeError> {
    quick_xml::se::to_string_with_root("controller", &seed_controller())
}

/// Controller 0 is the one that libvirt connects the target `sda` to.
pub(super) fn seed_controller() -> Controller {
    elements::Controller { kind: "scsi", index: Some(0), model: "virtio-scsi" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_overlay_have_its_whole_chain() {
        let location = DiskLocation::Overlay {
            own: Box::new(DiskLocation::File("/vms/web_boot.2".into())),
            image: Box::new(DiskLocation::File("/images/a&b.raw".into())),
            format: "raw".into(),
        };
        let parts = render_disk_parts(&location, "qcow2").unwrap();
        assert_eq!((parts.kind, parts.format.as_str()), ("file", "qcow2"));
        assert_eq!(parts.source, "<source file=\"/vms/web_boot.2\"/>");
        assert_eq!(
            parts.below.as_deref(),
            Some(
                "<backingStore type=\"file\"><format type=\"raw\"/><source file=\"/images/a&amp;b.raw\"/>\
                 <backingStore/></backingStore>"
            )
        );
        let block = render_disk_parts(&DiskLocation::Block("/dev/vg/web".into()), "qcow2").unwrap();
        assert_eq!((block.kind, block.format.as_str()), ("block", "raw"));
    }

    #[test]
    fn parts_of_an_overlay_on_an_overlay_have_its_whole_chain() {
        let file = |path: &str| Box::new(DiskLocation::File(path.into()));
        let below = DiskLocation::Overlay {
            own: file("/vms/web_boot"),
            image: file("/images/debian.raw"),
            format: "raw".into(),
        };
        let location = DiskLocation::Overlay {
            own: file("/vms/www_boot"),
            image: Box::new(below),
            format: "qcow2".into(),
        };
        let parts = render_disk_parts(&location, "qcow2").unwrap();
        assert_eq!(
            parts.below.as_deref(),
            Some(
                "<backingStore type=\"file\"><format type=\"qcow2\"/><source file=\"/vms/web_boot\"/>\
                 <backingStore type=\"file\"><format type=\"raw\"/><source file=\"/images/debian.raw\"/>\
                 <backingStore/></backingStore></backingStore>"
            )
        );
    }

    #[test]
    fn drive_and_controller_of_the_seed() {
        let drive = render_seed_disk(&DiskLocation::File("/vms/web_cloudinit.2".into())).unwrap();
        assert!(drive.contains("device=\"cdrom\"") && drive.contains("dev=\"sda\""), "{drive}");
        let controller = render_seed_controller().unwrap();
        assert_eq!(controller, "<controller type=\"scsi\" index=\"0\" model=\"virtio-scsi\"/>");
    }
}
