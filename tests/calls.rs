//! What each verb asks of the host, all of it: a call more is time on every remote connection, and is to be
//! seen here before it is merged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

mod support;

use foundry::operations::inspect::{get, list};
use support::{Bench, GENTLE, SMALL, WEB, plan};

/// The calls, one a line, in a form that can be read.
fn calls(bench: &Bench) -> String {
    bench.host.calls().join("\n")
}

#[test]
fn create_asks_once() {
    let bench = Bench::new();
    bench.create(&plan(WEB)).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domains
    capabilities
    bridges
    volume foundry-images/debian-12
    download foundry-images/debian-12
    volume foundry-images/debian-12.origin.json
    refresh_pool foundry-vms
    pool foundry-vms
    volume foundry-vms/web_boot
    volume foundry-vms/web_data-vdb
    volume foundry-vms/web_data-vdc
    volume foundry-vms/web_cloudinit
    define_domain web
    create_volume foundry-vms/web_boot
    create_volume foundry-vms/web_data-vdb
    create_volume foundry-vms/web_data-vdc
    create_volume foundry-vms/web_cloudinit
    upload foundry-vms/web_cloudinit
    set_record web
    set_autostart web
    start web
    ");
}

#[test]
fn a_small_vm_asks_less() {
    let bench = Bench::new();
    bench.create(&plan(SMALL)).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domains
    capabilities
    network default
    refresh_pool foundry-vms
    pool foundry-vms
    volume foundry-vms/small_boot
    define_domain small
    create_volume foundry-vms/small_boot
    set_record small
    start small
    ");
}

/// The looks at the state before each deletion are what keeps another's disks.
#[test]
fn destroy_asks_once() {
    let bench = Bench::with_web();
    bench.destroy("web", GENTLE).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domain web
    domain_xml web
    volume foundry-vms/web_boot
    volume foundry-vms/web_data-vdb
    volume foundry-vms/web_data-vdc
    volume foundry-vms/web_cloudinit
    domains
    domain_xml other
    pools
    volumes foundry-images
    volumes foundry-vms
    set_record web
    state web
    request_shutdown web
    state web
    state web
    delete_volume foundry-vms/web_boot
    state web
    delete_volume foundry-vms/web_data-vdb
    state web
    delete_volume foundry-vms/web_data-vdc
    state web
    delete_volume foundry-vms/web_cloudinit
    undefine web
    ");
}

/// A listing is one call, however many VMs with fixed addresses there are.
#[test]
fn a_listing_is_one_call() {
    let bench = Bench::with_web();
    list(&bench.session(), true).unwrap();
    insta::assert_snapshot!(calls(&bench), @"domains");
}

#[test]
fn get_asks_for_addresses_too() {
    let bench = Bench::with_web();
    get(&bench.session(), "web").unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domain web
    addresses web
    addresses web
    addresses web
    ");
}
