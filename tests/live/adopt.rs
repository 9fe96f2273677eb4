//! A domain of another program is taken over, on a real libvirtd with a real guest.

use std::time::Duration;

use crate::support::live::Bed;

#[test]
fn a_foreign_domain_is_taken_over_with_its_running_guest() {
    let Some(bed) = Bed::with_tiny("adopt") else { return };
    // Made by foundry, so that the guest has an address; then somebody takes the record away and adds a device.
    let manifest = bed.manifest("old", 192).disk("vdb", 1);
    let vm = manifest.name.clone();
    bed.foundry(&["create", "-"]).reads(&manifest).run().exits(0);
    let guest = bed.guest(manifest.address());
    guest.answers_within(Duration::from_secs(180));
    const RECORD: &str = "http://foundry.cofront.xyz/v1alpha1";
    bed.virsh().does(&["metadata", &vm, RECORD, "--live", "--config", "--remove"]);
    let before = bed.virsh().definition(&vm);

    let shown = bed.foundry(&["adopt", &vm, "-o", "yaml"]).run().exits(0);
    assert!(shown.stdout.contains("kind: VirtualMachine"), "{shown:#?}");
    assert_eq!(bed.virsh().definition(&vm), before, "it changes nothing");
    bed.foundry(&["adopt", &vm]).run().exits(0).prints(&format!("virtualmachine/{vm} adopted\n"));
    bed.foundry(&["adopt", &vm]).run().exits(0).prints(&format!("virtualmachine/{vm} already adopted\n"));
    assert!(guest.tries("true").code == 0, "the guest went on");
    bed.foundry(&["diff", "-"]).reads(&shown.stdout).run().exits(0);

    bed.foundry(&["stop", &vm, "--force"]).run().exits(0);
    bed.foundry(&["start", &vm]).run().exits(0);
    bed.foundry(&["diff", "-"]).reads(&shown.stdout).run().exits(0);
    let destroyed = bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);
    assert!(destroyed.stderr.contains("existed before foundry"), "{destroyed:#?}");
    let left = bed.traces();
    assert!(format!("{left:?}").contains("old_boot"), "the disks are kept: {left:?}");
}
