//! Copying a real guest: both run side by side, each with an identity of its own and the same data.

use std::time::Duration;

use crate::support::live::Bed;

#[test]
fn a_copy_runs_beside_its_original() {
    let Some(bed) = Bed::with_tiny("clone") else { return };
    let manifest = bed.manifest("web", 182).disk("vdb", 1).spec("autostart: false");
    let (old, new) = (manifest.name.as_str(), bed.name("copy"));
    bed.uses_address("10.77.0.183");
    let guest = bed.boots(&manifest);
    guest.says("echo kept-in-both >/dev/vdb && sync");
    let (virsh, does) = (bed.virsh(), |line: &[&str]| bed.foundry(line).run());
    does(&["clone", old, &new, "--ip", "10.77.0.183"])
        .exits(4)
        .has_code("FND-4340")
        .mentions(&format!("foundry stop {old}"));
    let linked = bed.name("linked");
    let snapshot = format!("linked-{linked}");
    bed.uses_address("10.77.0.186");
    let link = ["clone", old, &linked, "--link", "--ip", "10.77.0.186", "--wait", "--timeout=3m"];
    does(&link).exits(4).has_code("FND-4340").mentions("--snapshot");
    does(&["stop", old]).exits(0);
    does(&["clone", old, &new])
        .exits(4)
        .has_code("FND-4206")
        .mentions(&format!("foundry clone {old} {new} --ip ADDRESS/24"));
    let ran = does(&["clone", old, &new, "--ip", "10.77.0.183", "--wait", "--timeout=3m"]).exits(0);
    ran.prints(&format!("virtualmachine/{new} cloned from {old}\n"));
    // A linked copy shares the files of a snapshot with its original.
    let ran = does(&link).exits(0);
    ran.prints(&format!("virtualmachine/{linked} cloned from {old}\n"))
        .mentions(&format!("needs snapshot '{snapshot}' of VM '{old}'"));
    does(&["start", old]).exits(0);
    let (copy, shares) = (bed.guest("10.77.0.183"), bed.guest("10.77.0.186"));
    guest.answers_within(Duration::from_secs(120));
    for (guest, name) in [(&guest, old), (&copy, new.as_str()), (&shares, linked.as_str())] {
        assert_eq!(guest.says("head -n 1 /dev/vdb"), "kept-in-both");
        assert_eq!(guest.says("hostname"), name);
    }

    let (first, second) = (bed.record(old), bed.record(&new));
    for own in ["domain", "instanceId", "consoleLog", "ssh"] {
        assert_ne!(first[own], second[own], "{own}");
    }
    for same in ["image", "imageOrigin"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    let xml = virsh.definition(&new);
    assert!(xml.contains("be:ef:0a:4d:00:b7") && !xml.contains("be:ef:0a:4d:00:b6"), "{xml}");
    // The copy's boot disk is an overlay of the image, and nothing of the original.
    let info = virsh.does(&["vol-dumpxml", "--pool", &bed.vm_pool(), &format!("{new}_boot")]);
    assert!(info.contains("images/tiny.qcow2") && info.contains("<compat>1.1</compat>"), "{info}");
    // With the recorded key, which is the one that the guest has.
    does(&["ssh", "--identity", bed.private_key(), &new, "--", "true"]).exits(0);

    // The linked one outlives its original.
    let info = virsh.does(&["vol-dumpxml", "--pool", &bed.vm_pool(), &format!("{linked}_data-vdb")]);
    assert!(info.contains(&format!("{old}_data-vdb</path>")), "{info}");
    guest.says("echo written-since >/dev/vdb && sync");
    shares.says("echo written-by-the-copy | dd of=/dev/vdb seek=8 2>/dev/null && sync");
    does(&["snapshot", "delete", old, &snapshot, "--yes"]).exits(4).mentions(&format!("'{linked}'"));

    does(&["destroy", old, "--yes", "--force"])
        .exits(0)
        .mentions(&format!("left: volume '{old}_boot'"))
        .mentions(&format!("domain '{linked}' uses it too"));
    does(&["stop", &linked]).exits(0);
    does(&["start", &linked]).exits(0);
    shares.answers_within(Duration::from_secs(120));
    assert_eq!(shares.says("head -n 1 /dev/vdb"), "kept-in-both");
    let base = |part: &str| format!("{}/{old}_{part}", bed.vm_pool());
    does(&["destroy", &linked, "--yes", "--force"])
        .exits(0)
        .mentions(&format!("foundry gc {} removes it if nobody needs it", base("boot")));
    does(&["gc", "--yes", &base("boot"), &base("data-vdb")]).exits(0);
    assert_eq!(copy.says("head -n 1 /dev/vdb"), "kept-in-both");
    // QEMU opens all files of its disks at the start.
    does(&["stop", &new]).exits(0);
    does(&["start", &new]).exits(0);
    does(&["destroy", &new, "--yes", "--force"]).exits(0);
    assert_eq!(bed.traces(), []);
}

/// Raw disks are copied by libvirt, holes and all.
#[test]
fn raw_disks_stay_sparse() {
    let Some(bed) = Bed::new("cloneraw") else { return };
    let manifest = bed
        .manifest("web", 184)
        .boot_disk("{sizeGB: 1, empty: true, format: raw}")
        .without_cloud_init()
        .spec("dataDisks: [{device: vdb, sizeGB: 3, format: raw}]");
    let (old, new) = (manifest.name.as_str(), bed.name("copy"));
    bed.uses_address("10.77.0.185");
    bed.creates(&manifest);
    bed.foundry(&["stop", old, "--force"]).run().exits(0);
    let disk = |vm: &str| bed.disk(&format!("{vm}_data-vdb"));
    let word = b"a word of the guest's";
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::OpenOptions::new().write(true).open(disk(old)).unwrap(),
        word,
        2 << 30,
    )
    .unwrap();
    bed.foundry(&["clone", old, &new, "--ip", "10.77.0.185"]).run().exits(0);
    let mut read = vec![0; word.len()];
    let file = std::fs::File::open(disk(&new)).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut read, 2 << 30).unwrap();
    assert_eq!(read, word);
    let size = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512;
    assert!(size < 16 << 20 && file.metadata().unwrap().len() == 3 << 30, "{size} bytes");
    for vm in [old, &new] {
        bed.foundry(&["destroy", vm, "--yes", "--force"]).run().exits(0);
    }
    assert_eq!(bed.traces(), []);
}
