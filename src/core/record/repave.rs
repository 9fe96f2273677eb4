//! The part of a record about a repave: a VM that has, for a while, two boot disks and two seeds.
//!
//! ```text
//!            note      volumes made; define            wait passed        old volumes deleted
//! (no note) ─────▶ preparing ───────────▶ on trial ─────────────────▶ accepted ─────────────▶ (no note)
//!                      │                   │    │ no wait             ▲
//!                      │     taken back    │    └────────▶ kept ──────┘ --keep
//!                      └─────────┐         ▼                │
//!                                └──▶ rejected ◀────────────┘ --rollback
//!                                         │ new volumes deleted
//!                                         ▼
//!                                     (no note)
//! ```
//!
//! [`Record::volumes`] always names the disks that the VM is defined with, because record and disks are in the same
//! definition. The others are the *spare* ones: the new ones before that definition, the old ones after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Maker, Record, RecordedVolume, SshAccess, VolumeRole};
use crate::manifest::{BootDisk, CloudInit, NetworkInterface, VirtualMachine};
use crate::origin::ImageOrigin;

/// A repave that has not ended: the VM has volumes beside those that it is defined with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repave {
    /// How far it is.
    pub stage: RepaveStage,
    /// The process that works on it; once it is kept, the one that did.
    pub maker: Maker,
    /// When it began (RFC 3339).
    pub since: String,
    /// The boot disk and the seed that the VM is not defined with.
    pub spare: Vec<RecordedVolume>,
    /// Whether the VM ran before.
    pub ran: bool,
    /// What belongs to the spare volumes, if they can be brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<BootParts>>,
}

/// How far a repave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepaveStage {
    /// The new volumes are being made; the VM has the old ones.
    Preparing,
    /// The VM has the new volumes, and is started and waited for.
    OnTrial,
    /// The VM has the new volumes, and the old ones are kept until the user decides.
    Kept,
    /// The VM has the new volumes, and the old ones are being deleted.
    Accepted,
    /// The VM has the old volumes, and the new ones are being deleted.
    Rejected,
}

/// The parts of a record that belong to a boot disk and its seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootParts {
    /// `spec.bootDisk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_disk: Option<BootDisk>,
    /// `spec.cloudInit`, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_init: Option<CloudInit>,
    /// `spec.networkInterfaces`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_interfaces: Vec<NetworkInterface>,
    /// As in [`Record::secrets`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// As in [`Record::instance_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// As in [`Record::ssh`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshAccess>,
    /// As in [`Record::image`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// As in [`Record::image_origin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_origin: Option<ImageOrigin>,
    /// Format of the file below the boot disk, as the definition names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_format: Option<String>,
    /// The whole manifest, if the repave was from a manifest and may have changed other fields, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Box<VirtualMachine>>,
}

impl BootParts {
    /// The parts of a record. The format of the file below the boot disk is in the definition only.
    pub fn of_record(record: &Record, backing_format: Option<String>) -> Self {
        let spec = &record.manifest.spec;
        Self {
            boot_disk: spec.boot_disk.clone(),
            cloud_init: spec.cloud_init.clone(),
            network_interfaces: spec.network_interfaces.clone(),
            secrets: record.secrets.clone(),
            instance_id: record.instance_id.clone(),
            ssh: record.ssh.clone(),
            image: record.image.clone(),
            image_origin: record.image_origin.clone(),
            backing_format,
            manifest: None,
        }
    }

    /// Puts the parts into a record. Everything else in it is kept, as it may have changed meanwhile.
    fn put_into(self, record: &mut Record) {
        if let Some(manifest) = self.manifest {
            record.manifest = beside_disks(*manifest, &record.manifest);
        }
        let spec = &mut record.manifest.spec;
        spec.boot_disk = self.boot_disk;
        spec.cloud_init = self.cloud_init;
        spec.network_interfaces = self.network_interfaces;
        record.secrets = self.secrets;
        record.instance_id = self.instance_id;
        record.ssh = self.ssh;
        record.image = self.image;
        record.image_origin = self.image_origin;
    }
}

/// The other manifest on the disks of the present one. A repave changes neither the name nor a data disk but its serial
/// number, and what a patch did cannot be taken back.
fn beside_disks(mut manifest: VirtualMachine, now: &VirtualMachine) -> VirtualMachine {
    let of_disk = |device: &Option<String>| {
        let disk = manifest.spec.data_disks.iter().find(|disk| disk.device == *device);
        disk.map(|disk| disk.serial.clone())
    };
    let mut disks = now.spec.data_disks.clone();
    for disk in &mut disks {
        if let Some(serial) = of_disk(&disk.device) {
            disk.serial = serial;
        }
    }
    manifest.spec.data_disks = disks;
    manifest.spec.xml_patch.clone_from(&now.spec.xml_patch);
    manifest.metadata.name.clone_from(&now.metadata.name);
    manifest
}

impl RepaveStage {
    /// Whether the spare volumes are to be deleted, and nothing else is left to do.
    pub fn is_decided(self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected)
    }

    /// Whether the VM is defined with the new volumes, and the old ones can be brought back.
    pub fn can_roll_back(self) -> bool {
        matches!(self, Self::OnTrial | Self::Kept)
    }
}

impl Record {
    /// The volumes that the VM is defined with, and those that a repave keeps beside them.
    pub fn all_volumes(&self) -> impl Iterator<Item = &RecordedVolume> {
        self.volumes.iter().chain(self.repave.iter().flat_map(|repave| &repave.spare))
    }

    /// The `spec.autostart` of the manifest before a repave on trial, if that changed it: the definition does not have it.
    pub fn autostart_before(&self) -> Option<bool> {
        let before = self.repave.as_ref()?.before.as_ref()?.manifest.as_ref()?;
        let starts = |manifest: &VirtualMachine| manifest.spec.autostart.unwrap_or(true);
        (starts(before) != starts(&self.manifest)).then(|| starts(before))
    }

    /// Exchanges boot disk and seed for the spare ones of the repave, which then has those that were there; `parts` is
    /// what belongs to them. Returns the parts that were there.
    pub fn exchange_boot(&mut self, parts: BootParts, backing_format: Option<String>) -> BootParts {
        let mut before = BootParts::of_record(self, backing_format);
        before.manifest = parts.manifest.is_some().then(|| Box::new(self.manifest.clone()));
        parts.put_into(self);
        if let Some(repave) = &mut self.repave {
            let is_data = |volume: &RecordedVolume| volume.role == VolumeRole::Data;
            let (data, own): (Vec<_>, Vec<_>) = self.volumes.drain(..).partition(is_data);
            let (boot, seed): (Vec<_>, Vec<_>) = std::mem::replace(&mut repave.spare, own)
                .into_iter()
                .partition(|volume| volume.role == VolumeRole::Boot);
            self.volumes = boot.into_iter().chain(data).chain(seed).collect();
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::DataDisk;
    use crate::record::VolumeRef;
    use crate::units::Bytes;

    fn volume(role: VolumeRole, name: &str) -> RecordedVolume {
        let volume = VolumeRef::new("vms", name);
        RecordedVolume::new(role, volume, format!("/vms/{name}"), "qcow2", Bytes(1))
    }

    fn record() -> Record {
        let text = r#"{"version": 1, "domain": "00000000-0000-0000-0000-000000000001", "state": "created",
            "manifest": {"apiVersion": "foundry.cofront.xyz/v1alpha1", "kind": "VirtualMachine",
            "metadata": {"name": "web"}, "spec": {"vcpus": 1, "bootDisk": {"sizeGiB": 10, "image": "one"}}},
            "volumes": [], "maker": {"host": "", "boot": "", "pid": 1, "started": 1, "version": "1"},
            "createdAt": "c", "changedAt": "c", "generation": 1, "instanceId": "web-1"}"#;
        let crate::record::Owner::Foundry(record) = crate::record::Owner::parse_metadata(Some(text)) else {
            panic!("it is a record")
        };
        Record {
            volumes: vec![
                volume(VolumeRole::Boot, "web_boot"),
                volume(VolumeRole::Data, "web_data-vdb"),
                volume(VolumeRole::Seed, "web_cloudinit"),
            ],
            ..*record
        }
    }

    fn names<'a>(volumes: impl IntoIterator<Item = &'a RecordedVolume>) -> Vec<&'a str> {
        volumes.into_iter().map(|volume| volume.name.as_str()).collect()
    }

    #[test]
    fn exchange_twice_is_as_before() {
        let first = record();
        let mut now = first.clone();
        now.repave = Some(Repave {
            stage: RepaveStage::Preparing,
            maker: now.maker.clone(),
            since: "s".into(),
            spare: vec![volume(VolumeRole::Boot, "web_boot.2"), volume(VolumeRole::Seed, "web_cloudinit.2")],
            ran: true,
            before: None,
        });
        let mut parts = BootParts::of_record(&now, None);
        parts.instance_id = Some("web-2".into());
        let before = now.exchange_boot(parts, Some("raw".into()));
        assert_eq!(names(&now.volumes), ["web_boot.2", "web_data-vdb", "web_cloudinit.2"]);
        assert_eq!(names(&now.repave.as_ref().unwrap().spare), ["web_boot", "web_cloudinit"]);
        assert_eq!(names(now.all_volumes()).len(), 5);
        assert_eq!(now.instance_id.as_deref(), Some("web-2"));
        assert_eq!(before.backing_format.as_deref(), Some("raw"));
        // What changes meanwhile stays.
        now.manifest.spec.vcpus = None;
        now.exchange_boot(before, None);
        assert_eq!(now.volumes, first.volumes);
        assert_eq!((now.instance_id, now.manifest.spec.vcpus), (first.instance_id, None));
    }

    #[test]
    fn whole_manifest_comes_back_beside_the_disks_of_now() {
        let disk = |device: &str, serial: &str| DataDisk {
            device: Some(device.into()),
            serial: Some(serial.into()),
            ..DataDisk::default()
        };
        let mut now = record();
        now.manifest.spec.data_disks = vec![disk("vdb", "one")];
        let (stage, maker) = (RepaveStage::Preparing, now.maker.clone());
        let (spare, ran, before) = (Vec::new(), true, None);
        now.repave = Some(Repave { stage, maker, since: "s".into(), spare, ran, before });
        let first = now.manifest.clone();
        let mut wanted = first.clone();
        wanted.spec.autostart = Some(false);
        wanted.spec.data_disks = vec![disk("vdb", "two")];
        let parts =
            BootParts { manifest: Some(Box::new(wanted.clone())), ..BootParts::of_record(&now, None) };
        let before = now.exchange_boot(parts, None);
        assert_eq!(now.manifest, wanted);
        now.repave.as_mut().unwrap().before = Some(Box::new(before.clone()));
        assert_eq!(now.autostart_before(), Some(true));
        // A disk that was attached since stays.
        now.manifest.spec.data_disks.push(disk("vdc", "new"));
        now.exchange_boot(before, None);
        let disks = vec![disk("vdb", "one"), disk("vdc", "new")];
        let mut expected = first;
        expected.spec.data_disks = disks;
        assert_eq!(now.manifest, expected);
    }

    #[test]
    fn note_is_read_back_and_absent_without_a_repave() {
        let plain = record().to_text().unwrap();
        assert!(!plain.contains("repave"), "{plain}");
        let spare = vec![volume(VolumeRole::Boot, "web_boot.2")];
        let (stage, before) = (RepaveStage::OnTrial, Some(Box::default()));
        let maker = record().maker;
        let note = Repave { stage, maker, since: "s".into(), spare, ran: false, before };
        let noted = Record { repave: Some(note.clone()), ..record() };
        let text = noted.to_text().unwrap();
        assert!(text.contains("\"stage\":\"on-trial\""), "{text}");
        let read: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(read.repave, Some(note));
    }
}
