//! Repaving a real guest: a new boot disk and a new seed, with the same data disk, address, key and UUID; and back.

use std::time::Duration;

use crate::support::live::Bed;
use crate::support::live::files_in;

/// What identifies the VM to the guest and to the network, and where its devices are.
fn identity(bed: &Bed, vm: &str) -> Vec<String> {
    let xml = bed.virsh().definition(vm);
    let kept = ["<uuid>", "<mac ", "<address type='pci'", "_data-vdb'", "<target dev='vm"];
    let of = xml.lines().map(str::trim).filter(|line| kept.iter().any(|part| line.contains(part)));
    of.map(str::to_owned).collect()
}

#[test]
fn repave_replaces_the_boot_disk_and_rollback_brings_it_back() {
    let Some(bed) = Bed::with_tiny("repave") else { return };
    let manifest = bed.manifest("web", 186).disk("vdb", 1);
    let vm = manifest.name.as_str();
    let said = |what: &str| format!("virtualmachine/{vm} {what}\n");
    let does = |line: &[&str]| bed.foundry(line).run();
    let volumes = || files_in(bed.storage().join("vms"), vm);
    let guest = bed.boots(&manifest);
    guest.says("echo kept-by-the-repave >/dev/vdb && sync");
    let (before, record) = (identity(&bed, vm), bed.record(vm));

    let ran = does(&["repave", vm, "--wait", "--timeout=3m"]).exits(0).prints(&said("repaved"));
    ran.mentions("✓ Boot disk exchanged");
    let second: Vec<String> =
        ["boot.2", "cloudinit.2", "data-vdb"].iter().map(|part| format!("{vm}_{part}")).collect();
    assert_eq!(volumes(), second);
    assert_eq!(identity(&bed, vm), before);
    assert_eq!(guest.says("head -n 1 /dev/vdb"), "kept-by-the-repave");
    let after = bed.record(vm);
    assert_eq!((&after["ssh"], &after["generation"]), (&record["ssh"], &record["generation"]));
    assert_ne!(after["instanceId"], record["instanceId"]);
    // The guest has the key that the record had all the time.
    does(&["ssh", "--identity", bed.private_key(), vm, "--", "true"]).exits(0);

    // A goal that the guest does not reach: it has no agent.
    let ran = does(&["repave", vm, "--force", "--wait=agent", "--timeout=1s"]).exits(6).has_code("FND-6001");
    ran.mentions(&format!("VM '{vm}' has its previous boot disk again"));
    assert_eq!((volumes(), identity(&bed, vm)), (second.clone(), before.clone()));

    // From a changed manifest: another address, another setting of cloud-init, and two processors.
    let changed = bed.manifest("web", 188).disk("vdb", 1).vcpus(2).cloud_init("sshPwauth: true");
    let tried = bed.foundry(&["apply", "-"]).reads(&changed).run().exits(4).has_code("FND-4020");
    tried.mentions("foundry repave -f FILE --wait");
    bed.foundry(&["repave", "-f", "-", "--force"]).reads(&changed).run().exits(0).prints(&said("repaved"));
    assert_eq!(volumes().len(), 5);
    bed.foundry(&["diff", "-"]).reads(&changed).run().exits(0);
    let moved = bed.guest(changed.address());
    moved.answers_within(Duration::from_secs(120));
    assert_eq!(moved.says("grep -c ^processor /proc/cpuinfo; head -n 1 /dev/vdb"), "2\nkept-by-the-repave");
    let xml = bed.virsh().definition(vm);
    assert!(xml.contains(&changed.tap()) && !xml.contains(&manifest.tap()), "{xml}");
    does(&["repave", vm]).exits(4).has_code("FND-4421").mentions(&format!("foundry repave {vm} --rollback"));
    does(&["repave", vm, "--rollback", "--force"]).exits(0).prints(&said("rolled back"));
    assert_eq!((volumes(), identity(&bed, vm)), (second, before));
    guest.answers_within(Duration::from_secs(120));
    assert_eq!(guest.says("head -n 1 /dev/vdb"), "kept-by-the-repave");
    bed.foundry(&["diff", "-"]).reads(&manifest).run().exits(0);
    does(&["destroy", vm, "--yes", "--force"]).exits(0);
    assert_eq!(bed.traces(), []);
}

/// Killed while the new boot disk is tried: the record names all, and each way out leaves nothing.
#[test]
fn killed_repave_is_finished_taken_back_or_destroyed() {
    let Some(bed) = Bed::new("repavekill") else { return };
    bed.import(bed.tiny(), "tiny.qcow2");
    let manifest = bed.manifest("web", 187).boot_disk("{sizeGB: 1, image: tiny.qcow2}");
    let vm = manifest.name.as_str();
    let does = |line: &[&str]| bed.foundry(line).run();
    let volumes = || files_in(bed.storage().join("vms"), vm);
    bed.creates(&manifest);
    let kill = || {
        let mut running = bed.foundry(&["repave", vm, "--force", "--wait=agent", "--timeout=5m"]).start();
        assert!(running.until(|line| line.contains("Boot disk exchanged")));
        running.signal("KILL");
        running.end();
        assert_eq!(volumes().len(), 4);
        let left = does(&["gc", "--dry-run"]).exits(0).stdout;
        assert!(left.contains("a repave was interrupted"), "{left}");
    };
    kill();
    does(&["repave", vm, "--rollback", "--force"]).exits(0);
    assert_eq!(volumes(), [format!("{vm}_boot"), format!("{vm}_cloudinit")]);
    kill();
    does(&["repave", vm]).exits(0);
    does(&["repave", vm, "--accept"]).exits(0);
    assert_eq!(volumes(), [format!("{vm}_boot.2"), format!("{vm}_cloudinit.2")]);
    kill();
    does(&["destroy", vm, "--yes", "--force"]).exits(0);
    assert_eq!(bed.traces(), []);
}
