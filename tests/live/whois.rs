//! Who has what on a real host, and which addresses are free.

use crate::support::live::Bed;

#[test]
fn a_vm_is_found_by_what_it_has_and_its_address_is_not_free() {
    let Some(bed) = Bed::new("whois") else { return };
    let manifest = bed.manifest("web", 64).boot_disk("{sizeGB: 1, empty: true}").without_cloud_init();
    let vm = &manifest.name;
    bed.creates(&manifest);
    let mac =
        bed.virsh().does(&["domiflist", vm]).split_whitespace().find(|w| w.contains(':')).unwrap().to_owned();
    let boot = format!("{}/{vm}_boot", bed.vm_pool());
    let path = bed.disk(&format!("{vm}_boot")).display().to_string();
    for (what, why) in [
        (manifest.address(), "fixed address in its manifest"),
        (&mac, "MAC of its interface 1"),
        (&manifest.tap(), "tap of its interface 1"),
        (&boot, "its disk vda"),
        (&path, "its disk vda"),
    ] {
        let ran = bed.foundry(&["whois", what, "--no-headers"]).run().exits(0);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert!(
            lines.len() == 1 && lines[0].starts_with(vm.as_str()) && lines[0].contains(why),
            "{what}: {ran:#?}"
        );
    }
    // The search begins at the VM's own address.
    let from = format!("{}/24", manifest.address());
    let next = bed.foundry(&["next-ip", &from]).run().exits(0).stdout;
    assert!(next.ends_with("/24\n") && next != format!("{from}\n"), "{next}");
    let from_bridge = bed.foundry(&["next-ip", bed.bridge(), "--count", "2"]).run().exits(0).stdout;
    assert_eq!(from_bridge.lines().count(), 2, "{from_bridge}");
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(bed.foundry(&["next-ip", &from]).run().exits(0).stdout, format!("{from}\n"));
    for gone in [manifest.address(), &mac, &manifest.tap(), &boot, &path] {
        bed.foundry(&["whois", gone]).run().exits(4).has_code("FND-4002");
    }
}
