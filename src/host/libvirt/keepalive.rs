//! Keepalives: detect a peer that vanished without closing, after a pulled cable or a power loss.

use virt::connect::Connect;

use super::call_timeouts::{CallTimeouts, PINGS};

/// Makes a connection ping its daemon and answer the daemon's pings, also while it is idle (libvirt's page
/// "virConnectSetKeepAlive"). It is lost if nothing arrives for as long as a call may take.
///
/// A driver without a daemon has no pings, which is not an error.
pub(super) fn keep_alive(connection: &Connect, timeouts: CallTimeouts) {
    if let Some(interval) = timeouts.ping_interval() {
        let _ = connection.set_keep_alive(interval, PINGS);
    }
}
