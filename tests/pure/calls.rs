//! What each verb asks of the host, all of it: a call more is time on every remote connection, and is to be
//! seen here before it is merged.

use std::time::Duration;

use crate::support::bench::{Bench, GENTLE, GIB, disk_request};
use crate::support::manifests::{SMALL, WEB, plan};
use foundry::operations::disk::{self, attach, detach, plan_detach, resize};
use foundry::operations::vm::inspect::{get_vm, list_vms};
use foundry::units::{Bytes, SizeRequest};

/// The calls, one a line, in a form that can be read.
fn calls(bench: &Bench) -> String {
    bench.host.calls().join("\n")
}

/// A domain without a manifest is looked at for its MAC addresses. The second look at all domains is for who wants
/// the same address at the same moment; the last one at the image for who deletes it without having seen the VM.
#[test]
fn create_asks_once() {
    let bench = Bench::new();
    bench.create(&plan(WEB)).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domains
    capabilities
    domain_xml other
    memory
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
    domains
    set_autostart web
    set_record web
    start web
    volume foundry-images/debian-12
    ");
}

#[test]
fn a_small_vm_asks_less() {
    let bench = Bench::new();
    bench.create(&plan(SMALL)).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domains
    capabilities
    domain_xml other
    memory
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

/// The looks at the state before each deletion are what keeps another's disks; the second look at the domain
/// is for disks that came while the user was asked.
#[test]
fn destroy_asks_once() {
    let bench = Bench::with_web();
    bench.destroy("web", GENTLE).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domain web
    domain_xml web
    domain_xml web
    volume foundry-vms/web_boot
    volume foundry-vms/web_data-vdb
    volume foundry-vms/web_data-vdc
    volume foundry-vms/web_cloudinit
    domains
    all_snapshots
    domain_xml other
    pools
    volumes foundry-images
    volumes foundry-vms
    domain web
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
    list_vms(&bench.context(), true).unwrap();
    insta::assert_snapshot!(calls(&bench), @"domains");
}

#[test]
fn get_asks_for_addresses_too() {
    let bench = Bench::with_web();
    get_vm(&bench.context(), "web").unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domain web
    addresses web
    addresses web
    addresses web
    ");
}

/// Of the record: read, as it is in what runs and in what starts next, write, read again; that is what two at a time
/// are told apart by.
#[test]
fn attach_asks_once() {
    let bench = Bench::with_web();
    let request = disk_request("web", 1);
    attach(&bench.context(), &request).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domain web
    domain_xml web
    domain_xml web
    refresh_pool foundry-vms
    pool foundry-vms
    volume foundry-vms/web_data-vdd
    snapshots web
    domain web
    domain_xml web
    set_record web
    domain web
    create_volume foundry-vms/web_data-vdd
    attach_disk web
    domain web
    domain_xml web
    set_record web
    domain web
    ");
}

#[test]
fn resize_asks_once() {
    let bench = Bench::with_web();
    resize(&bench.context(), "web", "boot", SizeRequest::To(Bytes(40 * GIB))).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domain web
    domain_xml web
    domain_xml web
    volume foundry-vms/web_boot
    snapshots web
    has_block_job web
    domains
    all_snapshots
    domain_xml other
    pools
    volumes foundry-images
    volumes foundry-vms
    refresh_pool foundry-vms
    pool foundry-vms
    snapshots web
    resize_disk web
    domain web
    domain_xml web
    set_record web
    domain web
    agent web
    ");
}

/// Who else uses the volume is looked at twice: for the question, and when the guest has let go.
#[test]
fn detach_asks_once_before_and_once_after_the_guest() {
    let bench = Bench::with_web();
    let found = plan_detach(&bench.context(), "web", "vdb", false).unwrap();
    detach(&bench.context(), &found, Duration::from_secs(1)).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domain web
    domain_xml web
    domain_xml web
    has_block_job web
    agent web
    volume foundry-vms/web_data-vdb
    snapshots web
    domains
    all_snapshots
    domain_xml other
    pools
    volumes foundry-images
    volumes foundry-vms
    detach_disk web
    state web
    domain_xml web
    detach_disk web
    domain web
    domains
    all_snapshots
    domain_xml other
    domain_xml web
    domain_xml web
    pools
    volumes foundry-images
    volumes foundry-vms
    delete_volume foundry-vms/web_data-vdb
    domain web
    domain_xml web
    set_record web
    domain web
    ");
}

#[test]
fn a_list_of_disks_asks_for_each_vm_and_each_disk() {
    let bench = Bench::with_web();
    disk::list_disks(&bench.context(), None).unwrap();
    insta::assert_snapshot!(calls(&bench), @r"
    domains
    domain_xml other
    volume_at /pool/vms/web_1_boot
    domain_xml web
    domain_xml web
    volume_at /pool/vms/web_boot
    volume_at /pool/vms/web_data-vdb
    volume_at /pool/vms/web_data-vdc
    volume_at /pool/vms/web_cloudinit
    ");
}
