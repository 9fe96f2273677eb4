//! How each volume is used by the domains, for all volumes at once.

use foundry_core::record::VolumeRef;
use std::collections::BTreeSet;

use super::Usage;
use foundry_core::record::RecordedVolume;
use foundry_host::Volume;

/// What a volume is to the domains of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeUse {
    /// A disk of a domain, which it writes to, or one that its record names.
    Disk,
    /// Others lie on it, so that nobody writes to it.
    Below,
    /// No domain needs it, and nothing lies on it.
    Unused,
}

impl Usage {
    /// All volumes of the active pools.
    ///
    /// Most are named as libvirt names them. To compare each with everything as [`Usage::users_of`] does would take
    /// the square of their number, and is left to those that nobody names so.
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

    /// Why a volume is somebody's, if it is: also one that a record names and no domain has as a disk yet.
    pub(crate) fn reason_if_used(&self, volume: &Volume) -> Option<String> {
        let reference = volume.reference();
        let named =
            || self.recording_domain(&reference).map(|vm| format!("the record of VM '{vm}' names it"));
        self.users_of(&reference, &volume.path).describe_users("uses it").or_else(named)
    }

    /// Whether a domain has that file as a disk, now or at its next start, or something that lies on it.
    pub(crate) fn domain_has(&self, vm: &str, volume: &RecordedVolume) -> bool {
        let (reference, path) = (volume.reference(), &volume.path);
        // A pool that was moved has it at another path than the record says.
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
