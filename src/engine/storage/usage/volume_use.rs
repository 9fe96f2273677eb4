//! Classifies how each volume is used, for all volumes at once.

use std::collections::BTreeSet;

use super::Usage;
use foundry_core::record::{RecordedVolume, VolumeRef};
use foundry_host::Volume;

/// How a volume is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeUse {
    /// A disk of a domain, or a volume in a record.
    Disk,
    /// A backing file, which nothing may write to.
    Below,
    /// No domain, record or overlay refers to it.
    Unused,
}

impl Usage {
    /// All volumes of the active pools.
    ///
    /// Most volumes are referred to by the path that libvirt lists, which is quick to look up. [`Usage::users_of`]
    /// compares a volume with everything, which is quadratic, so it is used for the other volumes only.
    pub(crate) fn volume_uses(&self) -> Vec<(&Volume, VolumeUse)> {
        let below: BTreeSet<&str> = self.volumes.iter().filter_map(|v| v.backing.as_deref()).collect();
        let files: BTreeSet<&str> = self.domains.iter().flat_map(|d| &d.files).map(String::as_str).collect();
        let volumes = self.domains.iter().flat_map(|d| d.volumes.iter().chain(&d.recorded));
        let volumes: BTreeSet<&VolumeRef> = volumes.collect();
        let named = |v: &Volume| volumes.contains(&v.reference());
        let part = |v: &Volume| match v.path.as_str() {
            path if below.contains(path) => VolumeUse::Below,
            path if files.contains(path) || named(v) => VolumeUse::Disk,
            path => self.use_by_all_names(v, path),
        };
        self.volumes.iter().map(|v| (v, part(v))).collect()
    }

    /// The reason why a volume is in use, if it is; a volume that only a record names counts, too.
    pub(crate) fn reason_if_used(&self, volume: &Volume) -> Option<String> {
        let reference = volume.reference();
        let named =
            || self.recording_domain(&reference).map(|vm| format!("the record of VM '{vm}' names it"));
        self.users_of(&reference, &volume.path).reason_if_used().or_else(named)
    }

    /// Returns whether a domain uses a volume, directly or as a backing file, now or at its next start.
    pub(crate) fn domain_has(&self, vm: &str, volume: &RecordedVolume) -> bool {
        let (reference, path) = (volume.reference(), &volume.path);
        // If the pool was moved, the volume is at another path than the record says.
        let listed = self.volumes.iter().find(|v| v.reference() == reference).map(|v| &v.path);
        let uses = |path: &String| self.users_of(&reference, path).vms.iter().any(|user| user == vm);
        uses(path) || listed.is_some_and(|now| now != path && uses(now))
    }

    fn use_by_all_names(&self, volume: &Volume, path: &str) -> VolumeUse {
        let users = self.users_of(&volume.reference(), path);
        match (users.overlays.is_empty(), users.vms.is_empty()) {
            (false, _) => VolumeUse::Below,
            (true, false) => VolumeUse::Disk,
            (true, true) => VolumeUse::Unused,
        }
    }
}
