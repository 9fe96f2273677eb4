//! Disks that grow, come and go on a real libvirtd, seen by a real guest.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use crate::support::live;
use crate::support::live::{Bed, Guest, Manifest, Ran, Trace};

/// What the guest's kernel sees of a disk, in GiB, by the serial number that foundry gives it: the name is the
/// kernel's own choice.
fn seen(guest: &Guest, serial: &str) -> Option<u64> {
    let of =
        format!("for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = {serial} ] && cat $d/size; done; true");
    let sectors = guest.says(&of);
    (!sectors.is_empty()).then(|| sectors.parse::<u64>().unwrap() * 512 / (1 << 30))
}

/// The guest's name of a disk.
fn device(guest: &Guest, serial: &str) -> String {
    guest.says(&format!(
        "for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = {serial} ] && echo /dev/${{d##*/}}; done; true"
    ))
}

/// A kernel hears of a new disk a moment after libvirt has it.
fn sees_within_seconds(guest: &Guest, serial: &str, size: Option<u64>) {
    let begun = Instant::now();
    while seen(guest, serial) != size {
        assert!(begun.elapsed() < Duration::from_secs(60), "{serial} is {:?}", seen(guest, serial));
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn disk(bed: &Bed, arguments: &[&str]) -> Ran {
    bed.foundry(&[&["disk"], arguments].concat()).run()
}

/// A disk as `disk list` has it.
fn listed(bed: &Bed, vm: &str, device: &str) -> Option<serde_json::Value> {
    let list = disk(bed, &["list", vm, "-o", "json"]).exits(0).stdout;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list.as_array().unwrap().iter().find(|d| d["device"] == device).cloned()
}

fn gib(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap() >> 30
}

#[test]
fn a_running_guest_sees_its_disks_grow_come_and_go() {
    let Some(bed) = Bed::with_tiny("disks") else { return };
    let manifest = bed.manifest("web", 150).disk("vdb", 1);
    let vm = &manifest.name;
    let guest = bed.boots(&manifest);
    assert_eq!((seen(&guest, "vda"), seen(&guest, "vdb")), (Some(1), Some(1)));

    // The boot disk, an overlay on an image, grows under the running guest.
    disk(&bed, &["resize", vm, "boot", "3GiB"]).exits(0).mentions("growpart /dev/vda 1");
    sees_within_seconds(&guest, "vda", Some(3));
    disk(&bed, &["resize", vm, "vdb", "+1"]).exits(0);
    sees_within_seconds(&guest, "vdb", Some(2));
    assert_eq!(gib(&listed(&bed, vm, "vda").unwrap()["size"]), 3);
    disk(&bed, &["resize", vm, "vda", "3"])
        .exits(0)
        .prints(&format!("Disk 'vda' of VM '{vm}' already has 3 GiB\n"));
    disk(&bed, &["resize", vm, "vda", "2"]).exits(2).mentions("does not shrink to 2 GiB");

    // A new disk, which takes a file system and data.
    disk(&bed, &["attach", vm, "2", "--device", "vdf", "--format", "raw", "--serial", "archive"]).exits(0);
    sees_within_seconds(&guest, "archive", Some(2));
    let new = device(&guest, "archive");
    guest.says(&format!("mke2fs -q {new} 102400 && mkdir -p /mnt/x && mount {new} /mnt/x && echo kept > /mnt/x/f && umount /mnt/x"));
    assert_eq!(guest.says(&format!("mount {new} /mnt/x && cat /mnt/x/f && umount /mnt/x")), "kept");
    // Four slots are free in all.
    for _ in 0..3 {
        disk(&bed, &["attach", vm, "1"]).exits(0);
    }
    let full = disk(&bed, &["attach", vm, "1"]).exits(4);
    full.mentions("--at-next-start").mentions("everything that was made is removed again");
    assert!(!bed.traces().contains(&Trace::Disk(format!("{vm}_data-vdg"))), "{:?}", bed.traces());

    // It goes, from the guest and from the host.
    disk(&bed, &["detach", vm, "vdf"]).exits(0);
    sees_within_seconds(&guest, "archive", None);
    assert!(!bed.disk(&format!("{vm}_data-vdf")).exists());
    disk(&bed, &["detach", vm, "vdc", "--keep"]).exits(0).prints(&format!(
        "{}/{vm}_data-vdc\nSuccessfully detached disk 'vdc' from VM '{vm}'\n",
        bed.vm_pool()
    ));
    sees_within_seconds(&guest, "vdc", None);
    assert!(bed.disk(&format!("{vm}_data-vdc")).exists());

    // What is shown is what is there, and both outlive a restart.
    let spec = &bed.get(vm)["spec"];
    assert_eq!(spec["bootDisk"]["sizeGB"], 3);
    let disks: Vec<_> =
        spec["dataDisks"].as_array().unwrap().iter().map(|d| (&d["device"], &d["sizeGB"])).collect();
    assert_eq!(serde_json::to_value(disks).unwrap(), serde_json::json!([["vdb", 2], ["vdd", 1], ["vde", 1]]));
    bed.virsh().does(&["destroy", vm]);
    bed.virsh().does(&["start", vm]);
    guest.answers_within(Duration::from_secs(60));
    for (serial, size) in
        [("vda", Some(3)), ("vdb", Some(2)), ("vdd", Some(1)), ("vde", Some(1)), ("vdc", None)]
    {
        assert_eq!(seen(&guest, serial), size, "{serial}");
    }
    bed.foundry(&["destroy", vm]).run().exits(0);
    assert_eq!(bed.traces(), [Trace::Disk(format!("{vm}_data-vdc"))], "the kept one");
}

#[test]
fn a_guest_that_does_not_execute_is_told_of_what_it_cannot_do() {
    let Some(bed) = Bed::with_tiny("diskpause") else { return };
    let manifest = bed.manifest("web", 151).disk("vdb", 1);
    let vm = &manifest.name;
    let guest = bed.boots(&manifest);
    bed.virsh().does(&["suspend", vm]);
    disk(&bed, &["detach", vm, "vdb"]).exits(4).mentions("cannot release a disk");
    disk(&bed, &["resize", vm, "vdb", "2"]).exits(0);
    disk(&bed, &["attach", vm, "1"]).exits(0);
    bed.virsh().does(&["resume", vm]);
    sees_within_seconds(&guest, "vdb", Some(2));
    sees_within_seconds(&guest, "vdc", Some(1));
    bed.foundry(&["destroy", vm]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// Firmware that finds nothing to boot waits for ever, and does not hear of disks.
#[test]
fn a_guest_that_does_not_let_go_keeps_its_disk() {
    let Some(bed) = Bed::with_tiny("diskdeaf") else { return };
    let manifest = bed.manifest("web", 156).boot_disk("{sizeGB: 1, empty: true}").disk("vdb", 1);
    let vm = &manifest.name;
    bed.creates(&manifest);
    // The variable counts, and the flag goes before it.
    for (set, flag) in [("1s", &[][..]), ("2h", &["--timeout", "1s"])] {
        let detach = [&["disk", "detach", vm, "vdb"], flag].concat();
        let kept = bed.foundry(&detach).env("FOUNDRY_DETACH_TIMEOUT", set).run().exits(6);
        kept.mentions("did not release disk 'vdb'").mentions("nothing was deleted");
    }
    assert!(bed.disk(&format!("{vm}_data-vdb")).exists());
    assert_eq!(listed(&bed, vm, "vdb").unwrap()["presence"], "attached");
    bed.virsh().does(&["destroy", vm]);
    disk(&bed, &["detach", vm, "vdb"]).exits(0);
    assert!(!bed.disk(&format!("{vm}_data-vdb")).exists());
    bed.foundry(&["destroy", vm]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// A VM that is off, as are those of the tests below: none of them needs a guest.
fn off(bed: &Bed, octet: u8) -> Manifest {
    let manifest = bed.manifest("web", octet).disk("vdb", 1);
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", &manifest.name]);
    manifest
}

#[test]
fn disks_of_a_vm_that_is_off() {
    let Some(bed) = Bed::with_tiny("diskoff") else { return };
    let manifest = off(&bed, 152);
    let vm = &manifest.name;
    disk(&bed, &["resize", vm, "boot", "2GiB"]).exits(0).mentions("sees the new size at its next start");
    disk(&bed, &["resize", vm, "vdb", "2GiB"]).exits(0);
    disk(&bed, &["attach", vm, "1", "--format", "raw"]).exits(0);
    assert_eq!(gib(&listed(&bed, vm, "vdc").unwrap()["size"]), 1);
    let qcow2 = live::program(
        "qemu-img",
        &["info", "--output=json", bed.disk(&format!("{vm}_boot")).to_str().unwrap()],
    );
    let info: serde_json::Value = serde_json::from_str(&qcow2.exits(0).stdout).unwrap();
    assert_eq!(gib(&info["virtual-size"]), 2);
    assert!(info["backing-filename"].as_str().is_some_and(|f| f.ends_with("/tiny.qcow2")), "{info}");
    disk(&bed, &["detach", vm, "vdb"]).exits(0);
    // The record in it remembers earlier manifests, with their disks.
    assert!(!bed.virsh().definition(vm).contains("dev='vdb'"));
    bed.virsh().does(&["start", vm]);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

#[test]
fn what_stands_in_the_way_is_found_before_anything_is_touched() {
    let Some(bed) = Bed::with_tiny("diskno") else { return };
    let manifest = off(&bed, 153);
    let vm = &manifest.name;
    let before = (bed.virsh().definition(vm), bed.traces());
    let unchanged = |ran: Ran, code: i32, told: &str| {
        ran.exits(code).mentions(told).mentions("nothing was changed");
        assert_eq!((bed.virsh().definition(vm), bed.traces()), before, "{told}");
    };
    unchanged(disk(&bed, &["resize", vm, "sda", "2"]), 4, "is a CD-ROM");
    unchanged(disk(&bed, &["resize", vm, "vdz", "2"]), 4, "has no disk 'vdz'");
    unchanged(disk(&bed, &["detach", vm, "boot"]), 4, "is its boot disk");
    unchanged(disk(&bed, &["detach", vm, "sda"]), 4, "is its cloud-init seed");
    unchanged(disk(&bed, &["attach", vm, "1", "--device", "vdb"]), 4, "has a disk 'vdb'");
    std::fs::write(bed.disk(&format!("{vm}_data-vdd")), "somebody's").unwrap();
    bed.virsh().does(&["pool-refresh", &bed.vm_pool()]);
    disk(&bed, &["attach", vm, "1", "--device", "vdd"]).exits(5).mentions("it may hold data");
    std::fs::remove_file(bed.disk(&format!("{vm}_data-vdd"))).unwrap();
    for wrong in ["20GB", "1.5G", "0", "-1", "lots"] {
        disk(&bed, &["resize", vm, "vda", wrong]).exits(64);
    }
    disk(&bed, &["attach", vm, "+1"]).exits(64);
    disk(&bed, &["attach", vm, "1", "--device", "vda"]).exits(64);
    disk(&bed, &["attach", vm, "1", "--serial", "a b"]).exits(64);

    // A snapshot, external as users make them of a VM that is off.
    bed.virsh().does(&["snapshot-create-as", vm, "before", "--disk-only"]);
    disk(&bed, &["resize", vm, "vda", "2"]).exits(4).mentions("virsh blockcommit");
    disk(&bed, &["detach", vm, "vdb"]).exits(4).mentions("is not on its own volume");
    assert_eq!(listed(&bed, vm, "vda").unwrap()["role"], "boot");

    // A domain of somebody else's.
    let foreign = bed.name("foreign");
    bed.virsh().defines(
        "define",
        &format!("<domain type='qemu'><name>{foreign}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"),
    );
    for arguments in [
        ["resize", &foreign, "vda", "2"].as_slice(),
        &["attach", &foreign, "1"],
        &["detach", &foreign, "vda"],
    ] {
        disk(&bed, arguments).exits(4).mentions("was not made by foundry");
    }
}

#[test]
fn two_at_a_time_lose_nothing() {
    let Some(bed) = Bed::with_tiny("disktwo") else { return };
    let manifest = off(&bed, 154);
    let vm = &manifest.name;
    for _ in 0..3 {
        let both = [1, 2].map(|gib| bed.foundry(&["disk", "attach", vm, &gib.to_string()]).start());
        let ran = both.map(live::Started::end);
        let done = ran.iter().filter(|r| r.code == 0).count();
        assert!(done >= 1 && ran.iter().all(|r| [0, 4, 5].contains(&r.code)), "{ran:#?}");
        let record = bed.record(vm);
        let volumes = record["volumes"].as_array().unwrap().iter().filter(|v| v["role"] == "data").count();
        // The record is in the definition too.
        let files = format!("<source file='{}", bed.disk(&format!("{vm}_data-vd")).display());
        let defined = bed.virsh().definition(vm).matches(&files).count();
        assert_eq!((volumes, defined), (1 + done, 1 + done), "{ran:#?}\n{record:#}");
        let spare = bed.get(vm)["spec"]["dataDisks"].as_array().unwrap().clone();
        for one in spare.iter().map(|d| d["device"].as_str().unwrap()).filter(|d| *d != "vdb") {
            disk(&bed, &["detach", vm, one]).exits(0);
        }
    }
    let attach = bed.foundry(&["disk", "attach", vm, "1"]).start();
    let destroy = bed.foundry(&["destroy", vm, "--force"]).start();
    let (attach, destroy) = (attach.end(), destroy.end());
    if destroy.code != 0 {
        bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    }
    assert_eq!(bed.traces(), [], "{attach:#?}{destroy:#?}");
}

/// libvirt's functions that change what is on the host.
const CHANGING: [&str; 7] = [
    "virDomainSetMetadata",
    "virStorageVolCreateXML",
    "virDomainAttachDeviceFlags",
    "virDomainDetachDeviceFlags",
    "virStorageVolDelete",
    "virStorageVolResize",
    "virDomainBlockResize",
];

/// Kills a command during each of its changes and between it and the next, and has `judge` look at what is left.
fn killed_everywhere(bed: &Bed, arguments: &[&str], prepare: impl Fn(), judge: impl Fn(&Ran)) {
    prepare();
    let all = [&["disk"], arguments, &["-vv"]].concat();
    let undisturbed = bed.foundry(&all).run().exits(0);
    judge(&undisturbed);
    let changes = undisturbed.calls.iter().enumerate().filter(|(_, call)| CHANGING.contains(&call.as_str()));
    let mut points: Vec<usize> = changes.flat_map(|(index, _)| [index, index + 1]).collect();
    points.dedup();
    assert!(points.len() >= 3, "{undisturbed:#?}");
    for n in points {
        prepare();
        let mut started = bed.foundry(&all).start();
        started.until_call(n);
        started.signal("KILL");
        judge(&started.end());
    }
}

#[test]
fn what_is_killed_anywhere_is_finished_by_the_same_again() {
    let Some(bed) = Bed::with_tiny("diskkill") else { return };
    let manifest = bed.manifest("web", 155);
    let vm = manifest.name.clone();
    let running = || {
        bed.foundry(&["destroy", &vm, "--force"]).run();
        assert_eq!(bed.traces(), []);
        bed.creates(&manifest);
    };
    let gone = |killed: &Ran| {
        bed.foundry(&["destroy", &vm, "--force"]).run().exits(0);
        assert_eq!(bed.traces(), [], "after {killed:#?}");
    };
    killed_everywhere(&bed, &["attach", &vm, "1", "--device", "vdc"], running, |killed| {
        let again = disk(&bed, &["attach", &vm, "1", "--device", "vdc"]);
        let done = again.code == 4 && again.stderr.contains("has a disk 'vdc'");
        assert!(done || again.code == 0, "after {killed:#?}\n{again:#?}");
        assert_eq!(listed(&bed, &vm, "vdc").unwrap()["presence"], "attached", "after {killed:#?}");
        assert_eq!(bed.get(&vm)["spec"]["dataDisks"][0]["device"], "vdc", "after {killed:#?}");
        assert!(bed.virsh().does(&["domblklist", &vm]).contains("_data-vdc"));
        gone(killed);
    });
    killed_everywhere(&bed, &["attach", &vm, "1"], running, gone);
    let with_disk = || {
        running();
        bed.virsh().does(&["destroy", &vm]);
        disk(&bed, &["attach", &vm, "1"]).exits(0);
    };
    killed_everywhere(&bed, &["detach", &vm, "vdb"], with_disk, |killed| {
        let again = disk(&bed, &["detach", &vm, "vdb"]);
        let done = again.code == 4 && again.stderr.contains("has no disk 'vdb'");
        assert!(done || again.code == 0, "after {killed:#?}\n{again:#?}");
        assert_eq!(listed(&bed, &vm, "vdb"), None, "after {killed:#?}");
        assert!(!bed.disk(&format!("{vm}_data-vdb")).exists());
        assert_eq!(bed.get(&vm)["spec"]["dataDisks"], serde_json::Value::Null);
        gone(killed);
    });
    killed_everywhere(&bed, &["resize", &vm, "boot", "2"], running, |killed| {
        disk(&bed, &["resize", &vm, "boot", "2"]).exits(0);
        assert_eq!(gib(&listed(&bed, &vm, "vda").unwrap()["size"]), 2, "after {killed:#?}");
        assert_eq!(bed.get(&vm)["spec"]["bootDisk"]["sizeGB"], 2, "after {killed:#?}");
        gone(killed);
    });
}

#[test]
fn a_volume_that_exists_is_attached_and_outlives_the_vm() {
    let Some(bed) = Bed::with_tiny("diskown") else { return };
    let manifest = bed.manifest("web", 158);
    let vm = &manifest.name;
    let guest = bed.boots(&manifest);
    let volume = format!("{vm}-photos");
    let pool = bed.vm_pool();
    bed.virsh().does(&["vol-create-as", &pool, &volume, "2G", "--format", "raw"]);
    let file = bed.disk(&volume);
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().write_all(b"somebody's").unwrap();
    let named = format!("{pool}/{volume}");
    disk(&bed, &["attach", vm, &named, "--serial", "photos"]).exits(0).mentions("virtio-photos");
    sees_within_seconds(&guest, "photos", Some(2));
    let device = device(&guest, "photos");
    assert_eq!(guest.says(&format!("head -c 10 {device}")), "somebody's");
    disk(&bed, &["attach", vm, &named]).exits(5).mentions("as a disk already");
    bed.foundry(&["destroy", vm, "--yes"]).run().exits(0).mentions("it existed before");
    let mut content = [0; 10];
    std::fs::File::open(&file).unwrap().read_exact(&mut content).unwrap();
    assert_eq!(&content, b"somebody's");
    bed.virsh().does(&["vol-delete", "--pool", &pool, &volume]);
    assert_eq!(bed.traces(), []);
}
