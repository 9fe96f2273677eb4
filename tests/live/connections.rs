//! Connections beside one another.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::support::live::{self, program};
use foundry::host::{CallTimeouts, HostInfo, Libvirt};

/// Leaves this thread alone in a network of its own, in which every packet to 192.0.2.0/24 (RFC 5737) is swallowed.
#[allow(unsafe_code, reason = "unshare(2)")]
fn swallow_packets() {
    // SAFETY: takes a number, and changes this thread alone.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
    // The neighbour is said to be at the other end of the cable, where nobody listens.
    for command in [
        "link add swallows type veth peer name nobody",
        "address add 192.0.2.1/24 dev swallows",
        "link set swallows up",
        "link set nobody up",
        "neighbour add 192.0.2.9 lladdr 02:00:00:00:00:09 dev swallows",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        program("ip", &words).exits(0);
    }
}

#[test]
fn a_host_that_swallows_packets_delays_no_other() {
    let Some(uri) = live::environment("FOUNDRY_TEST_URI") else { return };
    let timeouts = CallTimeouts::of(Duration::from_secs(15));
    let (begins, begun) = channel();
    let dead = thread::spawn(move || {
        swallow_packets();
        begins.send(()).unwrap();
        Libvirt::connect_within("qemu+tcp://192.0.2.9/system", Arc::new(()), timeouts).map(|_| ())
    });
    begun.recv().unwrap();
    let hosts: Vec<_> = (0..8)
        .map(|_| {
            let uri = uri.clone();
            thread::spawn(move || Libvirt::connect(&uri, Arc::new(())).unwrap())
        })
        .collect();
    let hosts: Vec<Libvirt> = hosts.into_iter().map(|host| host.join().unwrap()).collect();
    assert!(!dead.is_finished(), "eight connections while one waits");
    // Each knows its own socket: the daemon at its other end is on this machine.
    assert!(hosts.iter().all(HostInfo::is_local));
    drop(hosts);
    let error = dead.join().unwrap().unwrap_err();
    assert_eq!(error.cause().as_deref(), Some("no answer within 15 s"));
}
