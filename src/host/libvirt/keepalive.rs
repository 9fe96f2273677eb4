//! Keepalives: detect a peer that vanished without closing, after a pulled cable or a power loss.

use std::sync::Once;
use std::thread;

use virt::connect::Connect;
use virt::event::{event_register_default_impl, event_run_default_impl};

use super::call_timeouts::{CallTimeouts, PINGS};

/// Runs libvirt's event loop in a thread, from the first call to the end of the process.
///
/// With it a connection that is made later pings the daemon and answers the daemon's pings (libvirt's page
/// "virConnectSetKeepAlive"), also while nothing is asked of it, and is lost when nothing comes back for as long as a call may take.
///
/// libvirt has one event loop in a process. The command line has foundry run it; a program that registers one of its own
/// (`virEventRegisterImpl`, or the default one, which it runs) must not call this, and has the same by its own.
/// The default one turns GLib's default context.
pub fn run_event_loop() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Without one, connections are as they are without: a call has its time limit anyway.
        if event_register_default_impl().is_ok() {
            let turn = || while event_run_default_impl().is_ok() {};
            let _ = thread::Builder::new().name("libvirt-events".into()).spawn(turn);
        }
    });
}

/// Has a connection ping its daemon. That there is no event loop, or no daemon, is no failure.
pub(super) fn keep_alive(connection: &Connect, timeouts: CallTimeouts) {
    if let Some(interval) = timeouts.ping_interval() {
        let _ = connection.set_keep_alive(interval, PINGS);
    }
}
