//! The content of a domain's metadata: its maker, its manifest and its volumes.
//!
//! The record is the only state that foundry keeps, and it is written first, inside the defined XML:
//!
//! ```text
//!   define            volumes made, seed filled        destroy begins          undefine
//! ──────────▶ creating ───────────────────────▶ created ─────────────▶ destroying ─────────▶ (gone)
//!                 │ maker died: "interrupted"                                ▲
//!                 └──────────────────────────────────────────────────────────┘
//! ```
//!
//! It is JSON, which escapes the control characters that XML 1.0 cannot carry. A read-only connection
//! shows it, so it holds no secret: those live in the seed volume, and the record keeps their digests.

mod machine;
mod maker;
mod salt;

pub use machine::prove;
pub use maker::{Liveness, Maker};
pub use salt::{Salt, is_recorded};

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

/// XML namespace of foundry's metadata in a domain. The first foundry used it too, so one call
/// reads the record of either.
pub const METADATA_NAMESPACE: &str = "http://foundry.cofront.xyz/v1alpha1";

/// The version of the record's form. A foundry that reads a higher one leaves the VM alone.
pub const VERSION: u32 = 1;

/// What foundry remembers of a VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The domain that it is the record of. A copy of a domain has another UUID, and a copied record names
    /// volumes that are not its own.
    pub domain: Uuid,
    /// How far it is.
    pub state: RecordState,
    /// The manifest without its secrets.
    pub manifest: VirtualMachine,
    /// For each secret that was left out, its path in the manifest and a digest of its value, salted by what is in the
    /// seed; that of an older record has no salt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The volumes that were or are to be made for it. Nothing else is ever deleted with it.
    pub volumes: Vec<RecordedVolume>,
    /// The process that makes or made it; once its destruction began, the one that destroys it.
    pub maker: Maker,
    /// RFC 3339; when the creation began.
    pub created_at: String,
    /// RFC 3339; foundry's last act.
    pub changed_at: String,
    /// How often the spec changed, from 1.
    pub generation: u64,
    /// cloud-init's instance-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Where the serial console is logged on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_log: Option<String>,
    /// The image of the boot disk, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where that image came from, as it was noted when the VM was made. The image may be another by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_origin: Option<ImageOrigin>,
}

/// How far a VM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// Its volumes are being made.
    Creating,
    /// It is whole.
    Created,
    /// Its volumes are being deleted.
    Destroying,
}

/// A volume that belongs to a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedVolume {
    /// What it is for.
    pub role: VolumeRole,
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// Its format.
    pub format: String,
    /// Its size as planned; a disk may have grown since without foundry.
    pub capacity: Bytes,
    /// Path of the image below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing: Option<String>,
    /// While it is being made for a VM that is whole: the process that does. It is nobody's disk yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attaching: Option<Maker>,
}

impl RecordedVolume {
    /// The guest's name of the disk, as foundry gives it by what the volume is for.
    pub fn disk_target(&self) -> Option<String> {
        match self.role {
            VolumeRole::Boot => Some("vda".into()),
            VolumeRole::Seed => Some("sda".into()),
            VolumeRole::Data => VmName::target_of_volume(&self.name).map(String::from),
        }
    }
}

/// What a volume is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeRole {
    /// `vda`.
    Boot,
    /// `vdb` to `vdz`.
    Data,
    /// The cloud-init seed.
    Seed,
}

impl VolumeRole {
    /// What a volume is for, by its name, where that is one that foundry gives to a VM's, whichever VM it is of.
    pub fn of_volume(name: &str) -> Option<Self> {
        Some(match VolumeNameParts::parse(name)?.part {
            VmPart::Boot => Self::Boot,
            VmPart::Data(_) => Self::Data,
            VmPart::Seed => Self::Seed,
        })
    }
}

/// Whose a domain is.
#[derive(Debug, Clone, PartialEq)]
pub enum Owner {
    /// Ours.
    Foundry(Box<Record>),
    /// Of the first foundry, which kept the whole manifest as YAML.
    FirstFoundry(Box<VirtualMachine>),
    /// Somebody else's.
    Foreign,
    /// Of a foundry whose record cannot be read, with the reason.
    Unreadable(String),
    /// Of a newer foundry, which wrote its record in this version.
    Newer(u32),
}

impl Owner {
    /// Whose this domain is. A record that was copied with its domain (`virsh dumpxml`, a clone) is no record.
    pub fn of_domain(uuid: Uuid, text: Option<&str>) -> Self {
        match Self::parse_metadata(text) {
            Self::Foundry(record) if record.domain != uuid => Self::Foreign,
            owner => owner,
        }
    }

    /// Reads the text of foundry's metadata element.
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
        // A newer record may look like one of ours, or like none.
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

    /// The manifest, where there is one.
    pub fn manifest(&self) -> Option<&VirtualMachine> {
        match self {
            Self::Foundry(record) => Some(&record.manifest),
            Self::FirstFoundry(manifest) => Some(manifest),
            Self::Foreign | Self::Unreadable(_) | Self::Newer(_) => None,
        }
    }
}

impl Record {
    /// The record as it stands in the domain's metadata.
    ///
    /// # Errors
    /// None in practice: every part of it has a JSON form.
    pub fn to_text(&self) -> Result<String, Error> {
        let unwritable =
            |e: serde_json::Error| Error::new(Kind::Vm, "cannot write the record").because(e.to_string());
        serde_json::to_string(self).map_err(unwritable)
    }

    /// Whether the VM had a seed and has none any more.
    pub fn is_seed_gone(&self) -> bool {
        self.instance_id.is_some() && !self.volumes.iter().any(|v| v.role == VolumeRole::Seed)
    }

    /// The same record in another state, `now` being foundry's act.
    #[must_use]
    pub fn with_state(&self, state: RecordState, now: &str) -> Self {
        Self { state, changed_at: now.to_owned(), ..self.clone() }
    }
}

/// Takes the secrets out of a manifest and gives each, by its path.
pub fn split_secrets(manifest: &VirtualMachine) -> (VirtualMachine, BTreeMap<String, String>) {
    let mut open = manifest.clone();
    let mut secrets = BTreeMap::new();
    if let Some(cloud_init) = &mut open.spec.cloud_init {
        let CloudInit { password_hash, raw_user_data, user_data, network_config, .. } = cloud_init;
        for (field, secret) in [
            ("passwordHash", password_hash),
            ("rawUserData", raw_user_data),
            ("userData", user_data),
            // Passwords of wireless networks and of tunnels are in it.
            ("networkConfig", network_config),
        ] {
            if let Some(value) = secret.take() {
                secrets.insert(format!("spec.cloudInit.{field}"), value);
            }
        }
    }
    (open, secrets)
}

/// `sha256:` and the digest in hexadecimal.
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
    fn secrets_leave_the_manifest_by_their_paths() {
        let (open, secrets) = split_secrets(&manifest_with_secrets());
        let text = serde_json::to_string(&open).unwrap();
        assert!(!text.contains("$6$") && !text.contains("token"), "{text}");
        assert!(text.contains("web.example.com"));
        let paths: Vec<_> = secrets.keys().map(String::as_str).collect();
        assert_eq!(paths, ["spec.cloudInit.passwordHash", "spec.cloudInit.userData"]);
        assert_eq!(secrets["spec.cloudInit.passwordHash"], "$6$salt$hash");
        // sha256sum of "abc", computed outside.
        assert_eq!(
            digest_of("abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn nothing_in_the_metadata_is_a_foreign_domain() {
        assert_eq!(Owner::parse_metadata(None), Owner::Foreign);
    }

    #[test]
    fn a_record_of_a_newer_foundry_is_known_as_one() {
        assert_eq!(Owner::parse_metadata(Some(r#"{"version": 99, "state": "melting"}"#)), Owner::Newer(99));
    }

    #[test]
    fn a_record_that_is_garbage_is_not_mistaken_for_none() {
        for garbage in ["{", "{}", "just words", "a: [", ""] {
            assert!(matches!(Owner::parse_metadata(Some(garbage)), Owner::Unreadable(_)), "{garbage:?}");
        }
    }
}
