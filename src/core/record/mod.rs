//! The metadata that foundry stores in a domain: its maker, its manifest and its volumes.
//!
//! The record is foundry's only state. It is written first, as part of the domain's definition:
//!
//! ```text
//!   define            volumes made, seed filled        destroy begins          undefine
//! ──────────▶ creating ───────────────────────▶ created ─────────────▶ destroying ─────────▶ (gone)
//!                 │ maker died: "interrupted"                                ▲
//!                 └──────────────────────────────────────────────────────────┘
//! ```
//!
//! It is JSON, which escapes the control characters that XML 1.0 cannot carry. A read-only connection can read it, so
//! it contains no secrets: those are in the seed volume, and the record has only their digests.

mod history;
mod maker;
mod repave;
mod runner;
mod salt;
mod ssh_access;
mod volume_ref;

pub use history::{KEPT, KEPT_BYTES, Revision, manifest_digest};
pub use maker::{Liveness, Maker, Operation};
pub use repave::{BootParts, Repave, RepaveStage};
pub use runner::{RetireReason, RunnerNote, RunnerState};
pub use salt::{Salt, is_recorded};
pub use ssh_access::{HostKey, SshAccess};
pub use volume_ref::VolumeRef;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, Kind};
use crate::manifest::{CloudInit, VirtualMachine};
use crate::names::{VmName, VmPart, VolumeNameParts};
use crate::origin::ImageOrigin;
use crate::text::escape_unseen;
use crate::units::Bytes;

/// XML namespace of foundry's metadata in a domain. The first foundry used the same, so one call reads both kinds of
/// record.
pub const METADATA_NAMESPACE: &str = "http://foundry.cofront.xyz/v1alpha1";

/// Version of the record format. A foundry that finds a higher version does not touch the VM.
pub const VERSION: u32 = 1;

/// What foundry stores about a VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Version of the format, [`VERSION`].
    pub version: u32,
    /// UUID of the domain that the record belongs to. A copy of a domain has another UUID, and its copied record names
    /// volumes that do not belong to it.
    pub domain: Uuid,
    /// Stage of the VM's life.
    pub state: RecordState,
    /// The manifest, without secrets.
    pub manifest: VirtualMachine,
    /// For each secret that was left out: its path in the manifest and a digest of its value. The salt is in the seed;
    /// digests in older records have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Volumes that were or will be created for the VM. Nothing else is ever deleted with it.
    pub volumes: Vec<RecordedVolume>,
    /// The process that creates or created the VM; once destruction has begun, the process that destroys it.
    pub maker: Maker,
    /// When the creation began (RFC 3339).
    pub created_at: String,
    /// Time of foundry's last change (RFC 3339).
    pub changed_at: String,
    /// Number of the spec's version, from 1.
    pub generation: u64,
    /// Instance id for cloud-init.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Path of the serial console's log on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_log: Option<String>,
    /// Image of the boot disk, for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Origin of that image when the VM was created. The image may have been replaced since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_origin: Option<ImageOrigin>,
    /// Earlier versions of the manifest, oldest first, and the present one without its manifest. Empty if it never
    /// changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Revision>,
    /// How to log in over SSH. `None` in older records, and without a seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshAccess>,
    /// A repave that has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repave: Option<Repave>,
    /// What foundry notes about the CI runner in the VM, if it belongs to a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerNote>,
}

/// Stage of a VM's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// Its volumes are being created.
    Creating,
    /// It is complete.
    Created,
    /// Its volumes are being deleted.
    Destroying,
}

/// A volume that belongs to a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedVolume {
    /// What the volume is for.
    pub role: VolumeRole,
    /// Name of its pool.
    pub pool: String,
    /// Name of the volume.
    pub name: String,
    /// Path on the host.
    pub path: String,
    /// Format of the volume.
    pub format: String,
    /// Planned size. The disk may have been enlarged since without foundry.
    pub capacity: Bytes,
    /// Path of the backing image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// The process that is attaching the disk to an existing VM. While it is set, the disk is not in use yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attaching: Option<Maker>,
    /// Device name of the disk in the guest, if it does not follow from the volume's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the volume existed before foundry had it. Such a volume is never deleted with the VM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Set on an overlay that a snapshot needed: it holds what was written since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay_of: Option<OverlayMark>,
}

/// Why a volume is an overlay on another volume of the same VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverlayMark {
    /// Name of the snapshot that was made or restored when the overlay began.
    pub snapshot: String,
    /// The process that is making the overlay; absent once the VM has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maker: Option<Maker>,
}

impl RecordedVolume {
    /// Makes the entry of a volume that foundry creates with its VM: without a backing file, and not being attached.
    pub fn new(
        role: VolumeRole,
        volume: VolumeRef,
        path: impl Into<String>,
        format: impl Into<String>,
        capacity: Bytes,
    ) -> Self {
        Self {
            role,
            pool: volume.pool,
            name: volume.name,
            path: path.into(),
            format: format.into(),
            capacity,
            backing: None,
            attaching: None,
            target: None,
            adopted: false,
            overlay_of: None,
        }
    }

    /// The volume itself.
    pub fn reference(&self) -> VolumeRef {
        VolumeRef::new(self.pool.clone(), self.name.clone())
    }

    /// Returns the disk's device name in the guest, as recorded or as it follows from what the volume is for.
    pub fn disk_target(&self) -> Option<String> {
        match self.role {
            _ if self.target.is_some() => self.target.clone(),
            VolumeRole::Boot => Some("vda".into()),
            VolumeRole::Seed => Some("sda".into()),
            VolumeRole::Data => VmName::target_of_volume(&self.name).map(String::from),
            VolumeRole::Memory => None,
        }
    }
}

/// What a volume is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeRole {
    /// The boot disk, `vda`.
    Boot,
    /// A data disk, `vdb` to `vdz`.
    Data,
    /// The cloud-init seed.
    Seed,
    /// The saved memory that a VM starts from, or that a warm image is made of. While a VM has it, it is incomplete.
    Memory,
}

impl VolumeRole {
    /// Returns what a volume is for according to its name, whichever VM it belongs to. Returns `None` if the name does
    /// not follow foundry's convention.
    pub fn of_volume(name: &str) -> Option<Self> {
        Some(match VolumeNameParts::parse(name)?.part {
            VmPart::Boot => Self::Boot,
            VmPart::Data(_) => Self::Data,
            VmPart::Seed => Self::Seed,
            VmPart::Memory => Self::Memory,
        })
    }
}

/// The program that a domain belongs to, by the record in its metadata. (The owner of a file, a user id, and the VM
/// that a volume belongs to are something else.)
#[derive(Debug, Clone, PartialEq)]
pub enum Owner {
    /// This foundry, with the record.
    Foundry(Box<Record>),
    /// The first foundry, which stored the whole manifest as YAML.
    FirstFoundry(Box<VirtualMachine>),
    /// Another program or user.
    Foreign,
    /// Foundry, but the record cannot be read, for this reason.
    Unreadable(String),
    /// A newer foundry, which wrote its record in this version.
    Newer(u32),
}

impl Owner {
    /// Determines the program that a domain belongs to. A record that was copied along with its domain (`virsh
    /// dumpxml`, a clone) is not valid.
    pub fn of_domain(uuid: Uuid, text: Option<&str>) -> Self {
        match Self::parse_metadata(text) {
            Self::Foundry(record) if record.domain != uuid => Self::Foreign,
            owner => owner,
        }
    }

    /// Parses the text of foundry's metadata element.
    pub fn parse_metadata(text: Option<&str>) -> Self {
        match text.map(str::trim) {
            None => Self::Foreign,
            Some(json) if json.starts_with('{') => Self::parse_json(json),
            Some(yaml) => Self::parse_yaml(yaml),
        }
    }

    fn parse_json(json: &str) -> Self {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let read = serde_json::from_str::<Record>(json);
        // A newer record may or may not parse as one of this version, so the version is checked first.
        let version = match &read {
            Ok(record) => Some(record.version),
            Err(_) => serde_json::from_str::<Versioned>(json).ok().map(|found| found.version),
        };
        match (read, version) {
            (_, Some(newer)) if newer > VERSION => Self::Newer(newer),
            (Ok(record), _) => Self::Foundry(Box::new(record)),
            (Err(e), _) => Self::Unreadable(escape_unseen(&e.to_string())),
        }
    }

    fn parse_yaml(yaml: &str) -> Self {
        match crate::manifest::load_text(yaml, "the record").map(|list| list.into_iter().next()) {
            Ok(Some(manifest)) => Self::FirstFoundry(Box::new(manifest)),
            Ok(None) => Self::Unreadable("it is empty".into()),
            Err(e) => Self::Unreadable(e.to_string()),
        }
    }

    /// Returns the manifest, if there is one.
    pub fn manifest(&self) -> Option<&VirtualMachine> {
        match self {
            Self::Foundry(record) => Some(&record.manifest),
            Self::FirstFoundry(manifest) => Some(manifest),
            Self::Foreign | Self::Unreadable(_) | Self::Newer(_) => None,
        }
    }
}

impl Record {
    /// Writes the record as text for the domain's metadata.
    ///
    /// # Errors
    /// None in practice: every part of it has a JSON form.
    pub fn to_text(&self) -> Result<String, Error> {
        let unwritable =
            |e: serde_json::Error| Error::new(Kind::Vm, "cannot write the record").because(e.to_string());
        serde_json::to_string(self).map_err(unwritable)
    }

    /// Whether the VM had a seed that was ejected.
    pub fn is_seed_gone(&self) -> bool {
        self.instance_id.is_some() && !self.volumes.iter().any(|v| v.role == VolumeRole::Seed)
    }

    /// Returns whether the VM is being made from saved memory, or its memory is to become a warm image.
    pub fn has_memory(&self) -> bool {
        self.volumes.iter().any(|volume| volume.role == VolumeRole::Memory)
    }

    /// Returns the record with another state, changed at the time `now`.
    #[must_use]
    pub fn with_state(&self, state: RecordState, now: &str) -> Self {
        Self { state, changed_at: now.to_owned(), ..self.clone() }
    }
}

/// Removes the secrets from a manifest and returns them by their paths.
pub fn split_secrets(manifest: &VirtualMachine) -> (VirtualMachine, BTreeMap<String, String>) {
    let mut open = manifest.clone();
    let mut secrets = BTreeMap::new();
    if let Some(cloud_init) = &mut open.spec.cloud_init {
        let CloudInit { password_hash, raw_user_data, user_data, network_config, .. } = cloud_init;
        for (field, secret) in [
            ("passwordHash", password_hash),
            ("rawUserData", raw_user_data),
            ("userData", user_data),
            // It may contain passwords of wireless networks and tunnels.
            ("networkConfig", network_config),
        ] {
            if let Some(value) = secret.take() {
                secrets.insert(format!("spec.cloudInit.{field}"), value);
            }
        }
    }
    (open, secrets)
}

/// Computes a digest: `sha256:` and hexadecimal digits.
pub fn digest_of(value: &str) -> String {
    let hex: String = Sha256::digest(value).iter().map(|octet| format!("{octet:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest_with_secrets() -> VirtualMachine {
        let mut vm = VirtualMachine { api_version: "v".into(), kind: "k".into(), ..Default::default() };
        vm.spec.cloud_init = Some(CloudInit {
            fqdn: Some("web.example.com".into()),
            password_hash: Some("$6$salt$hash".into()),
            user_data: Some("runcmd: [\"echo token\"]".into()),
            ..Default::default()
        });
        vm
    }

    #[test]
    fn secrets_are_removed_with_their_paths() {
        let (open, secrets) = split_secrets(&manifest_with_secrets());
        let text = serde_json::to_string(&open).unwrap();
        assert!(!text.contains("$6$") && !text.contains("token"), "{text}");
        assert!(text.contains("web.example.com"));
        let paths: Vec<_> = secrets.keys().map(String::as_str).collect();
        assert_eq!(paths, ["spec.cloudInit.passwordHash", "spec.cloudInit.userData"]);
        assert_eq!(secrets["spec.cloudInit.passwordHash"], "$6$salt$hash");
        // sha256sum of "abc", computed with coreutils.
        assert_eq!(
            digest_of("abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn domain_without_metadata_is_foreign() {
        assert_eq!(Owner::parse_metadata(None), Owner::Foreign);
    }

    #[test]
    fn newer_record_is_recognized() {
        assert_eq!(Owner::parse_metadata(Some(r#"{"version": 99, "state": "melting"}"#)), Owner::Newer(99));
    }

    #[test]
    fn garbage_record_is_unreadable_not_foreign() {
        for garbage in ["{", "{}", "just words", "a: [", ""] {
            assert!(matches!(Owner::parse_metadata(Some(garbage)), Owner::Unreadable(_)), "{garbage:?}");
        }
    }
}
