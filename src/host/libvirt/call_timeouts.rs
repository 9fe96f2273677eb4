//! Timeouts of calls. libvirt has none of its own: a call to a hung daemon never returns.

use std::time::Duration;

/// Calls whose time is that of the data they move or of the hardware they wait for: a guest whose memory is laid out
/// first, the last bytes of an upload on a slow disk.
const LONG_CALLS: [&str; 4] =
    ["virDomainBlockResize", "virDomainCreate", "virDomainDestroy", "virStreamFinish"];

/// And all that are about storage: a mount, a removed image at Ceph and a large pool that is read anew take their
/// time, and libvirtd locks the pool meanwhile, so that the quickest look at it waits as long.
const STORAGE: [&str; 2] = ["virStorage", "virConnectListAllStoragePools"];

/// How much more time they have. A copy of 100 GB at 50 MB/s takes half of it, with the default.
const LONG_FACTOR: u32 = 60;

/// Pings that may stay without an answer; the silence lasts one interval more.
pub(super) const PINGS: u32 = 5;

/// How long libvirt may take to answer a call.
///
/// Each piece of a transfer is a call of its own here, so that a transfer may take any time while it goes on.
/// Calls that move data inside of the host or wait for its hardware have 60 times as long, if only the daemon answers
/// pings meanwhile; those have as long as other calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallTimeouts(Option<Duration>);

impl CallTimeouts {
    /// So long; zero is for ever.
    pub fn of(limit: Duration) -> Self {
        Self(Some(limit).filter(|limit| !limit.is_zero()))
    }

    /// For the connecting itself, and for each piece of a transfer.
    pub(super) fn limit(self) -> Option<Duration> {
        self.0
    }

    /// For a libvirt call, by its name.
    pub(super) fn limit_of(self, function: &str) -> Option<Duration> {
        let is_labour =
            LONG_CALLS.contains(&function) || STORAGE.iter().any(|begin| function.starts_with(begin));
        let factor = if is_labour { LONG_FACTOR } else { 1 };
        self.0.map(|limit| limit.saturating_mul(factor))
    }

    /// Seconds between two pings, so that a silent connection has as long as a silent call; `None` where that is for
    /// ever.
    pub(super) fn ping_interval(self) -> Option<i32> {
        let seconds = self.0?.as_secs() / u64::from(PINGS + 1);
        Some(i32::try_from(seconds).unwrap_or(i32::MAX).max(1))
    }
}

impl Default for CallTimeouts {
    /// A minute. libvirt itself waits up to half of one for a domain that is busy.
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
