//! The names of a VM's volumes: `VM_boot`, `VM_data-vdX`, `VM_cloudinit` and, for a while, `VM_memory`.
//!
//! A volume that takes the place of another has the same name with a revision, from 2 on: `VM_boot.2`. libvirt cannot
//! rename volumes, so both names exist side by side for a while.

use super::{DiskTarget, VmName, VolumeName};

impl VmName {
    /// Names the volume of the boot disk.
    pub fn boot_volume(&self) -> VolumeName {
        VolumeName(format!("{}_boot", self.0))
    }

    /// Names the volume of a data disk.
    pub fn data_volume(&self, target: &DiskTarget) -> VolumeName {
        VolumeName(format!("{}_data-{target}", self.0))
    }

    /// Reads the target of a data disk from its volume's name, whichever VM it belongs to.
    pub fn target_of_volume(volume: &str) -> Option<DiskTarget> {
        let data = volume.rsplit_once("_data-")?.1;
        split_revision(data).map_or(data, |(first, _)| first).parse().ok()
    }

    /// Names the volume of the cloud-init seed.
    pub fn seed_volume(&self) -> VolumeName {
        VolumeName(format!("{}_cloudinit", self.0))
    }

    /// Names the volume of saved memory.
    pub fn memory_volume(&self) -> VolumeName {
        VolumeName(format!("{}_memory", self.0))
    }

    /// Whether a volume name follows the naming convention for this VM: as this version writes it or, with an
    /// extension, as the first foundry did.
    pub fn owns_by_convention(&self, volume: &str) -> bool {
        VolumeNameParts::parse(volume).is_some_and(|of| of.vm == self.as_str())
    }
}

impl VolumeName {
    /// Names the volume that takes this one's place as its revision `number`. A revision that this name has is replaced.
    #[must_use]
    pub fn revised(&self, number: u32) -> Self {
        let first = split_revision(&self.0).map_or(self.0.as_str(), |(first, _)| first);
        Self(format!("{first}.{number}"))
    }

    /// Returns the revision of a volume's name; 1 if it has none.
    pub fn revision_of(volume: &str) -> u32 {
        split_revision(volume).map_or(1, |(_, revision)| revision)
    }
}

/// Splits the revision off a name: a dot and a number from 2 on, of at most five digits. Longer numbers are times, which
/// libvirt appends when it reverts to a snapshot.
fn split_revision(volume: &str) -> Option<(&str, u32)> {
    let (first, digits) = volume.rsplit_once('.')?;
    let is_plain =
        digits.len() <= 5 && !digits.starts_with('0') && digits.bytes().all(|c| c.is_ascii_digit());
    let revision = digits.parse().ok().filter(|&number| is_plain && number >= 2)?;
    Some((first, revision))
}

/// The parts of a volume name that follows foundry's naming convention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeNameParts<'a> {
    /// Name of the VM that the volume name begins with.
    pub vm: &'a str,
    /// What the volume is for.
    pub part: VmPart,
    /// 1 for the first volume of that part, more for one that took the place of another.
    pub revision: u32,
}

/// What a volume is for, according to its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VmPart {
    /// The boot disk.
    Boot,
    /// The data disk with this target.
    Data(DiskTarget),
    /// The cloud-init seed.
    Seed,
    /// Saved memory.
    Memory,
}

impl<'a> VolumeNameParts<'a> {
    /// Reads `VM_boot`, `VM_data-vdX`, `VM_cloudinit` and `VM_memory`, also with a revision, or with the extension that the first
    /// foundry added. Returns `None` for any other name.
    pub fn parse(volume: &'a str) -> Option<Self> {
        let extensions = [".qcow2", ".raw", ".iso"];
        let stem = extensions.iter().find_map(|end| volume.strip_suffix(end));
        let (stem, revision) = match stem {
            Some(stem) => (stem, 1),
            None => split_revision(volume).unwrap_or((volume, 1)),
        };
        // From the right: a VM's name may contain underscores, the last part does not.
        let (vm, part) = stem.rsplit_once('_')?;
        let part = match part {
            "boot" => VmPart::Boot,
            "cloudinit" => VmPart::Seed,
            "memory" => VmPart::Memory,
            data => VmPart::Data(data.strip_prefix("data-")?.parse().ok()?),
        };
        vm.parse::<VmName>().ok().map(|_| Self { vm, part, revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_vm_are_distinguished_from_those_of_its_prefix() {
        let web: VmName = "web".parse().unwrap();
        for own in [
            "web_boot",
            "web_data-vdb",
            "web_cloudinit",
            "web_memory",
            "web_boot.qcow2",
            "web_data-vdz.qcow2",
            "web_cloudinit.iso",
            "web_boot.2",
            "web_data-vdb.99999",
            "web_cloudinit.10",
        ] {
            assert!(web.owns_by_convention(own), "{own}");
        }
        for other in [
            "web_1_boot",
            "web_1_boot.qcow2",
            "web",
            "web_",
            "web_data-vda",
            "web_data-",
            "web2_boot",
            "web_bootx",
            "web_boot.1",
            "web_boot.02",
            "web_boot.old",
            "web_boot.1700000000",
            "web_boot.2.qcow2",
            "web_boot.2.3",
        ] {
            assert!(!web.owns_by_convention(other), "{other}");
        }
    }

    #[test]
    fn revision_follows_the_name() {
        let web: VmName = "web".parse().unwrap();
        let second = web.boot_volume().revised(2);
        assert_eq!(second.as_str(), "web_boot.2");
        assert_eq!(second.revised(3).as_str(), "web_boot.3");
        assert_eq!(
            [1, 2, 1].to_vec(),
            ["web_boot", "web_boot.2", "web_boot.old"].map(VolumeName::revision_of)
        );
        let data = web.data_volume(&"vdc".parse().unwrap()).revised(4);
        assert_eq!(VmName::target_of_volume(data.as_str()).unwrap().as_str(), "vdc");
        assert_eq!(VolumeNameParts::parse(data.as_str()).unwrap().revision, 4);
    }
}
