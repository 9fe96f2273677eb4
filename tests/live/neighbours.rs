//! What `foundry destroy` must not touch on a real libvirtd: neighbours, images, what is not foundry's, and
//! what somebody else uses. No guest boots here.

use std::path::PathBuf;

use crate::support::live::{Bed, Trace, program};

/// Contents of files, to be compared later.
fn contents(files: &[PathBuf]) -> Vec<(PathBuf, Vec<u8>)> {
    files.iter().map(|f| (f.clone(), std::fs::read(f).unwrap())).collect()
}

fn qcow2(path: &std::path::Path) {
    program("qemu-img", &["create", "-q", "-f", "qcow2", path.to_str().unwrap(), "1G"]).exits(0);
}

/// The first foundry deleted whatever began with `NAME_`, in both pools.
#[test]
fn names_that_begin_alike_are_not_the_vms() {
    let Some(bed) = Bed::with_tiny("alike") else { return };
    let (web, neighbour) = (bed.manifest("web", 48), bed.manifest("web_1", 49).disk("vdb", 1));
    for manifest in [&web, &neighbour] {
        bed.creates(manifest);
        bed.virsh().does(&["destroy", &manifest.name]);
    }
    let image = bed.image(&format!("{}_43.qcow2", web.name));
    std::fs::copy(bed.tiny(), &image).unwrap();
    let note = bed.disk(&format!("{}_notes", web.name));
    std::fs::write(&note, "mine").unwrap();
    let mut others = vec![image, note];
    others
        .extend(["boot", "data-vdb", "cloudinit"].map(|end| bed.disk(&format!("{}_{end}", neighbour.name))));
    for pool in [bed.vm_pool(), bed.image_pool()] {
        bed.virsh().does(&["pool-refresh", &pool]);
    }
    let before = (contents(&others), bed.virsh().definition(&neighbour.name));
    bed.foundry(&["destroy", &web.name]).run().exits(0);
    assert_eq!((contents(&others), bed.virsh().definition(&neighbour.name)), before);
    for end in ["boot", "cloudinit"] {
        assert!(!bed.disk(&format!("{}_{end}", web.name)).exists(), "{end}");
    }
}

/// A domain with a disk that is named as foundry names disks, one that is not, and an image.
fn foreign(bed: &Bed, name: &str) -> [PathBuf; 4] {
    bed.creates(&bed.manifest("other", 50).without_cloud_init()); // makes the pool
    let files = [
        bed.disk(&format!("{name}_boot.qcow2")),
        bed.disk("foundry-test-precious"),
        bed.image(&format!("{name}_base.qcow2")),
        bed.disk(&format!("{name}_data-vdb")), // named so, and not in its XML
    ];
    files.iter().for_each(|f| qcow2(f));
    let disk = |file: &PathBuf, target: &str| {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='{target}' bus='virtio'/></disk>",
            file.display()
        )
    };
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>{}{}{}</devices></domain>",
        disk(&files[0], "vda"),
        disk(&files[1], "vdc"),
        disk(&files[2], "vdd")
    );
    bed.virsh().defines("define", &xml);
    for pool in [bed.vm_pool(), bed.image_pool()] {
        bed.virsh().does(&["pool-refresh", &pool]);
    }
    files
}

#[test]
fn a_foreign_domain_is_refused_and_force_takes_only_what_is_its_and_named_so() {
    let Some(bed) = Bed::with_tiny("foreign") else { return };
    let name = bed.name("legacy");
    let files = foreign(&bed, &name);
    let before = (contents(&files), bed.virsh().definition(&name));
    let refused = bed.foundry(&["destroy", &name]).run().exits(4).prints("");
    refused.has_code("FND-4003").tells(&format!(
        "error: domain '{name}' was not made by foundry\n  hint: foundry destroy {name} --force deletes it and those of its disks that have foundry's names\n  nothing was changed\n"
    ));
    assert_eq!((contents(&files), bed.virsh().definition(&name)), before);
    let row = bed.foundry(&["list", "--all", "--no-headers"]).run().exits(0).stdout;
    let row = row.lines().find(|l| l.starts_with(&name)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row, [name.as_str(), "shut", "off", "1", "64", "MiB", "-", "-", "no"]);

    let ran = bed.foundry(&["destroy", &name, "--force"]).run().exits(0);
    let ran = ran.mentions("warning: left: volume 'foundry-test-precious'");
    ran.mentions(&format!("warning: left: volume '{name}_base.qcow2'"));
    assert!(!files[0].exists());
    assert_eq!(contents(&files[1..]), before.0[1..]);
    assert!(!bed.traces().contains(&Trace::Domain(name)));
}

/// The first foundry kept the whole manifest, unescaped, as text in its element, and named its volumes
/// with extensions.
#[test]
fn a_vm_of_the_first_foundry_is_read_and_managed() {
    let Some(bed) = Bed::with_tiny("gofirst") else { return };
    bed.creates(&bed.manifest("other", 51)); // makes the pool
    let name = bed.name("old");
    let volumes =
        ["boot.qcow2", "data-vdb.qcow2", "cloudinit.iso"].map(|end| bed.disk(&format!("{name}_{end}")));
    volumes.iter().for_each(|f| qcow2(f));
    bed.virsh().does(&["pool-refresh", &bed.vm_pool()]);
    let hash = "$6$rounds=5000$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ./abcdefghijklmnopqrstuv";
    let disk = |file: &PathBuf, target: &str| {
        let volume = file.file_name().unwrap().to_str().unwrap();
        format!(
            "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='{}' volume='{volume}'/><target dev='{target}' bus='virtio'/></disk>",
            bed.vm_pool()
        )
    };
    let spec = format!(
        "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: {name}\n  labels:\n    role: legacy\nspec:\n  vcpus: 1\n  memoryGiB: 1\n  \
         bootDisk:\n    sizeGB: 1\n    image: tiny.qcow2\n  dataDisks:\n    - device: vdb\n      sizeGB: 1\n  networkInterfaces:\n    - ip: 10.77.0.52/24\n      gateway: 10.77.0.1\n      \
         bridge: {}\n      defaultRoute: true\n  cloudInit:\n    fqdn: old.example.com\n    passwordHash: {hash}\n",
        bed.bridge()
    );
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><metadata><foundry:metadata xmlns:foundry=\"http://foundry.cofront.xyz/v1alpha1\">{spec}</foundry:metadata></metadata>\
         <memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>{}{}{}</devices></domain>",
        disk(&volumes[0], "vda"),
        disk(&volumes[1], "vdb"),
        disk(&volumes[2], "vdc")
    );
    bed.virsh().defines("define", &xml);

    let row = bed.foundry(&["list", "--all", "--no-headers", "-l", "role=legacy"]).run().exits(0).stdout;
    let row = row.split_whitespace().collect::<Vec<_>>();
    assert_eq!(row, [name.as_str(), "shut", "off", "1", "64", "MiB", "10.77.0.52", "-", "yes"]);
    let got = bed.foundry(&["get", &name, "-o", "yaml"]).run().exits(0);
    assert!(got.stdout.contains("fqdn: old.example.com") && !got.stdout.contains("$6$"), "{}", got.stdout);
    let with = bed.foundry(&["get", &name, "-o", "yaml", "--with-secrets"]).run().exits(0);
    assert!(with.stdout.contains(hash), "{}", with.stdout);
    bed.foundry(&["render", "-"]).reads(with.stdout).run().exits(0).tells("");
    // Its address is taken, as another VM's is.
    let same = bed.manifest("new", 52);
    bed.foundry(&["create", "-", "--dry-run"])
        .reads(same)
        .run()
        .exits(4)
        .mentions("already has the address 10.77.0.52, and thereby");

    bed.foundry(&["destroy", &name]).run().exits(0).prints(&format!("Successfully destroyed VM '{name}'\n"));
    for volume in &volumes {
        assert!(!volume.exists(), "{}", volume.display());
    }
    assert!(bed.image("tiny.qcow2").exists());
}

#[test]
fn a_disk_that_another_domain_uses_too_stays() {
    let Some(bed) = Bed::with_tiny("shared") else { return };
    let manifest = bed.manifest("web", 53).disk("vdb", 1);
    let vm = &manifest.name;
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", vm]);
    let data = bed.disk(&format!("{vm}_data-vdb"));
    let borrower = bed.name("borrower");
    bed.virsh().defines("define", &format!(
        "<domain type='qemu'><name>{borrower}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices><disk type='file' device='disk'>\
         <driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk></devices></domain>", data.display()
    ));
    let ran = bed.foundry(&["destroy", vm]).run().exits(0);
    ran.mentions(&format!(
        "warning: left: volume '{vm}_data-vdb' in pool '{}': domain '{borrower}' uses it too\n",
        bed.vm_pool()
    ));
    assert_eq!(bed.traces(), [Trace::Domain(borrower), Trace::Disk(format!("{vm}_data-vdb"))]);
}

/// The maker of a creation is asked for by its process: alive it is left alone, dead its remains go, on
/// another machine nobody here can say.
#[test]
fn a_creation_that_goes_on_is_left_alone() {
    let Some(bed) = Bed::with_tiny("maker") else { return };
    let manifest = bed.manifest("web", 54);
    let vm = &manifest.name;
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", vm]);
    let mut record = bed.record(vm);
    record["state"] = "creating".into();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let started: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    record["maker"]["pid"] = std::process::id().into();
    record["maker"]["started"] = started.into();
    // Of the process alone, as an older foundry wrote it: the operation of the one that created it has ended.
    record["maker"].as_object_mut().unwrap().remove("operation");
    bed.set_record(vm, &record);
    let alive = format!(
        "error: VM '{vm}' is being created by process {}\n  hint: wait for it, or stop that process; it then removes what it made\n  nothing was changed\n",
        std::process::id()
    );
    for arguments in [["destroy", vm].as_slice(), &["destroy", vm, "--force"]] {
        bed.foundry(arguments).run().exits(4).prints("").tells(&alive);
    }
    bed.foundry(&["create", "-"]).reads(&manifest).run().exits(4).mentions("is being created by process");
    assert_eq!(bed.get(vm)["status"]["phase"], "Creating");

    let mut elsewhere = record.clone();
    elsewhere["maker"]["host"] = "another machine".into();
    bed.set_record(vm, &elsewhere);
    bed.foundry(&["destroy", vm]).run().exits(4).mentions("is being created from another machine");
    bed.foundry(&["create", "-"])
        .reads(&manifest)
        .run()
        .exits(4)
        .mentions("is being created from another machine");

    // Same number, another start: the process that had it is gone.
    record["maker"]["started"] = (started + 1).into();
    bed.set_record(vm, &record);
    let got = bed.get(vm);
    assert_eq!(got["status"]["phase"], "Pending");
    assert_eq!(got["status"]["conditions"][0]["reason"], "CreationInterrupted");
    let row = bed.foundry(&["list", "--all", "--no-headers"]).run().exits(0).stdout;
    assert!(row.lines().any(|l| l.starts_with(vm.as_str()) && l.contains(" interrupted ")), "{row}");

    // One that is being created elsewhere goes with --force.
    bed.set_record(vm, &elsewhere);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// Of an interrupted creation a volume goes only if it is what was planned: it was absent then, and what is
/// there now may be somebody's.
#[test]
fn a_volume_that_is_not_as_it_was_planned_stays() {
    let Some(bed) = Bed::with_tiny("planned") else { return };
    let manifest = bed.manifest("web", 55).disk("vdb", 1);
    let vm = &manifest.name;
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", vm]);
    let mut record = bed.record(vm);
    record["state"] = "creating".into();
    record["maker"]["started"] = 1.into();
    bed.set_record(vm, &record);
    let data = bed.disk(&format!("{vm}_data-vdb"));
    program("qemu-img", &["create", "-q", "-f", "raw", data.to_str().unwrap(), "7M"]).exits(0);
    bed.virsh().does(&["pool-refresh", &bed.vm_pool()]);

    bed.foundry(&["create", "-"])
        .reads(&manifest)
        .run()
        .exits(5)
        .prints("")
        .mentions(&format!("{vm}_data-vdb"));
    assert!(data.exists());
    let ran = bed.foundry(&["destroy", vm]).run().exits(0);
    ran.mentions(&format!(
        "warning: left: volume '{vm}_data-vdb' in pool '{}': it may belong to another process",
        bed.vm_pool()
    ));
    assert_eq!(bed.traces(), [Trace::Disk(format!("{vm}_data-vdb"))]);
}
