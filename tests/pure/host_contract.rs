//! What every host keeps: the contract of [`foundry::host::Host`].
//!
//! One table of cases is run on the in-memory host, on libvirt's test driver and on the libvirtd that
//! `FOUNDRY_TEST_URI` names, the last two through the real adapter. It is what makes a test against
//! the in-memory host worth something: where libvirt behaves otherwise, a case here fails.
//!
//! A case says what it needs beyond the trait, and is skipped, aloud, on a host that lacks it. With
//! `FOUNDRY_TEST_REQUIRE=1` a missing `FOUNDRY_TEST_URI` is a failure. Everything made bears the
//! prefix `foundry-test-` and goes again, also after a failure.

use std::sync::Arc;

use crate::support::host_contract::bench::{Need, Subject, run_all, run_transfers};
use foundry::host::Libvirt;
use foundry::host::memory::MemoryHost;

#[test]
fn the_host_in_memory_keeps_the_contract() {
    let host = MemoryHost::new().with_events();
    let lacks = &[Need::Holes];
    run_all(&Subject { host: &host, domain_type: "qemu", directory: "/pool", on_disk: false, lacks });
}

/// libvirt's own mock: no files behind its volumes, no streams, and no NVRAM to remove. Its list of
/// domains has neither CPUs nor memory.
#[test]
fn the_test_driver_keeps_the_contract() {
    let host = Libvirt::connect("test:///default", Arc::new(())).expect("the test driver needs no daemon");
    let lacks = &[
        Need::Files,
        Need::Streams,
        Need::Resize,
        Need::Firmware,
        Need::BulkStats,
        Need::Transience,
        Need::Devices,
        Need::Consoles,
    ];
    run_all(&Subject { host: &host, domain_type: "test", directory: "/pool", on_disk: false, lacks });
}

#[test]
fn a_real_libvirtd_keeps_the_contract() {
    with_libvirtd(|host| host, run_all);
}

/// As another machine is reached.
#[test]
fn a_real_libvirtd_keeps_the_contract_by_its_streams_alone() {
    with_libvirtd(Libvirt::through_streams_only, run_transfers);
}

fn with_libvirtd(reached: impl Fn(Libvirt) -> Libvirt, run: impl Fn(&Subject<'_>)) {
    let Ok(uri) = std::env::var("FOUNDRY_TEST_URI") else {
        assert!(std::env::var("FOUNDRY_TEST_REQUIRE").as_deref() != Ok("1"), "FOUNDRY_TEST_URI is not set");
        println!("skipped: FOUNDRY_TEST_URI is not set");
        return;
    };
    let host = reached(Libvirt::connect(&uri, Arc::new(())).expect("FOUNDRY_TEST_URI answers"));
    let kvm = std::env::var("FOUNDRY_VIRT_TYPE").as_deref() == Ok("kvm");
    run(&Subject {
        host: &host,
        domain_type: if kvm { "kvm" } else { "qemu" },
        // Where the user that QEMU runs as may go, whatever the host's security model.
        directory: "/var/lib/libvirt/images",
        on_disk: true,
        lacks: &[],
    });
}
