//! What stands in the way of `foundry create` on a real libvirtd, and that nothing is made or lost then.
//! No guest boots here.

use crate::support::live;
use crate::support::live::{Bed, Manifest, Ran, Trace, files_in, program};

/// Tries to create it; it must be refused with that code, whose thousands are the exit code, and exactly these report.
#[track_caller]
fn refuses(bed: &Bed, manifest: &Manifest, code: &str, report: &str) {
    let (name, exit) = (&manifest.name, code["FND-".len()..][..1].parse().unwrap());
    let error = format!("error: cannot create VM '{name}' on this host\n{report}  nothing was changed\n");
    let dry = bed.foundry(&["create", "-", "--dry-run"]).reads(manifest).run().exits(exit).has_code(code);
    dry.prints("").tells(&error);
    let begun = format!("Creating VM '{name}'...\n");
    let ran = bed.foundry(&["create", "-"]).reads(manifest).run().exits(exit).has_code(code);
    ran.prints("").tells(&(begun + &error));
}

/// The bridges of this machine as an issue names them.
fn bridges() -> Vec<String> {
    let is_bridge = |name: &String| std::path::Path::new("/sys/class/net").join(name).join("bridge").exists();
    files_in("/sys/class/net", "").into_iter().filter(is_bridge).collect()
}

/// As a hint lists what there is, where nothing is near.
fn list_of(names: &[&str]) -> String {
    match names {
        [] => "there is none".into(),
        [one] => format!("there is only '{one}'"),
        all => format!("there are {}", all.join(", ")),
    }
}

/// A domain that foundry did not make, without disks.
fn foreign(bed: &Bed, name: &str) {
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
    );
    bed.virsh().defines("define", &xml);
}

/// The first foundry looked for the boot disk only, and its clean-up then deleted the data disk that
/// somebody had kept.
#[test]
fn an_existing_volume_of_a_planned_name_stays_as_it_is() {
    let Some(bed) = Bed::with_tiny("kept") else { return };
    let first = bed.manifest("other", 20);
    bed.creates(&first); // makes the pool
    let manifest = bed.manifest("web", 21).disk("vdb", 1);
    let kept: Vec<String> =
        ["data-vdb", "cloudinit"].iter().map(|end| format!("{}_{end}", manifest.name)).collect();
    for name in &kept {
        std::fs::write(bed.disk(name), format!("what {name} holds")).unwrap();
    }
    bed.virsh().does(&["pool-refresh", &bed.vm_pool()]);
    let before = bed.traces();
    let issue = |name: &String| {
        format!(
            "  volume '{name}' exists in pool '{pool}'\n    it may hold data: choose another name for the VM, or, if nobody needs the volume, foundry gc {pool}/{name}\n",
            pool = bed.vm_pool()
        )
    };
    refuses(&bed, &manifest, "FND-5202", &kept.iter().map(issue).collect::<String>());
    for name in &kept {
        assert_eq!(std::fs::read_to_string(bed.disk(name)).unwrap(), format!("what {name} holds"));
    }
    assert_eq!(bed.traces(), before);
}

/// A file that libvirt has not looked at yet is found too: foundry has it look.
#[test]
fn an_existing_file_that_libvirt_does_not_know_stays_as_it_is() {
    let Some(bed) = Bed::with_tiny("unseen") else { return };
    bed.creates(&bed.manifest("other", 22));
    let manifest = bed.manifest("web", 23).disk("vdb", 1);
    let file = bed.disk(&format!("{}_data-vdb", manifest.name));
    std::fs::write(&file, "somebody's").unwrap();
    let before = bed.traces();
    let refused = bed.foundry(&["create", "-"]).reads(&manifest).run().exits(5).prints("");
    refused
        .mentions(&format!("volume '{}_data-vdb' exists in pool", manifest.name))
        .mentions("nothing was changed\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "somebody's");
    assert_eq!(bed.traces(), before);
}

#[test]
fn a_taken_name_is_refused_whoever_has_it() {
    let Some(bed) = Bed::with_tiny("taken") else { return };
    let manifest = bed.manifest("web", 24);
    let vm = &manifest.name;
    foreign(&bed, vm);
    let issue = format!("  a domain '{vm}' exists that foundry did not create\n    choose another name\n");
    refuses(&bed, &manifest, "FND-4001", &issue);
    bed.virsh().does(&["undefine", vm]);

    bed.creates(&manifest);
    let before = bed.virsh().definition(vm);
    let issue = format!("  VM '{vm}' exists\n    choose another name, or foundry destroy {vm} first\n");
    refuses(&bed, &manifest, "FND-4001", &issue);
    assert_eq!(bed.virsh().definition(vm), before, "a second define would have replaced it");
}

#[test]
fn everything_that_stands_in_the_way_is_said_at_once() {
    let Some(bed) = Bed::with_tiny("all") else { return };
    let neighbour = bed.manifest("db", 25);
    bed.creates(&neighbour);
    let gone = bed.manifest("web", 25).boot_disk("{sizeGB: 1, image: tinny.qcow2}").interfaces(&[
        "{ip: 10.77.0.25/16, gateway: 10.77.0.1, bridge: fdtnone0}",
        &format!("{{ip: 10.78.0.25/24, bridge: {}, vlan: 7}}", bed.bridge()),
        "{network: foundry-test-none}",
    ]);
    let networks = bed.virsh().does(&["net-list", "--all", "--name"]);
    let networks: Vec<&str> = networks.lines().map(str::trim).filter(|n| !n.is_empty()).collect();
    let networks = list_of(&networks);
    let bridges = bridges();
    let bridges = list_of(&bridges.iter().map(String::as_str).collect::<Vec<_>>());
    let bridge = bed.bridge();
    let expected = format!(
        "  spec.networkInterfaces[0].ip: VM '{}' already has the address 10.77.0.25, and thereby MAC be:ef:0a:4d:00:19 and tap vm0a4d0019
    choose another address
  spec.networkInterfaces[0].bridge: there is no bridge 'fdtnone0'
    {bridges}
  spec.networkInterfaces[1].vlan: bridge '{bridge}' does not filter VLANs
    attach it to a bridge that is already on the VLAN (then without vlan), or to a new bridge: ip link add NAME type bridge vlan_filtering 1; enabling this on a bridge with guests drops their frames
  spec.networkInterfaces[2].network: there is no network 'foundry-test-none'
    {networks}
  image 'tinny.qcow2' not found in pool '{images}'
    did you mean 'tiny.qcow2'?
    foundry image import FILE tinny.qcow2 adds one; foundry pool refresh {images} finds files put there by hand
",
        neighbour.name,
        images = bed.image_pool()
    );
    refuses(&bed, &gone, "FND-5101", &expected);
    assert_eq!(bed.virsh().names("list", &bed.name("")), [neighbour.name]);
}

/// qemu-img makes a 1 GiB overlay on a 2 GiB image without a word, and the guest's disk is cut off.
#[test]
fn a_boot_disk_smaller_than_its_image_is_refused() {
    let Some(bed) = Bed::new("small") else { return };
    let large = bed.home().join("large.qcow2");
    std::fs::copy(bed.tiny(), &large).unwrap();
    program("qemu-img", &["resize", large.to_str().unwrap(), "2G"]).exits(0);
    bed.import(large.to_str().unwrap(), "large.qcow2");
    let manifest = bed.manifest("web", 26).boot_disk("{sizeGB: 1, image: large.qcow2}");
    let image = format!("{}:large.qcow2", bed.image_pool());
    let issue = format!(
        "  spec.bootDisk.sizeGB: image '{image}' needs 2 GiB, but the boot disk has only 1 GiB\n    spec.bootDisk.sizeGB: 2, or more; a smaller disk would truncate the image\n"
    );
    refuses(&bed, &manifest, "FND-5102", &issue);
    assert_eq!(bed.virsh().names("pool-list", &bed.name("")), [bed.image_pool()], "not even a pool was made");
    bed.creates(&bed.manifest("web", 26).boot_disk("{sizeGB: 2, image: large.qcow2}"));
}

/// The first foundry could not undo after a start: it undefined without the flag for EFI variables, was
/// refused, deleted the volumes all the same, and left a domain without disks.
#[test]
fn a_start_that_fails_is_undone_whole() {
    let Some(bed) = Bed::with_tiny("start") else { return };
    bed.creates(&bed.manifest("other", 35)); // makes the pool
    let before = bed.traces();
    let manifest = bed.manifest("web", 36).disk("vdb", 1);
    let (vm, tap) = (&manifest.name, manifest.tap());
    // Something else of that name, so that QEMU gets no tap.
    program("ip", &["link", "add", &tap, "type", "bridge"]).exits(0);
    let ran = bed.foundry(&["create", "-"]).reads(&manifest).run();
    program("ip", &["link", "delete", &tap]).exits(0);
    let ran = ran.exits(4).prints("");
    assert_eq!(ran.stderr.matches("error: ").count(), 1, "{ran:#?}");
    let ran = ran.mentions(&format!("✓ Cloud-init ISO generated\nerror: cannot start domain '{vm}': "));
    ran.mentions(&tap).mentions("\n  everything that was made is removed again\n");
    assert_eq!(bed.traces(), before);
}

/// Three documents, of which two cannot be made: what can be known is known before the first is made. Each
/// error is told once, and the worst code is the exit code.
#[test]
fn one_impossible_document_keeps_all_from_being_made() {
    let Some(bed) = Bed::with_tiny("several") else { return };
    let good = bed.manifest("one", 27);
    let no_image = bed.manifest("two", 28).boot_disk("{sizeGB: 1, image: none.qcow2}");
    let no_bridge =
        bed.manifest("three", 29).interfaces(&["{ip: 10.77.0.29/24, gateway: 10.77.0.1, bridge: fdtnone0}"]);
    let all = format!("{good}---\n{no_image}---\n{no_bridge}");
    for args in [&["create", "-"][..], &["create", "-", "--dry-run"]] {
        let ran = bed.foundry(args).reads(&all).run().exits(5);
        assert!(!ran.stdout.contains("Successfully"), "{ran:#?}");
        for manifest in [&no_image, &no_bridge] {
            let error = format!("error: cannot create VM '{}' on this host\n", manifest.name);
            assert_eq!(ran.stderr.matches(&error).count(), 1, "{ran:#?}");
        }
        assert_eq!(bed.virsh().names("list", &bed.name("")), [] as [String; 0]);
    }
}

/// What only its start shows takes nothing else with it: the second VM is undone, the others stay.
#[test]
fn one_of_several_that_fails_takes_nothing_with_it() {
    let Some(bed) = Bed::with_tiny("fails") else { return };
    let (first, last) = (bed.manifest("one", 37), bed.manifest("three", 39));
    // The tap's name is taken, which only libvirt finds.
    let second = bed.manifest("two", 38);
    program("ip", &["link", "add", "vm0a4d0026", "type", "bridge"]).exits(0);
    let ran = bed.foundry(&["create", "-"]).reads(format!("{first}---\n{second}---\n{last}")).run();
    program("ip", &["link", "del", "vm0a4d0026"]).exits(0);
    let ran = ran.exits(4);
    let made = [&first, &last].map(|vm| format!("Successfully created VM '{}'\n", vm.name)).concat();
    let ran = ran.prints(&made);
    assert_eq!(ran.stderr.matches("error: cannot start domain").count(), 1, "{ran:#?}");
    ran.mentions("everything that was made is removed again");
    assert_eq!(bed.virsh().names("list", &bed.name("")), [first.name.clone(), last.name.clone()]);
    bed.foundry(&["destroy", &first.name, &last.name]).run().exits(0);
}

/// All documents are judged before anything is made.
#[test]
fn one_invalid_document_keeps_all_from_being_made() {
    let Some(bed) = Bed::with_tiny("invalid") else { return };
    let (good, bad) = (bed.manifest("one", 30), bed.manifest("two", 31).disk("vda", 1));
    let ran = bed.foundry(&["create", "-"]).reads(format!("{good}---\n{bad}")).run().exits(2).prints("");
    ran.mentions("spec.dataDisks[0].device");
    let same = bed.foundry(&["create", "-"]).reads(format!("{good}---\n{good}")).run().exits(2).prints("");
    same.mentions(&good.name);
    assert_eq!(bed.traces(), []);
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let Some(bed) = Bed::new("codes") else { return };
    let run = |arguments: &[&str]| -> Ran { bed.foundry(arguments).run().prints("") };
    run(&["create", "nowhere.yaml"]).exits(1).mentions("nowhere.yaml");
    bed.foundry(&["create", "-"]).reads("kind: [").run().exits(1).prints("");
    bed.foundry(&["create", "-"])
        .reads(bed.manifest("web", 32).spec("vpcus: 1"))
        .run()
        .exits(1)
        .mentions("did you mean");
    bed.foundry(&["create", "-"])
        .reads(bed.manifest("web", 32).spec("cpuMode: fast"))
        .run()
        .exits(2)
        .mentions("spec.cpuMode");
    run(&["list", "-c", "qemu+unix:///system?socket=/nonexistent/sock"])
        .exits(3)
        .mentions("/nonexistent/sock");
    run(&["get", &bed.name("none")]).exits(4).mentions("there is no VM");
    run(&["destroy", &bed.name("none")]).exits(4).mentions("there is no VM");
    run(&["image", "info", "none"]).exits(5).mentions("there is no image 'none'");
    run(&["create"]).exits(64);
    run(&["explode"]).exits(64);
    assert_eq!(bed.virsh().names("pool-list", &bed.name("")), Vec::<String>::new());
    assert!(!bed.traces().iter().any(|t| matches!(t, Trace::Domain(_))));
}

/// Of two that create the same VM at once one makes it, and the other finds the name taken: its
/// undoing must not touch what the winner made.
#[test]
fn of_two_creations_at_once_one_wins() {
    let Some(bed) = Bed::with_tiny("race") else { return };
    bed.creates(&bed.manifest("other", 33)); // makes the pool
    let manifest = bed.manifest("web", 34).disk("vdb", 1);
    let started = [(); 3].map(|()| bed.foundry(&["create", "-"]).reads(&manifest).start());
    let ends = started.map(live::Started::end);
    let winners = ends.iter().filter(|ran| ran.code == 0).count();
    assert_eq!(winners, 1, "{ends:#?}");
    for lost in ends.iter().filter(|ran| ran.code != 0) {
        assert!(matches!(lost.code, 4 | 5), "{lost:#?}");
    }
    assert_eq!(bed.get(&manifest.name)["status"]["phase"], "Running");
    let record = bed.record(&manifest.name);
    for volume in record["volumes"].as_array().unwrap() {
        assert!(std::path::Path::new(volume["path"].as_str().unwrap()).exists(), "{volume}");
    }
}
