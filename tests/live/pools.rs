//! Pools of each type that this machine has, on a real libvirtd.

use std::os::unix::fs::MetadataExt;

use crate::support::live::{Bed, LoopDisk, SmallPool, files_in, program};

/// The other tests take this for granted.
#[test]
fn a_small_pool_is_as_small_as_it_says_and_goes_again() {
    let Some(bed) = Bed::new("smallpool") else { return };
    let pool = SmallPool::new(&bed, "small", 16);
    let free = pool.available();
    assert!((8 << 20..16 << 20).contains(&free), "{free}");
    bed.virsh().does(&["vol-create-as", &pool.name, "a", "4M", "--allocation", "4M"]);
    let refused = bed.virsh().tries(&["vol-create-as", &pool.name, "b", "16M", "--allocation", "16M"]);
    assert!(refused.stderr.contains("No space left on device"), "{refused:?}");
    pool.take("others", pool.available() - (64 << 10));
    assert!(pool.available() <= 64 << 10);
    drop(pool);
    assert_eq!(files_in(bed.storage().join("small"), ""), Vec::<String>::new(), "it is unmounted");
    assert!(!program("losetup", &["--list"]).stdout.contains("smallpool"));
}

/// A directory with an owner and a mode that nobody would choose; what they are now.
fn odd_directory(path: &std::path::Path) -> (u32, u32, u32) {
    std::fs::create_dir_all(path).unwrap();
    std::os::unix::fs::chown(path, Some(4321), Some(4322)).unwrap();
    program("chmod", &["0751", path.to_str().unwrap()]).exits(0);
    owner_and_mode(path)
}

fn owner_and_mode(path: &std::path::Path) -> (u32, u32, u32) {
    let of = std::fs::metadata(path).unwrap();
    (of.uid(), of.gid(), of.mode() & 0o7777)
}

/// A file system on a loop device, from its pool to a guest in it and back to the bare directory.
#[test]
fn a_file_system_is_mounted_used_and_unmounted() {
    let Some(bed) = Bed::with_tiny("poolfs") else { return };
    let disk = LoopDisk::new(&bed, "poolfs", 256);
    let (pool, target) = (bed.name("disk"), bed.storage().join("mounted"));
    let (device, path) = (disk.device.as_str(), target.to_str().unwrap());
    let run = |arguments: &[&str]| bed.foundry(&[&["pool"], arguments].concat()).run();
    let add = ["add", &pool, "fs", device, "--target", path];

    let dry = run(&[&add[..], &["--dry-run"]].concat()).exits(0);
    let dry = dry.mentions(&format!("Pool '{pool}' would be defined, get its directory {path} if missing"));
    assert!(dry.stdout.contains(&format!("<device path=\"{device}\"/>")), "{}", dry.stdout);
    assert!(!target.exists() && bed.virsh().names("pool-list", &pool).is_empty());

    // What is there keeps its owner and mode, also where the mount fails.
    let before = odd_directory(&target);
    run(&[&add[..], &["--format", "xfs"]].concat())
        .exits(5)
        .prints("")
        .mentions("the pool is undefined again");
    assert_eq!(owner_and_mode(&target), before);
    run(&add).exits(0).prints(&format!("Successfully added pool '{pool}'\n"));
    let info = run(&["info", &pool]).exits(0).stdout;
    for line in
        [format!("Source:     {device} (auto)"), format!("Target:     {path}"), "Used by:    -".into()]
    {
        assert!(info.contains(&format!("{line}\n")), "{line} is not in\n{info}");
    }
    assert!(std::fs::metadata(&target).unwrap().dev() != std::fs::metadata(bed.storage()).unwrap().dev());

    let manifest = bed.manifest("web", 78).spec(&format!("storagePool: {pool}")).disk("vdb", 1);
    assert_eq!(bed.boots(&manifest).says("echo up"), "up");
    let vm = &manifest.name;
    assert!(run(&["info", &pool]).exits(0).stdout.contains(&format!("Used by:    {vm}\n")));
    let refused = run(&["stop", &pool]).exits(5).prints("");
    refused.tells(&format!(
        "error: pool '{pool}' is in use by VM '{vm}'\n  hint: stop them first\n  nothing was changed\n"
    ));
    run(&["delete", &pool, "--force"]).exits(5).prints("").mentions("hint: destroy them first");
    // A VM that is off does not keep a pool from being stopped, and does from being deleted.
    bed.virsh().does(&["destroy", vm]);
    run(&["stop", &pool]).exits(0).prints(&format!("Successfully stopped pool '{pool}'\n"));
    assert_eq!(files_in(&target, ""), Vec::<String>::new(), "it is unmounted");
    assert_eq!(owner_and_mode(&target), before);
    run(&["delete", &pool, "--force"]).exits(5).prints("").mentions("hint: destroy them first");
    run(&["stop", &pool]).exits(0).prints(&format!("Pool '{pool}' is already stopped\n"));
    run(&["start", &pool]).exits(0).prints(&format!("Successfully started pool '{pool}'\n"));
    run(&["start", &pool]).exits(0).prints(&format!("Pool '{pool}' is already started\n"));

    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    assert_eq!(files_in(&target, ""), ["lost+found"]);
    run(&["delete", &pool]).exits(5).mentions("has 1 volume");
    run(&["delete", &pool, "--force"]).exits(0);
    assert_eq!(owner_and_mode(&target), before);
    assert_eq!(bed.traces(), []);
}

/// A missing directory of a stopped pool may be one that is yet to be mounted: starting makes none.
#[test]
fn starting_makes_no_directory() {
    let Some(bed) = Bed::new("poolstart") else { return };
    let (pool, directory) = (bed.name("dir"), bed.storage().join("dir"));
    let run = |arguments: &[&str]| bed.foundry(&[&["pool"], arguments].concat()).run();
    let before = odd_directory(&directory);
    run(&["add", &pool, "dir", directory.to_str().unwrap(), "--no-autostart"]).exits(0);
    assert_eq!(owner_and_mode(&directory), before);
    run(&["stop", &pool]).exits(0);
    std::fs::remove_dir(&directory).unwrap();
    run(&["start", &pool]).exits(5).prints("").mentions("does not exist\n  hint: does its source exist");
    assert!(!directory.exists());
    let autostart = |wanted: &str| {
        let info = run(&["info", &pool]).exits(0).stdout;
        assert!(info.contains(&format!("Autostart:  {wanted}\n")), "{info}");
    };
    autostart("no");
    std::fs::create_dir(&directory).unwrap();
    run(&["start", &pool, "--autostart"]).exits(0);
    autostart("yes");
    run(&["stop", &pool, "--no-autostart"]).exits(0);
    autostart("no");
}

/// What this libvirt has no driver for is said, with the package that has it.
#[test]
fn a_type_that_libvirt_lacks_is_named_with_its_package() {
    let Some(bed) = Bed::new("pooltype") else { return };
    let types = bed.virsh().does(&["pool-capabilities"]);
    let lines = [
        ("logical", &["foundry-test-vg"][..]),
        ("zfs", &["foundry-test-tank"]),
        ("rbd", &["foundry-test", "--monitor", "127.0.0.1"]),
        ("iscsi", &["127.0.0.1", "iqn.2026-01.com.example:none"]),
    ];
    for (kind, source) in lines {
        if types.contains(&format!("<pool type='{kind}' supported='yes'>")) {
            println!("skipped: this libvirt has a driver for {kind}");
            continue;
        }
        let pool = bed.name(kind);
        let ran = bed.foundry(&[&["pool", "add", &pool, kind], source].concat()).run().exits(5).prints("");
        let ran = ran.mentions(&format!("its package is libvirt-daemon-driver-storage-{kind}"));
        ran.mentions("\n  nothing was changed\n");
        let dry = bed.foundry(&[&["pool", "add", &pool, kind, "--dry-run"], source].concat()).run().exits(0);
        assert!(dry.stdout.starts_with(&format!("<pool type=\"{kind}\">")), "{}", dry.stdout);
    }
    assert_eq!(bed.virsh().names("pool-list", &bed.name("")), Vec::<String>::new());
}
