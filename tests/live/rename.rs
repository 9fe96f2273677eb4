//! Renaming a real guest: its data, its MAC address and its EFI variables stay, and the old name is free.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::support::live::{Bed, files_in};

const NVRAM: &str = "/var/lib/libvirt/qemu/nvram";
const LOGS: &str = "/var/log/libvirt/qemu";

#[test]
fn a_renamed_guest_keeps_its_data_and_its_variables() {
    let Some(bed) = Bed::with_tiny("rename") else { return };
    let manifest = bed.manifest("web", 180).disk("vdb", 1).spec("firmware: {type: efi, secureBoot: false}");
    let (old, new) = (&manifest.name, &bed.name("www"));
    let guest = bed.boots(&manifest);
    guest.says("echo kept-by-the-rename >/dev/vdb && sync");
    let (virsh, does) = (bed.virsh(), |line: &[&str]| bed.foundry(line).run());
    let uuid = virsh.does(&["domuuid", old]);
    let variables = files_in(NVRAM, old);
    assert_eq!(variables.len(), 1, "{variables:?}");
    let inode = || Path::new(NVRAM).join(&variables[0]).metadata().unwrap().ino();
    let before = inode();

    does(&["rename", old, new]).exits(4).has_code("FND-4340").mentions(&format!("foundry stop {old}"));
    does(&["stop", old]).exits(0);
    let ran = does(&["rename", old, new]).exits(0);
    ran.prints(&format!("virtualmachine/{old} renamed to {new}\n")).mentions(&format!("{old}_boot"));
    does(&["rename", old, new]).exits(0).prints(&format!("virtualmachine/{old} already renamed to {new}\n"));
    assert_eq!(virsh.does(&["domuuid", new]), uuid);
    assert_eq!(virsh.names("list", old), [] as [&str; 0]);
    let logs = files_in(LOGS, &bed.name("w"));
    assert!(logs.contains(&format!("{new}-console.log")), "{logs:?}");
    assert!(!logs.contains(&format!("{old}-console.log")), "{logs:?}");

    does(&["start", new]).exits(0);
    guest.answers_within(Duration::from_secs(120));
    assert_eq!(guest.says("head -n 1 /dev/vdb"), "kept-by-the-rename");
    assert_eq!((inode(), files_in(NVRAM, new)), (before, Vec::new()), "no new variables were made");
    let live = virsh.does(&["dumpxml", new]);
    assert!(live.contains(&variables[0]), "{live}");
    let shown = bed.get(new);
    assert_eq!(shown["metadata"]["name"], new.as_str());
    assert_eq!(bed.record(new)["history"][0]["manifest"]["metadata"]["name"], old.as_str());
    let ran = bed.foundry(&["ssh", "--identity", bed.private_key(), new, "--", "true"]).run();
    ran.exits(0);

    // The old name is free: the new VM has disks and EFI variables of its own.
    let again = bed.manifest("web", 181).spec("firmware: {type: efi, secureBoot: false}");
    let other = bed.boots(&again);
    assert_eq!(bed.record(old)["volumes"][0]["name"], format!("{old}_boot.2"));
    let own = format!("{}_VARS.fd", virsh.does(&["domuuid", old]).trim());
    assert!(Path::new(NVRAM).join(&own).exists(), "{own}");
    assert_eq!((inode(), other.says("hostname")), (before, old.clone()));
    does(&["destroy", old, "--yes", "--force"]).exits(0);
    assert!(!Path::new(NVRAM).join(&own).exists(), "{own}");
    guest.answers_within(Duration::from_secs(10));
    does(&["destroy", new, "--yes", "--force"]).exits(0);
    assert_eq!(bed.traces(), []);
}
