//! Decides which volumes in a record certainly belong to that VM.
//!
//! A record alone gives no right to delete: every user who may define a domain can write anything into it, and a VM
//! can be renamed. A volume belongs to the VM if foundry would have given it that name for a VM of this name. If the
//! VM was renamed, a volume belongs to it if its name has foundry's form and it is a disk of the domain.

use std::collections::BTreeSet;

use foundry_core::names::VolumeNameParts;
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};
use foundry_host::{Domain, Volume};

/// The names and paths that distinguish a VM's own volumes from others. (The owner of a file is something else: see
/// [`foundry_fetch::file_ownership`].)
#[derive(Debug)]
pub(crate) struct Ownership<'a> {
    vm: &'a str,
    /// Paths of its disks, and of the backing files of snapshot overlays.
    paths: BTreeSet<&'a str>,
    /// Pool and name of the disks that its XML references by volume.
    volumes: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Ownership<'a> {
    /// Collects them from the domain's name and from one or more views of its XML.
    pub(crate) fn of(
        domain: &'a Domain,
        described: impl IntoIterator<Item = &'a DomainDescription>,
        overlays: &'a [Volume],
    ) -> Self {
        let sources: Vec<&DiskSource> =
            described.into_iter().flat_map(|d| &d.disks).map(|d| &d.source).collect();
        let below = overlays.iter().filter_map(|overlay| overlay.backing.as_deref());
        let volume = |source: &&'a DiskSource| match source {
            DiskSource::Volume { pool, volume } => Some((pool.as_str(), volume.as_str())),
            _ => None,
        };
        Self {
            vm: &domain.name,
            paths: sources.iter().filter_map(|source| source.path()).chain(below).collect(),
            volumes: sources.iter().filter_map(volume).collect(),
        }
    }

    /// Returns why the volume found for a recorded one may not belong to the VM, if there is a reason.
    pub(crate) fn reason_to_doubt(&self, recorded: &RecordedVolume, found: &Volume) -> Option<String> {
        if recorded.adopted {
            return Some("it existed before foundry attached or adopted it".into());
        }
        let Some(of) = VolumeNameParts::parse(&found.name) else {
            return Some(
                "its name is not one that foundry gives to disks, though the record lists it".into(),
            );
        };
        if VolumeRole::of_volume(&found.name) != Some(recorded.role) || recorded.name != found.name {
            return Some("the record gives it another role than its name".into());
        }
        let is_shown = || {
            self.paths.contains(found.path.as_str())
                || self.volumes.contains(&(found.pool.as_str(), found.name.as_str()))
        };
        (of.vm != self.vm && !is_shown() && !self.shows_other_revision(found)).then(|| {
            format!(
                "it has the name of a disk of VM '{}' and is not a disk of this one, though its record lists it",
                of.vm
            )
        })
    }
}

impl Ownership<'_> {
    /// Whether a disk of the domain is another revision of the volume, in the same place: a renamed VM that was repaved
    /// has volumes with its old name, and not all of them are in its definition.
    fn shows_other_revision(&self, found: &Volume) -> bool {
        let parts = |name: &str| VolumeNameParts::parse(name).map(|p| (p.vm.to_owned(), p.part, p.revision));
        let Some((vm, part, revision)) = parts(&found.name) else { return false };
        let place = |path: &str| path.rsplit_once('/').map(|(place, name)| (place.to_owned(), parts(name)));
        let Some((own_place, _)) = place(&found.path) else { return false };
        self.paths.iter().filter_map(|path| place(path)).any(|(place, parts)| {
            place == own_place && parts.is_some_and(|p| (&p.0, &p.1) == (&vm, &part) && p.2 != revision)
        })
    }
}

/// How much LVM or ZFS add at most when they round a size up: the largest extent size in common use.
const ROUNDING: u64 = 64 << 20;

/// Returns why a volume may not be the one that an interrupted creation planned, if it differs.
pub(crate) fn differs_from_plan(planned: &RecordedVolume, found: &Volume) -> Option<String> {
    // libvirt probes raw volumes and reports the format of one with a seed in it as `iso`.
    let same_format = found.format == planned.format || (planned.format == "raw" && found.format == "iso");
    let (is_block, is_at_ceph) = (planned.path.starts_with("/dev/"), !planned.path.starts_with('/'));
    let rounded = found.capacity.0.checked_sub(planned.capacity.0).is_some_and(|more| more < ROUNDING);
    // A Ceph clone has its image's size until it is grown, and libvirt does not report its parent.
    let not_grown = planned.backing.is_some() && found.capacity < planned.capacity;
    // Saved memory takes what it takes.
    let is_memory = planned.role == VolumeRole::Memory;
    let same_size =
        is_memory || found.capacity == planned.capacity || (is_block && rounded) || (is_at_ceph && not_grown);
    let same_backing = found.backing == planned.backing || is_at_ceph;
    (!(same_format && same_size && same_backing)).then(|| {
        format!(
            "it may belong to another process: {} of {} was planned, it is {} of {}",
            planned.format, planned.capacity, found.format, found.capacity
        )
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use foundry_core::record::VolumeRef;
    use foundry_core::units::Bytes;
    use foundry_host::DomainState;

    fn doubt_about(role: VolumeRole, name: &str, disk: &str) -> Option<String> {
        let domain = Domain {
            uuid: Uuid::nil(),
            name: "web".into(),
            state: DomainState::ShutOff,
            why: foundry_host::StateReason::default(),
            vcpus: 1,
            memory: Bytes(0),
            persistent: true,
            autostart: false,
            saved: false,
            record: None,
        };
        let xml = format!(
            "<domain type='kvm'><name>web</name><devices><disk type='file' device='disk'><source file='{disk}'/>\
             <target dev='vda'/></disk></devices></domain>"
        );
        let described = DomainDescription::read(&xml).unwrap();
        let found = Volume {
            pool: "p".into(),
            name: name.into(),
            path: format!("/p/{name}"),
            format: "qcow2".into(),
            capacity: Bytes(1),
            allocation: Bytes(0),
            backing: None,
            mode: None,
        };
        let volume = VolumeRef::new("p", name);
        let recorded = RecordedVolume::new(role, volume, found.path.clone(), "qcow2", Bytes(1));
        Ownership::of(&domain, [&described], &[]).reason_to_doubt(&recorded, &found)
    }

    #[test]
    fn a_volume_is_a_vms_by_its_name_or_as_a_disk_with_such_a_name() {
        for (role, name) in [
            (VolumeRole::Boot, "web_boot"),
            (VolumeRole::Boot, "web_boot.qcow2"),
            (VolumeRole::Data, "web_data-vdc"),
            (VolumeRole::Seed, "web_cloudinit"),
        ] {
            assert_eq!(doubt_about(role, name, "/elsewhere"), None, "{name}");
        }
        assert_eq!(doubt_about(VolumeRole::Boot, "old_boot", "/p/old_boot"), None, "it was renamed");
    }

    #[test]
    fn other_revision_of_a_shown_volume_is_a_vms() {
        assert_eq!(doubt_about(VolumeRole::Boot, "old_boot", "/p/old_boot.2"), None);
        assert_eq!(doubt_about(VolumeRole::Boot, "old_boot.3", "/p/old_boot"), None);
        for disk in ["/elsewhere/old_boot.2", "/p/old_data-vdb.2", "/p/older_boot.2", "/p/old_boot.x"] {
            assert!(doubt_about(VolumeRole::Boot, "old_boot", disk).is_some(), "{disk}");
        }
    }

    #[test]
    fn a_record_alone_makes_no_volume_a_vms() {
        for (role, name, disk) in [
            (VolumeRole::Boot, "old_boot", "/elsewhere"),
            (VolumeRole::Boot, "precious.qcow2", "/elsewhere"),
            (VolumeRole::Boot, "precious.qcow2", "/p/precious.qcow2"),
            (VolumeRole::Data, "debian-13.qcow2", "/p/debian-13.qcow2"),
            (VolumeRole::Data, "web_1_data-vdb", "/elsewhere"),
            (VolumeRole::Seed, "web_boot", "/p/web_boot"),
            (VolumeRole::Data, "web_boot", "/p/web_boot"),
            (VolumeRole::Data, "web_data-vda", "/p/web_data-vda"),
        ] {
            assert!(doubt_about(role, name, disk).is_some(), "{name}");
        }
    }
}
