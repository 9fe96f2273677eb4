//! `spec.xmlPatch` on a real libvirtd with a real guest.

use crate::support::live::Bed;

const WATCHDOG: &str =
    "xmlPatch:\n    - xpath: /domain/devices\n      add: <watchdog model='i6300esb' action='reset'/>";
/// An argument of QEMU's own that its monitor shows.
const ARGUMENT: &str = "\n    - xpath: /domain\n      add: |\n        <qemu:commandline>\n          \
                        <qemu:arg value='-object'/><qemu:arg value='rng-builtin,id=foundrytest'/>\n        \
                        </qemu:commandline>";

fn monitor(bed: &Bed, vm: &str, command: &str) -> String {
    bed.virsh().does(&["qemu-monitor-command", vm, "--hmp", command])
}

#[test]
fn a_patch_is_in_the_running_domain() {
    let Some(bed) = Bed::with_tiny("patch") else { return };
    let both = format!("{WATCHDOG}{ARGUMENT}");
    let first = bed.manifest("web", 190).spec(WATCHDOG);
    let second = bed.manifest("web", 190).spec(&both);
    let vm = first.name.clone();
    bed.foundry(&["create", "-"]).reads(&first).run().exits(0);
    assert!(monitor(&bed, &vm, "info qtree").contains("i6300esb"));
    bed.foundry(&["diff", "-"]).reads(&first).run().exits(0);

    // A new entry waits for a restart, and is applied once.
    for word in ["configured", "unchanged"] {
        let ran = bed.foundry(&["apply", "-"]).reads(&second).run().exits(0);
        ran.prints(&format!("virtualmachine/{vm} {word} (restart required: xmlPatch[1])\n"));
    }
    assert!(!monitor(&bed, &vm, "qom-list /objects").contains("foundrytest"));
    bed.foundry(&["stop", &vm, "--force"]).run().exits(0);
    bed.foundry(&["start", &vm]).run().exits(0);
    assert!(monitor(&bed, &vm, "qom-list /objects").contains("foundrytest"));
    assert!(monitor(&bed, &vm, "info qtree").contains("i6300esb"));
    bed.foundry(&["diff", "-"]).reads(&second).run().exits(0);
    let definition = bed.virsh().definition(&vm);
    assert_eq!(definition.matches("<qemu:arg").count(), 2, "{definition}");
    assert_eq!(definition.matches("<watchdog model='i6300esb'").count(), 1, "{definition}");

    // Back is not possible, and says so.
    let refused = bed.foundry(&["apply", "-"]).reads(&first).run().exits(4);
    refused.has_code("FND-4020").mentions("spec.xmlPatch[1]").mentions("only new entries at the end");
    bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);

    // Both entries at once.
    bed.foundry(&["create", "-"]).reads(&second).run().exits(0);
    assert!(monitor(&bed, &vm, "qom-list /objects").contains("foundrytest"));
    bed.foundry(&["destroy", &vm, "--yes", "--force"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}
