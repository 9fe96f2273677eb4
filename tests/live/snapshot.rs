//! Snapshots of a real guest: made while it runs, restored, deleted, and destroyed with the VM.

use std::time::Duration;

use crate::support::live::{Bed, Guest};

/// The guest's name of the data disk.
fn device(guest: &Guest) -> String {
    guest.says("for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = vdb ] && echo /dev/${d##*/}; done; true")
}

fn write(guest: &Guest, text: &str) {
    let device = device(guest);
    guest.says(&format!("printf {text} | dd of={device} conv=fsync 2>/dev/null; sync"));
}

fn read(guest: &Guest) -> String {
    guest.answers_within(Duration::from_secs(120));
    let device = device(guest);
    guest.says(&format!("dd if={device} bs=3 count=1 2>/dev/null"))
}

#[test]
fn a_guest_is_set_back_to_what_it_had_written() {
    let Some(bed) = Bed::with_tiny("snapshot") else { return };
    let manifest = bed.manifest("web", 63).disk("vdb", 1);
    let vm = &manifest.name;
    let guest = bed.boots(&manifest);
    let does = |line: &[&str]| bed.foundry(&[&["snapshot"], line].concat()).run();
    let places = || bed.virsh().does(&["domblklist", vm]);
    let base = |name: &str| format!("{name}\n");

    write(&guest, "one");
    does(&["create", vm, "first"])
        .exits(4)
        .has_code("FND-4322")
        .mentions(&format!("foundry snapshot create {vm} first --no-freeze"))
        .mentions("nothing was changed");
    does(&["create", vm, "first", "--no-freeze", "--description", "a <b>"])
        .exits(0)
        .prints(&format!("snapshot/{vm}/first created\n"));
    write(&guest, "two");
    assert!(places().contains("_boot.2") && places().contains("_data-vdb.2"), "{}", places());
    does(&["list", vm, "-o", "name"]).exits(0).prints(&base(&format!("{vm}/first")));
    bed.foundry(&["disk", "resize", vm, "vdb", "+1"]).run().exits(4).has_code("FND-4109");

    // Back, and libvirt's own tools agree.
    does(&["restore", vm, "first", "--force", "--yes"])
        .exits(0)
        .prints(&format!("virtualmachine/{vm} restored to first and started\n"));
    assert_eq!(read(&guest), "one");
    assert!(places().contains("_boot.3") && !places().contains("_boot.2"), "{}", places());
    assert_eq!(bed.virsh().does(&["snapshot-list", vm, "--name"]).trim(), "first");
    does(&["create", vm, "second", "--no-freeze"]).exits(0);
    write(&guest, "six");
    does(&["restore", vm, "first", "--yes"]).exits(4).has_code("FND-4109").mentions("--delete-later");
    // In the middle of the chain, while the guest runs, and then the newest by virsh.
    does(&["delete", vm, "first", "--yes"]).exits(0).prints(&format!("snapshot/{vm}/first deleted\n"));
    assert_eq!(read(&guest), "six");
    bed.virsh().does(&["snapshot-delete", vm, "second"]);
    assert!(!places().contains("_boot."), "{}", places());
    assert_eq!(read(&guest), "six");
    does(&["list", vm]).exits(0).mentions("No snapshots");

    // Off: neither an agent nor a freeze is needed. Everything is deleted with the VM.
    bed.foundry(&["stop", vm, "--force"]).run().exits(0);
    does(&["create", vm, "off"]).exits(0);
    does(&["restore", vm, "off"]).exits(0).prints(&format!("virtualmachine/{vm} restored to off\n"));
    does(&["create", vm]).exits(0);
    bed.foundry(&["destroy", vm, "--yes"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// A snapshot that virsh made is listed, and left to virsh.
#[test]
fn a_snapshot_of_virsh_is_left_to_virsh() {
    let Some(bed) = Bed::new("snapvirsh") else { return };
    let manifest = bed.manifest("web", 64).boot_disk("{sizeGB: 1, empty: true}").without_cloud_init();
    let vm = &manifest.name;
    bed.creates(&manifest);
    bed.virsh().does(&["snapshot-create-as", vm, "s", "--disk-only", "--atomic"]);
    let does = |line: &[&str]| bed.foundry(&[&["snapshot"], line].concat()).run();
    let listed = does(&["list", vm, "-o", "json"]).exits(0).stdout;
    assert!(listed.contains("\"madeBy\": \"other\""), "{listed}");
    does(&["delete", vm, "s"])
        .exits(4)
        .has_code("FND-4003")
        .mentions(&format!("virsh snapshot-delete {vm} s"));
    does(&["create", vm, "--no-freeze"]).exits(4).has_code("FND-4404");
    bed.foundry(&["destroy", vm, "--force", "--yes"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}
