//! Keepalives: detect a peer that vanished without closing, after a pulled cable or a power loss.

use virt::connect::Connect;

use super::call_timeouts::{CallTimeouts, PINGS};

/// Has a connection ping its daemon and answer the daemon's pings, while nothing is asked of it, too (libvirt's page
/// "virConnectSetKeepAlive"). It is lost if nothing comes back for as long as a call may take.
///
/// A driver without a daemon has no pings, which is no failure.
pub(super) fn keep_alive(connection: &Connect, timeouts: CallTimeouts) {
    if let Some(interval) = timeouts.ping_interval() {
        let _ = connection.set_keep_alive(interval, PINGS);
    }
}
