//! The note on a warm image: what it was made of, and where it can be used.
//!
//! A warm image is a disk in the image pool with two volumes beside it: the memory of the guest that was booted from it,
//! and this note. Saved memory fits only a machine like the one that it was saved on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::VirtualMachine;
use crate::origin::ImageOrigin;
use crate::record::Maker;

/// Version of the note's format. A foundry that finds a higher one does not use the image.
pub const NOTE_VERSION: u32 = 1;

/// The note on a warm image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmNote {
    /// Version of the format, [`NOTE_VERSION`].
    pub version: u32,
    /// Name of the warm image, which tells this note from a copy.
    pub warm_image: String,
    /// Whether disk and memory are complete.
    pub complete: bool,
    /// The process that makes or made it.
    pub maker: Maker,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// Version of foundry.
    pub foundry: String,
    /// The manifest, without secrets.
    pub manifest: VirtualMachine,
    /// Digest of that manifest.
    pub manifest_digest: String,
    /// Paths of the secrets that were left out. With them, the image cannot be made anew from the note alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// The image that the guest was booted from.
    pub base: WarmBase,
    /// The machine that the memory fits.
    pub machine: WarmMachine,
}

/// The image that the guest of a warm image was booted from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmBase {
    /// As the manifest names it, with its full name.
    pub reference: String,
    /// Digest of its first bytes, if it was readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Where it came from, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ImageOrigin>,
}

impl WarmBase {
    /// Whether this is certainly another image than `now`, although under the same name.
    pub fn differs_from(&self, now: &Self) -> bool {
        let digest = |base: &Self| base.origin.as_ref().and_then(|origin| origin.digest.clone());
        let both_differ = |one: Option<String>, other: Option<String>| matches!((one, other), (Some(one), Some(other)) if one != other);
        both_differ(digest(self), digest(now)) || both_differ(self.head.clone(), now.head.clone())
    }
}

/// The machine that saved memory fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WarmMachine {
    /// Architecture of the guest.
    pub arch: String,
    /// `kvm` or `qemu`.
    pub domain_type: String,
    /// Full machine type, such as `pc-q35-7.2`.
    pub machine: String,
    /// The host's CPU: model and a digest of all that libvirt reports about it.
    pub cpu: String,
    /// QEMU's version: major × 1,000,000 + minor × 1,000 + release.
    pub qemu: u32,
    /// libvirt's version. Another one can restore the memory, too.
    pub libvirt: u32,
}

impl WarmMachine {
    /// Returns in what `here` differs so that it cannot restore the memory; the machine type is looked up by libvirt.
    pub fn obstacles(&self, here: &Self) -> Vec<String> {
        let version =
            |number: u32| format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000);
        let pairs = [
            ("architecture", self.arch.clone(), here.arch.clone()),
            ("virtualization", self.domain_type.clone(), here.domain_type.clone()),
            ("CPU", self.cpu.clone(), here.cpu.clone()),
            ("QEMU", version(self.qemu), version(here.qemu)),
        ];
        let differing = pairs.into_iter().filter(|(_, one, other)| one != other);
        differing.map(|(what, was, is)| format!("its {what} was {was}, and here it is {is}")).collect()
    }
}

impl fmt::Display for WarmMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}, CPU {}", self.domain_type, self.arch, self.machine, self.cpu)
    }
}
