//! Timeouts of calls. libvirt has none of its own: a call to a hung daemon never returns.

use std::time::Duration;

/// Calls whose duration depends on the data they move or the hardware they wait for: a guest whose memory is allocated
/// first, the last bytes of an upload on a slow disk, an overlay that is merged.
const LONG_CALLS: [&str; 8] = [
    "virDomainBlockResize",
    "virDomainCreate",
    "virDomainDestroy",
    "virDomainRestore",
    "virDomainSaveFlags",
    "virDomainSnapshotCreateXML",
    "virDomainSnapshotDelete",
    "virStreamFinish",
];

/// Prefixes of all storage calls. A mount, the deletion of a Ceph image or the scan of a large pool takes its time.
/// libvirtd locks the pool meanwhile, so even a quick query waits as long.
const STORAGE: [&str; 2] = ["virStorage", "virConnectListAllStoragePools"];

/// The factor by which their timeout is longer. A copy of 100 GB at 50 MB/s takes half of it, with the default.
const LONG_FACTOR: u32 = 60;

/// Unanswered pings that are allowed; a silent connection lasts one interval more.
pub(super) const PINGS: u32 = 5;

/// How long libvirt may take to answer a call.
///
/// Each piece of a transfer counts as one call, so a transfer may take any time while it makes progress. Calls that
/// move data inside the host or wait for its hardware get 60 times as long, provided that the daemon answers pings
/// meanwhile; the pings have the normal timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallTimeouts(Option<Duration>);

impl CallTimeouts {
    /// Timeouts with this limit for normal calls; zero disables them.
    pub fn of(limit: Duration) -> Self {
        Self(Some(limit).filter(|limit| !limit.is_zero()))
    }

    /// The limit for connecting and for each piece of a transfer.
    pub(super) fn limit(self) -> Option<Duration> {
        self.0
    }

    /// The limit for a libvirt function, by its name.
    pub(super) fn limit_of(self, function: &str) -> Option<Duration> {
        let is_labour =
            LONG_CALLS.contains(&function) || STORAGE.iter().any(|begin| function.starts_with(begin));
        let factor = if is_labour { LONG_FACTOR } else { 1 };
        self.0.map(|limit| limit.saturating_mul(factor))
    }

    /// Seconds between two pings, chosen so that a silent connection fails after the same time as a silent call; `None`
    /// without a limit.
    pub(super) fn ping_interval(self) -> Option<i32> {
        let seconds = self.0?.as_secs() / u64::from(PINGS + 1);
        Some(i32::try_from(seconds).unwrap_or(i32::MAX).max(1))
    }
}

impl Default for CallTimeouts {
    /// One minute. libvirt itself waits up to 30 seconds for a busy domain.
    fn default() -> Self {
        Self::of(Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_data_has_longer_and_zero_is_for_ever() {
        let seconds = |n| Some(Duration::from_secs(n));
        let timeouts = CallTimeouts::of(Duration::from_secs(5));
        assert_eq!(timeouts.limit_of("virDomainGetXMLDesc"), seconds(5));
        assert_eq!(timeouts.limit_of("virStorageVolCreateXML"), seconds(300));
        assert_eq!(timeouts.limit_of("virStorageVolLookupByName"), seconds(300), "it waits for the other");
        assert_eq!(CallTimeouts::of(Duration::ZERO).limit_of("virStorageVolCreateXML"), None);
        assert_eq!(CallTimeouts::of(Duration::MAX).limit_of("virDomainCreate"), Some(Duration::MAX));
    }

    #[test]
    fn a_dead_connection_has_as_long_as_a_call() {
        for (limit, interval) in [(0, None), (1, Some(1)), (6, Some(1)), (60, Some(10)), (3600, Some(600))] {
            assert_eq!(CallTimeouts::of(Duration::from_secs(limit)).ping_interval(), interval, "{limit}");
        }
    }
}
