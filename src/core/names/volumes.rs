//! The names of a VM's volumes: `VM_boot`, `VM_data-vdX` and `VM_cloudinit`.

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
        volume.rsplit_once("_data-")?.1.parse().ok()
    }

    /// Names the volume of the cloud-init seed.
    pub fn seed_volume(&self) -> VolumeName {
        VolumeName(format!("{}_cloudinit", self.0))
    }

    /// Whether a volume name follows the naming convention for this VM: as this version writes it or, with an
    /// extension, as the first foundry did.
    pub fn owns_by_convention(&self, volume: &str) -> bool {
        VolumeNameParts::parse(volume).is_some_and(|of| of.vm == self.as_str())
    }
}

/// The parts of a volume name that follows foundry's naming convention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeNameParts<'a> {
    /// Name of the VM that the volume name begins with.
    pub vm: &'a str,
    /// What the volume is for.
    pub part: VmPart,
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
}

impl<'a> VolumeNameParts<'a> {
    /// Reads `VM_boot`, `VM_data-vdX` and `VM_cloudinit`, also with the extension that the first foundry added. Returns
    /// `None` for any other name.
    pub fn parse(volume: &'a str) -> Option<Self> {
        let extensions = [".qcow2", ".raw", ".iso"];
        let stem = extensions.iter().find_map(|end| volume.strip_suffix(end)).unwrap_or(volume);
        // From the right: a VM's name may contain underscores, the last part does not.
        let (vm, part) = stem.rsplit_once('_')?;
        let part = match part {
            "boot" => VmPart::Boot,
            "cloudinit" => VmPart::Seed,
            data => VmPart::Data(data.strip_prefix("data-")?.parse().ok()?),
        };
        vm.parse::<VmName>().ok().map(|_| Self { vm, part })
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
            "web_boot.qcow2",
            "web_data-vdz.qcow2",
            "web_cloudinit.iso",
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
        ] {
            assert!(!web.owns_by_convention(other), "{other}");
        }
    }
}
