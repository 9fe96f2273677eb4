//! The sides of a comparison, and the fields that differ between them.

use std::collections::BTreeMap;

use foundry_core::plan::VmPlan;
use foundry_core::record::RecordedVolume;
use foundry_core::units::{Bytes, GIB};
use foundry_host::libvirt_xml::DomainDescription;

use super::field::{FieldDiff, Verdict};

/// Everything that is compared.
pub(crate) struct Sides<'a> {
    /// The manifest.
    pub(crate) wanted: &'a VmPlan,
    /// The manifest that was applied last.
    pub(crate) recorded: &'a VmPlan,
    /// The persistent definition.
    pub(crate) next: &'a DomainDescription,
    /// The running definition; `None` if the VM is off.
    pub(crate) live: Option<&'a DomainDescription>,
    /// Whether the domain starts with the host.
    pub(crate) autostart: bool,
    /// Whether the guest's architecture is the host's.
    pub(crate) native: bool,
    /// The VM's volumes.
    pub(crate) volumes: &'a [RecordedVolume],
    /// The sizes of the disks, by the device that they were made for.
    pub(crate) capacities: &'a BTreeMap<String, Bytes>,
    /// Whether the manifest means the image that the boot disk was made from.
    pub(crate) is_same_image: bool,
    /// Paths of the secrets in the manifest that are not the recorded ones.
    pub(crate) changed_secrets: &'a [String],
    /// Entries of the applied patch that wait for a restart.
    pub(crate) pending_patches: &'a [usize],
}

/// The values of one field on all sides.
pub(super) struct Values {
    pub(super) wanted: Option<String>,
    pub(super) recorded: Option<String>,
    /// `None` if the definition does not show the field.
    pub(super) persistent: Option<Option<String>>,
    /// `None` if the VM is off, or a running one does not show the field.
    pub(super) live: Option<Option<String>>,
}

impl Values {
    /// A field that only record and seed have.
    pub(super) fn recorded(wanted: Option<String>, recorded: Option<String>) -> Self {
        Self { wanted, recorded, persistent: None, live: None }
    }
}

/// What changing a field takes, and why it cannot be changed in place.
#[derive(Debug, Clone)]
pub(super) struct Ruling(pub(super) Verdict, pub(super) Option<String>);

impl Ruling {
    pub(super) const LIVE: Self = Self(Verdict::Live, None);
    pub(super) const NEXT_START: Self = Self(Verdict::NextStart, None);

    pub(super) fn repave(why: &str) -> Self {
        Self(Verdict::Repave, Some(why.to_owned()))
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self(Verdict::Refused, Some(why.into()))
    }
}

/// The reason for everything that cloud-init does.
pub(super) const FIRST_BOOT: &str = "cloud-init sets it at the first boot";

/// The fields that differ so far.
#[derive(Default)]
pub(super) struct Differences(Vec<FieldDiff>);

impl Differences {
    /// The fields, in the order in which they were added.
    pub(super) fn into_fields(self) -> Vec<FieldDiff> {
        self.0
    }

    /// Adds a field, unless it is the same on all sides.
    pub(super) fn add(&mut self, path: impl Into<String>, values: Values, ruling: Ruling) {
        let Values { wanted, recorded, persistent, live } = values;
        let defined = persistent.as_ref().unwrap_or(&recorded);
        let runs_so = live.as_ref().is_none_or(|live| *live == wanted);
        if wanted == recorded && wanted == *defined && runs_so {
            return;
        }
        let is_defined = wanted == *defined;
        let pending = is_defined && !runs_so;
        let Ruling(verdict, why) = match ruling {
            // The definition has it already: the record is written at once, the guest gets it when it starts.
            possible if !is_defined || (pending && possible.0 == Verdict::Live) => possible,
            _ if pending => Ruling::NEXT_START,
            _ => Ruling::LIVE,
        };
        let drift = !is_defined && wanted == recorded;
        self.0.push(FieldDiff {
            path: path.into(),
            pending: pending && wanted == recorded,
            wanted,
            recorded,
            persistent: persistent.flatten(),
            live: live.flatten(),
            verdict,
            why,
            drift,
        });
    }
}

/// Rounds up to MiB, as libvirt's QEMU driver does at the start.
pub(super) fn round_up(size: Bytes) -> Bytes {
    Bytes(size.0.saturating_add((1 << 20) - 1) & !((1 << 20) - 1))
}

/// A size as a manifest writes it, in GiB.
pub(super) fn gib_text(size: Bytes) -> String {
    #[allow(clippy::cast_precision_loss, reason = "sizes in MiB are exact in 53 bits")]
    let gib = size.0 as f64 / GIB as f64;
    gib.to_string()
}
