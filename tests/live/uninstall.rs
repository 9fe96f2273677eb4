//! `uninstall` on a libvirtd of its own: it takes away every VM of foundry's.

use crate::support::live::Bed;

#[test]
fn nothing_of_foundry_remains_and_all_of_others_does() {
    let Some(bed) = Bed::with_tiny("uninstall") else { return };
    let manifest = bed.manifest("web", 171).disk("vdb", 1);
    let vm = &manifest.name;
    bed.creates(&manifest);
    let everybody = bed.foundry(&["list", "--all", "-o", "name"]).run().exits(0).stdout;
    if everybody.lines().any(|line| line.rsplit('/').next() != Some(vm)) {
        eprintln!("left out: this libvirtd has other VMs: {everybody}");
        return;
    }
    let other = bed.name("others");
    bed.virsh().does(&["vol-create-as", &bed.vm_pool(), &other, "1M"]);
    let dry = bed.foundry(&["uninstall", "--dry-run", "--all"]).run().exits(0);
    for part in
        [&format!("VM '{vm}'"), "Would delete image 'tiny.qcow2'", &format!("it has other volumes: {other}")]
    {
        assert!(dry.stdout.contains(part), "{part}: {dry:#?}");
    }
    bed.foundry(&["uninstall"]).run().exits(1).mentions("nothing was deleted");
    assert!(bed.virsh().names("list", vm).contains(vm), "{dry:#?}");

    bed.foundry(&["uninstall", "--yes", "--force", "--all"]).run().exits(0);
    assert!(!bed.virsh().names("list", vm).contains(vm));
    assert!(bed.disk(&other).exists(), "it is somebody else's");
    assert!(!bed.storage().join("images").exists());
    bed.virsh().does(&["vol-delete", "--pool", &bed.vm_pool(), &other]);
    bed.foundry(&["uninstall", "--yes"]).run().exits(0);
    assert_eq!(bed.traces(), []);
    assert!(!bed.storage().exists(), "the directory of both pools is gone");
    bed.foundry(&["uninstall", "--yes"]).run().exits(0).mentions("Nothing to delete");
}
