//! Who uses a file of a real host, whatever it is called there, and what a killed import leaves.

use crate::support::live::{Bed, program};

fn overlay(on: &str, file: &str) {
    program("qemu-img", &["create", "-q", "-f", "qcow2", "-b", on, "-F", "qcow2", file]).exits(0);
}

/// A domain with one disk, off.
fn domain(bed: &Bed, name: &str, disk: &str) {
    bed.virsh().defines("define", &format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices><disk type='file' device='disk'>\
         <driver name='qemu' type='qcow2'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk></devices></domain>"
    ));
}

/// The domain is off and without a record: nothing but the clone's own header says what it lies on.
#[test]
fn a_disk_under_somebody_elses_clone_stays() {
    let Some(bed) = Bed::with_tiny("stclone") else { return };
    let manifest = bed.manifest("web", 80).disk("vdb", 1).disk("vdc", 1).disk("vdd", 1);
    bed.creates(&manifest);
    let vm = &manifest.name;
    let data = |device: &str| bed.disk(&format!("{vm}_data-{device}")).display().to_string();
    // Seen by libvirt, not seen by it, and in no pool.
    let (seen, unseen) = (bed.disk("clone.qcow2"), bed.disk("later.qcow2"));
    let elsewhere = bed.home().join("far.qcow2");
    overlay(&data("vdb"), seen.to_str().unwrap());
    bed.virsh().does(&["pool-refresh", &bed.vm_pool()]);
    overlay(&data("vdc"), unseen.to_str().unwrap());
    overlay(&data("vdd"), elsewhere.to_str().unwrap());
    for (end, disk) in [("one", &seen), ("two", &unseen), ("three", &elsewhere)] {
        domain(&bed, &bed.name(end), disk.to_str().unwrap());
    }
    let pool = bed.vm_pool();
    let ran = bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    let left = |device: &str, why: &str| {
        format!("warning: left: volume '{vm}_data-{device}' in pool '{pool}': {why}\n")
    };
    let uses = |end: &str| format!("domain '{}' uses it too", bed.name(end));
    ran.mentions(&left(
        "vdb",
        &format!("{}; volume 'clone.qcow2' in pool '{pool}' is based on it", uses("one")),
    ))
    .mentions(&left("vdc", &format!("{}; volume 'later.qcow2' in pool '{pool}' is based on it", uses("two"))))
    .mentions(&left("vdd", &uses("three")));
    for device in ["vdb", "vdc", "vdd"] {
        assert!(std::path::Path::new(&data(device)).exists(), "{device}");
    }
    assert!(!bed.disk(&format!("{vm}_boot")).exists());
}

/// A domain can go back to a snapshot whose files are none of its disks now.
#[test]
fn a_disk_of_a_snapshot_is_used() {
    let Some(bed) = Bed::with_tiny("stsnap") else { return };
    let (old, made, new) = (bed.disk("old.qcow2"), bed.disk("made.qcow2"), bed.disk("new.qcow2"));
    let path = |disk: &std::path::PathBuf| disk.display().to_string();
    let tiny = bed.image("tiny.qcow2");
    bed.creates(&bed.manifest("web", 85));
    for disk in [&old, &new] {
        overlay(tiny.to_str().unwrap(), &path(disk));
    }
    let name = bed.name("snap");
    domain(&bed, &name, &path(&old));
    let spec = format!("vda,file={}", path(&made));
    bed.virsh().does(&["snapshot-create-as", &name, "before", "--disk-only", "--diskspec", &spec]);
    let uuid = bed.virsh().does(&["domuuid", &name]).trim().to_owned();
    bed.virsh().defines("define", &format!(
        "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         </devices></domain>", path(&new)
    ));
    let pool = bed.vm_pool();
    let gc = bed.foundry(&["gc"]).run();
    assert!(!gc.stdout.contains("made.qcow2") && !gc.stdout.contains("old.qcow2"), "{}", gc.stdout);
    let named = bed.foundry(&["gc", &format!("{pool}/made.qcow2"), "--yes"]).run();
    assert!(named.code != 0 && made.exists() && old.exists(), "{}", named.stderr);
    bed.virsh().does(&["snapshot-delete", &name, "before", "--metadata"]);
    bed.foundry(&["gc", &format!("{pool}/made.qcow2"), "--yes"]).run().exits(0);
    assert!(!made.exists());
}

/// libvirt lists nothing of a stopped pool; this one has the directory of the VMs' under another name.
#[test]
fn a_disk_in_a_stopped_pool_is_used() {
    let Some(bed) = Bed::with_tiny("ststop") else { return };
    let (name, two, disk) = (bed.name("two"), bed.name("twopool"), bed.disk("other.qcow2"));
    bed.creates(&bed.manifest("web", 84));
    overlay(bed.image("tiny.qcow2").to_str().unwrap(), disk.to_str().unwrap());
    let link = bed.home().join("link");
    std::os::unix::fs::symlink(disk.parent().unwrap(), &link).unwrap();
    bed.virsh().does(&["pool-define-as", &two, "dir", "--target", link.to_str().unwrap()]);
    bed.virsh().defines("define", &format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os><devices>\
         <disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='{two}' volume='other.qcow2'/>\
         <target dev='vda' bus='virtio'/></disk></devices></domain>"
    ));
    let named = format!("{}/other.qcow2", bed.vm_pool());
    let ran = bed.foundry(&["gc", &named, "--yes"]).run();
    assert!(ran.code != 0 && disk.exists(), "{}", ran.stderr);
    bed.virsh().does(&["undefine", &name]);
    bed.foundry(&["gc", &named, "--yes"]).run().exits(0);
    assert!(!disk.exists());
    bed.virsh().does(&["pool-undefine", &two]);
}

/// The pool was defined anew over a link to its directory; the overlays name the path of before.
#[test]
fn an_image_is_in_use_whatever_its_directory_is_called() {
    let Some(bed) = Bed::with_tiny("stlink") else { return };
    let manifest = bed.manifest("web", 81);
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", &manifest.name]);
    let (pool, link) = (bed.image_pool(), bed.storage().join("link"));
    std::os::unix::fs::symlink(bed.storage().join("images"), &link).unwrap();
    bed.virsh().does(&["pool-destroy", &pool]);
    bed.virsh().does(&["pool-undefine", &pool]);
    bed.virsh().does(&["pool-create-as", &pool, "dir", "--target", link.to_str().unwrap()]);

    let info = bed.foundry(&["image", "info", "tiny.qcow2", "-o", "json"]).run().exits(0);
    let info: serde_json::Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!(info["usedBy"], serde_json::json!([manifest.name]));
    assert_eq!(info["path"], link.join("tiny.qcow2").to_str().unwrap());
    let delete = bed.foundry(&["image", "delete", "tiny.qcow2"]).run().exits(5);
    delete.mentions(&format!("in use by VM '{}'", manifest.name));
    assert!(bed.image("tiny.qcow2").exists());
}

#[test]
fn a_killed_import_leaves_no_image() {
    let Some(bed) = Bed::new("stkill") else { return };
    let (mut started, _content) = bed.start_import("tiny.raw");
    started.signal("KILL");
    started.end().exits(137);

    let list = bed.foundry(&["image", "list", "--no-headers"]).run().exits(0).stdout;
    assert_eq!(list.split_whitespace().collect::<Vec<_>>()[..2], ["tiny.raw", "incomplete"]);
    let list = bed.foundry(&["image", "list", "-o", "json"]).run().exits(0).stdout;
    assert!(list.contains("\"incomplete\": true"), "{list}");
    let manifest = bed.manifest("web", 82).boot_disk("{sizeGB: 1, image: tiny.raw}");
    bed.foundry(&["create", "-"]).reads(&manifest).run().exits(5).mentions(
        "cannot be used: its import was interrupted or is still running\n    foundry image delete tiny.raw",
    );
    bed.foundry(&["image", "delete", "tiny.raw"]).run().exits(5).prints("").mentions("or is still running");
    bed.foundry(&["image", "delete", "tiny.raw", "--force"]).run().exits(0);
    let mut content = vec![1; 3 << 20];
    content[510..512].copy_from_slice(&[0x55, 0xaa]);
    let whole = bed.home().join("whole.raw");
    std::fs::write(&whole, &content).unwrap();
    bed.foundry(&["image", "import", whole.to_str().unwrap(), "tiny.raw"]).run().exits(0);
    assert!(std::fs::read(bed.image("tiny.raw")).unwrap() == content);
    let list = bed.foundry(&["image", "list", "--no-headers"]).run().exits(0).stdout;
    assert_eq!(list.split_whitespace().nth(1), Some("raw"));
}

/// What a saved guest goes on with is as it left it: nothing changes its disks, and what only it has is used.
#[test]
fn the_disks_of_a_saved_vm_stay_as_they_are() {
    let Some(bed) = Bed::with_tiny("stsaved") else { return };
    let manifest = bed.manifest("web", 90).disk("vdb", 1);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    let extra = bed.disk("extra.qcow2");
    program("qemu-img", &["create", "-q", "-f", "qcow2", extra.to_str().unwrap(), "8M"]).exits(0);
    let pool = bed.vm_pool();
    bed.virsh().does(&["pool-refresh", &pool]);
    bed.virsh().does(&["attach-disk", vm, extra.to_str().unwrap(), "vdx", "--subdriver", "qcow2", "--live"]);
    bed.virsh().does(&["managedsave", vm]);
    for verb in [
        vec!["disk", "attach", vm, "1"],
        vec!["disk", "resize", vm, "vdb", "3GiB"],
        vec!["disk", "detach", vm, "vdb", "--yes"],
        vec!["disk", "detach", vm, "vdb", "--keep"],
        vec!["seed", "eject", vm, "--force"],
    ] {
        let ran = bed.foundry(&verb).run().exits(4);
        ran.has_code("FND-4130").mentions(&format!("foundry start {vm}")).mentions("nothing was changed");
    }
    let named = format!("{pool}/extra.qcow2");
    bed.foundry(&["gc", &named, "--yes"]).run().exits(5).mentions(&format!("domain '{vm}' uses it"));
    assert!(extra.exists());
    let got = bed.foundry(&["get", vm]).run().exits(0);
    assert!(got.stdout.contains("Saved"), "{got:#?}");
    bed.virsh().does(&["start", vm]);
    bed.foundry(&["disk", "resize", vm, "vdb", "3GiB"]).run().exits(0);
    bed.virsh().does(&["managedsave", vm]);
    bed.foundry(&["destroy", vm]).run().exits(0);
    std::fs::remove_file(extra).unwrap();
}

/// A copy of a definition names the same EFI variables; those of a domain that is gone are not taken over by a new one.
#[test]
fn efi_variables_are_whose_definition_names_them() {
    let Some(bed) = Bed::with_tiny("stvars") else { return };
    let manifest = bed.manifest("web", 91);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    let variables = format!("/var/lib/libvirt/qemu/nvram/{vm}_VARS.fd");
    assert!(std::path::Path::new(&variables).exists());
    let copy = bed.name("copy");
    domain(&bed, &copy, "/nonexistent");
    let xml = bed.virsh().definition(&copy);
    let loader = "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>";
    let os = format!("{loader}<nvram>{variables}</nvram></os><features><acpi/></features>");
    let with = xml.replace("</os>", &os);
    bed.virsh().defines("define", &with);
    let ran = bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    ran.mentions(&format!("left: the EFI variables {variables}: domain '{copy}' uses it too"));
    assert!(std::path::Path::new(&variables).exists());
    // As long as the copy has them, a new VM of that name gets a file of its own.
    bed.creates(&manifest);
    let own = bed.virsh().definition(vm);
    assert!(own.contains("</nvram>") && !own.contains(&variables), "{own}");
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert!(std::path::Path::new(&variables).exists());
    bed.virsh().does(&["undefine", &copy, "--keep-nvram"]);
    let ran = bed.foundry(&["create", "-"]).reads(&manifest).run().exits(4);
    ran.has_code("FND-4108").mentions(&format!("foundry gc {variables}"));
    bed.foundry(&["gc", &variables, "--yes"]).run().exits(0);
    bed.creates(&manifest);
    // Undefined while it runs, it goes with its disks all the same.
    bed.virsh().does(&["undefine", vm, "--nvram"]);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// A guest of another libvirt, or of none: only the lock of its QEMU shows it.
#[test]
fn a_disk_that_runs_elsewhere_is_not_deleted() {
    let Some(bed) = Bed::with_tiny("stlock") else { return };
    let manifest = bed.manifest("web", 92).disk("vdb", 1);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", vm]);
    let disk = bed.disk(&format!("{vm}_data-vdb"));
    let drive = format!("file={},format=qcow2,if=virtio", disk.display());
    let mut qemu = std::process::Command::new("qemu-system-x86_64")
        .args(["-S", "-nodefaults", "-display", "none", "-m", "64", "-monitor", "stdio", "-drive", &drive])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its greeting comes when the disks are open.
    let mut greeting = [0; 4];
    std::io::Read::read_exact(qemu.stdout.as_mut().unwrap(), &mut greeting).unwrap();
    let ran = bed.foundry(&["destroy", vm]).run().exits(5);
    ran.has_code("FND-5203").mentions(&format!("foundry destroy {vm} --force"));
    bed.foundry(&["disk", "detach", vm, "vdb", "--yes"]).run().exits(5).has_code("FND-5203");
    bed.foundry(&["disk", "resize", vm, "vdb", "3GiB"]).run().exits(5).has_code("FND-5203");
    assert!(disk.exists());
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    bed.foundry(&["destroy", vm]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// What an error advises, as far as it is a command: from `virsh` to what the command does.
fn advised(stderr: &str, does: &str) -> String {
    let hint = stderr.split_once("hint: ").unwrap().1;
    hint.split_once(does).unwrap_or_else(|| panic!("{stderr}")).0.trim().to_owned()
}

/// Snapshots of a VM that runs: their files are used, foundry's advice brings them back into the volume and leaves the
/// image alone, and nothing of all of it stays.
#[test]
fn the_snapshots_of_a_running_vm_are_taken_back_as_advised() {
    let Some(bed) = Bed::with_tiny("stchain") else { return };
    let manifest = bed.manifest("web", 93).disk("vdb", 1);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    let image = std::fs::read(bed.image("tiny.qcow2")).unwrap();
    for name in ["one", "two"] {
        bed.virsh().does(&["snapshot-create-as", vm, name, "--disk-only", "--atomic"]);
    }
    let pool = bed.vm_pool();
    for file in ["boot", "boot.one", "boot.two", "data-vdb", "data-vdb.two"] {
        let named = format!("{pool}/{vm}_{file}");
        let ran = bed.foundry(&["gc", &named, "--yes"]).run().exits(5);
        ran.mentions(&format!("domain '{vm}' uses it"));
    }
    assert!(!bed.foundry(&["gc"]).run().stdout.contains(vm), "nothing of it was left");
    let listed = bed.foundry(&["disk", "list", vm, "--no-headers"]).run().exits(0).stdout;
    assert!(listed.contains(&format!("{vm}_boot.two")), "{listed}");
    for (target, volume) in [("vda", "boot"), ("vdb", "data-vdb")] {
        let refused = bed.foundry(&["disk", "resize", vm, target, "2"]).run().exits(4).has_code("FND-4404");
        let advice = advised(&refused.stderr, "brings it back");
        let command = advice.replace("virsh ", &format!("virsh -c '{}' ", bed.uri()));
        program("sh", &["-c", &command]).exits(0);
        let on = bed.virsh().does(&["domblklist", vm]);
        let path = bed.disk(&format!("{vm}_{volume}"));
        assert!(on.lines().any(|l| l.ends_with(path.to_str().unwrap()) && l.contains(target)), "{on}");
    }
    assert!(std::fs::read(bed.image("tiny.qcow2")).unwrap() == image, "the image is as it was");
    for name in ["one", "two"] {
        bed.virsh().does(&["snapshot-delete", vm, name, "--metadata"]);
    }
    bed.foundry(&["image", "delete", "tiny.qcow2"]).run().exits(5).mentions(&format!("in use by VM '{vm}'"));

    // The files of the snapshots lie on the disk still, and nobody uses them. Copied off its image, it needs that no longer.
    let refused = bed.foundry(&["disk", "resize", vm, "vda", "2"]).run().exits(4).mentions("is shared");
    refused.mentions("foundry gc POOL/VOLUME");
    for file in ["boot.two", "boot.one", "data-vdb.two", "data-vdb.one"] {
        bed.foundry(&["gc", &format!("{pool}/{vm}_{file}"), "--yes"]).run().exits(0);
    }
    bed.foundry(&["disk", "resize", vm, "vda", "2"]).run().exits(0);
    bed.virsh().does(&["blockpull", vm, "vda", "--wait"]);
    bed.foundry(&["image", "delete", "tiny.qcow2"]).run().exits(0);
    bed.virsh().does(&["destroy", vm]);
    bed.virsh().does(&["start", vm]);
    bed.foundry(&["disk", "resize", vm, "vda", "3"]).run().exits(0);
    bed.virsh().does(&["snapshot-create-as", vm, "last", "--disk-only", "--atomic"]);
    bed.virsh().does(&["managedsave", vm]);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

/// Inside of the volumes, which only a VM with BIOS can have while it runs.
#[test]
fn a_vm_with_an_internal_snapshot_keeps_its_size_and_goes_without_a_trace() {
    let Some(bed) = Bed::with_tiny("stinner") else { return };
    let manifest = bed.manifest("web", 94).disk("vdb", 1).spec("firmware: {type: bios}");
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    bed.virsh().does(&["snapshot-create-as", vm, "inner"]);
    bed.foundry(&["disk", "resize", vm, "vdb", "2"]).run().exits(4).mentions("inner");
    assert!(!bed.foundry(&["gc"]).run().stdout.contains(vm), "nothing of it was left");
    bed.virsh().does(&["snapshot-revert", vm, "inner", "--running"]);
    let got = bed.foundry(&["get", vm]).run().exits(0).stdout;
    assert!(got.contains("running"), "{got}");
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}
