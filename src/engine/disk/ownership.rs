//! Decides which volumes in a record certainly belong to that VM.
//!
//! A record is data: whoever may define a domain can write into it what he likes, and a VM's name changes. So a record
//! alone gives no right to delete. A volume is the VM's where foundry would have given it that name for a VM of this
//! name; or, of one that was renamed, where it has a name that foundry gives, and is a disk of the domain's.

use std::collections::BTreeSet;

use foundry_core::names::VolumeNameParts;
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};
use foundry_host::{Domain, Volume};

/// What tells a VM's own volumes from others'.
#[derive(Debug)]
pub(crate) struct Ownership<'a> {
    vm: &'a str,
    /// Paths of its disks, and of what overlays of snapshots lie on.
    paths: BTreeSet<&'a str>,
    /// Pool and name of its disks that are named so.
    volumes: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Ownership<'a> {
    /// By the domain's name and its XML, in one view or several.
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

    /// Why a volume that was found for what the record names is not surely the VM's.
    pub(crate) fn reason_to_doubt(&self, recorded: &RecordedVolume, found: &Volume) -> Option<String> {
        let Some(of) = VolumeNameParts::parse(&found.name) else {
            return Some("it is not named as foundry names a VM's disks, though the record names it".into());
        };
        if VolumeRole::of_volume(&found.name) != Some(recorded.role) || recorded.name != found.name {
            return Some("the record says that it is something else than its name does".into());
        }
        let is_shown = || {
            self.paths.contains(found.path.as_str())
                || self.volumes.contains(&(found.pool.as_str(), found.name.as_str()))
        };
        (of.vm != self.vm && !is_shown()).then(|| {
            format!(
                "it is named as a disk of VM '{}' and is no disk of this one, though its record names it",
                of.vm
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
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
        let recorded = RecordedVolume {
            role,
            pool: "p".into(),
            name: name.into(),
            path: found.path.clone(),
            format: "qcow2".into(),
            capacity: Bytes(1),
            backing: None,
            attaching: None,
        };
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
