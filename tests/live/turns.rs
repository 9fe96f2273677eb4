//! Turns on a real machine: who holds one is named, a kill frees it, and what others could have put there is refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::arena::{Arena, inside};
use sha2::{Digest, Sha256};

const DIRECTORY: &str = "/run/foundry";

/// The lock file of a thing of this machine's libvirt.
fn lock_file(thing: &str) -> PathBuf {
    let digest = Sha256::digest(format!("{thing} of this machine/system"));
    let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    Path::new(DIRECTORY).join(hex)
}

/// A program that takes a lock and keeps it.
fn rival(file: &Path) -> Child {
    let keeps = ["sh", "-c", "echo; exec sleep 600"];
    let mut child =
        Command::new("flock").arg("--no-fork").arg(file).args(keeps).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    child
}

fn files() -> usize {
    fs::read_dir(DIRECTORY).unwrap().count()
}

#[test]
fn a_turn_is_held_named_and_freed() {
    inside(module_path!(), "a_turn_is_held_named_and_freed", |arena| {
        holder_is_named_and_its_kill_frees(arena);
        planted_is_refused(arena);
    });
}

fn holder_is_named_and_its_kill_frees(arena: &Arena) {
    let vm = arena.vm("web", 10);
    arena.bed.creates(&vm);
    assert_eq!(files(), 0, "nothing lies around");
    let uuid = arena.bed.virsh().does(&["domuuid", &vm.name]);
    let file = lock_file(&format!("domain {}", uuid.trim()));
    let mut child = rival(&file);
    let destroy = arena.bed.foundry(&["destroy", &vm.name, "--force"]);
    let refused = destroy.run().exits(4).has_code("FND-4008");
    refused
        .mentions(&format!("process {} ('sleep') of user 'root' holds the lock", child.id()))
        .mentions("nothing was removed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(files(), 1);
    arena.destroy([vm.name.as_str()]);
    assert_eq!(files(), 0, "what a kill left went with the next");
}

fn planted_is_refused(arena: &Arena) {
    arena.import_blank("other.qcow2");
    let delete = || arena.bed.foundry(&["image", "delete", "other.qcow2"]).run();
    fs::set_permissions(DIRECTORY, Permissions::from_mode(0o777)).unwrap();
    delete()
        .exits(4)
        .has_code("FND-4075")
        .mentions("may be written to by everybody")
        .mentions("nothing was changed");
    fs::set_permissions(DIRECTORY, Permissions::from_mode(0o770)).unwrap();
    delete().exits(0);
}
