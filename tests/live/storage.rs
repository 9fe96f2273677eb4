//! Images and pools on a real libvirtd. No guest boots here.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::support::live::{Bed, Ran, files_in, program};

/// A raw image with a boot sector, and after it what is surely no zeros.
fn raw_image(path: &Path, length: usize) {
    let mut content: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap() | 1).collect();
    content[510..512].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(path, content).unwrap();
}

/// The only error that is told, in full.
#[track_caller]
fn refused(bed: &Bed, name: &str, file: &str, error: &str) {
    let ran = bed.foundry(&["image", "import", file, name]).run().exits(5).prints("");
    ran.tells(&format!("Importing image '{name}'...\nerror: {error}\n  nothing was changed\n"));
}

#[test]
fn an_image_is_taken_for_what_it_is_and_called_so() {
    let Some(bed) = Bed::new("import") else { return };
    let file = |name: &str| bed.home().join(name).display().to_string();
    let (tiny, raw) = (bed.tiny(), file("disk.bin"));
    // Neither a multiple of a MiB nor of a block: the first foundry padded to whole GiBs.
    raw_image(Path::new(&raw), (3 << 20) + 512);
    std::fs::write(file("zeros.raw"), vec![0; 1 << 20]).unwrap();
    let make = |arguments: &[&str]| {
        let mut all = vec!["create", "-q"];
        all.extend(arguments);
        program("qemu-img", &all).exits(0);
    };
    make(&["-f", "qcow2", "-b", tiny, "-F", "qcow2", &file("overlay.qcow2")]);
    make(&["-f", "vmdk", &file("disk.vmdk"), "8M"]);

    let wrong = |name: &str, kind: &str, end: &str, from: &str| {
        refused(
            &bed,
            name,
            from,
            &format!(
                "'{name}' does not fit this image: {from} is {kind}, and the name of such an image ends in .{end}\n  hint: name it a.{end}"
            ),
        );
    };
    wrong("a.raw", "qcow2", "qcow2", tiny);
    wrong("a.img", "qcow2", "qcow2", tiny);
    wrong("a.qcow2", "raw", "raw", &raw);
    let no_image =
        |from: &str, why: &str| refused(&bed, "a.raw", from, &format!("{from} cannot be an image: {why}"));
    no_image(&file("zeros.raw"), "it has neither a qcow2 header nor a boot sector");
    no_image(
        &file("disk.vmdk"),
        "it is a VMDK image, which must be converted\n  hint: foundry image import --convert qcow2 FILE converts it",
    );
    no_image(
        &file("overlay.qcow2"),
        &format!(
            "it is an overlay on {tiny:?}; only its author can combine the files (do not open it here: it may read any file of this host)"
        ),
    );
    bed.foundry(&["image", "import", &file("none.raw")]).run().exits(1).prints("").mentions("no such file");
    bed.foundry(&["image", "import", bed.home().to_str().unwrap(), "a"]).run().exits(1).prints("");
    bed.foundry(&["image", "import", &raw, "../a.raw"]).run().exits(2).prints("");
    assert_eq!(
        bed.virsh().names("pool-list", &bed.name("")),
        Vec::<String>::new(),
        "not even a pool was made"
    );

    let ran = bed.foundry(&["image", "import", &raw, "disk.raw"]).run().exits(0);
    ran.prints("Successfully imported image 'disk.raw' (raw, 3 MiB)\n")
        .tells("Importing image 'disk.raw'...\n✓ Image imported\n");
    assert!(std::fs::read(bed.image("disk.raw")).unwrap() == std::fs::read(&raw).unwrap(), "byte for byte");
    bed.foundry(&["image", "import", tiny, "tiny"])
        .run()
        .exits(0)
        .prints("Successfully imported image 'tiny.qcow2' (qcow2, 64 MiB)\n");
    assert!(std::fs::read(bed.image("tiny.qcow2")).unwrap() == std::fs::read(tiny).unwrap(), "byte for byte");
    assert_eq!(std::fs::metadata(bed.image("tiny.qcow2")).unwrap().mode() & 0o777, 0o600);
    let taken = format!(
        "image 'tiny.qcow2' exists in pool '{}'\n  hint: foundry image delete tiny.qcow2 removes it",
        bed.image_pool()
    );
    refused(&bed, "tiny.qcow2", tiny, &taken);

    let list = bed.foundry(&["image", "list"]).run().exits(0).tells("").stdout;
    let rows: Vec<Vec<&str>> = list.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "FORMAT", "SIZE", "ALLOCATED"]);
    assert_eq!(rows[1][..4], ["disk.raw", "raw", "3", "MiB"]);
    assert_eq!(rows[2][..4], ["tiny.qcow2", "qcow2", "64", "MiB"]);
    bed.foundry(&["image", "list", "-o", "name"]).run().exits(0).prints("disk.raw\ntiny.qcow2\n");
}

#[test]
fn an_interrupted_import_leaves_nothing() {
    let Some(bed) = Bed::with_tiny("importint") else { return };
    let large = bed.home().join("large.raw");
    raw_image(&large, 3 << 20);
    let import = ["image", "import", large.to_str().unwrap(), "large.raw", "-vv"];
    let (mut started, _content) = bed.start_import("large.raw");
    started.signal("INT");
    let ran = started.end().exits(130).prints("");
    // A volume's file that is within reach is written directly, without a stream to be aborted.
    let ended = ran.count("virStreamFinish") + ran.count("virStreamAbort");
    assert_eq!((ran.count("virStreamNew"), ran.count("virStorageVolDelete")), (ended, 1), "{ran:#?}");
    ran.mentions("\n  the volume is removed again\n");
    assert_eq!(files_in(bed.storage().join("images"), ""), ["tiny.qcow2"]);
    // The daemon has survived it, too.
    bed.foundry(&import[..4]).run().exits(0);
    assert!(std::fs::read(bed.image("large.raw")).unwrap() == std::fs::read(&large).unwrap());
}

/// The image's head is sent last: before that nobody takes it for an image that is whole.
#[test]
fn a_killed_import_leaves_nothing_that_a_vm_is_made_from() {
    let Some(bed) = Bed::with_tiny("importkill") else { return };
    let large = bed.home().join("large.raw");
    raw_image(&large, 3 << 20);
    let import = ["image", "import", large.to_str().unwrap(), "large.raw"];
    let (mut started, _content) = bed.start_import("large.raw");
    started.signal("KILL");
    started.end().exits(137);
    let manifest = bed.manifest("web", 74).boot_disk("{sizeGB: 1, image: large.raw}");
    bed.foundry(&["create", "-"]).reads(&manifest).run().exits(5).mentions(&format!(
        "image '{}:large.raw' cannot be used: its import was interrupted or is still running\n",
        bed.image_pool()
    ));
    bed.foundry(&import).run().exits(5).mentions("foundry image delete large.raw removes it");
    bed.foundry(&["image", "delete", "large.raw", "--force"]).run().exits(0);
    bed.foundry(&import).run().exits(0);
    assert!(std::fs::read(bed.image("large.raw")).unwrap() == std::fs::read(&large).unwrap());
}

#[test]
fn an_image_in_use_is_not_deleted_and_one_that_is_not_goes_without_a_question() {
    let Some(bed) = Bed::with_tiny("imageuse") else { return };
    bed.import(bed.tiny(), "spare.qcow2");
    let manifest = bed.manifest("web", 70);
    let vm = &manifest.name;
    bed.creates(&manifest);
    bed.virsh().does(&["destroy", vm]);

    let info = bed.foundry(&["image", "info", "tiny.qcow2", "-o", "json"]).run().exits(0);
    let info: serde_json::Value = serde_json::from_str(&info.stdout).unwrap();
    assert_eq!(info["usedBy"], serde_json::json!([vm]));
    assert_eq!(info["overlays"], serde_json::json!([format!("{}/{vm}_boot", bed.vm_pool())]));
    assert_eq!((&info["format"], &info["virtualSize"]), (&"qcow2".into(), &(64 << 20).into()));
    let in_use = |who: &str, sort: &str| {
        format!(
            "error: image 'tiny.qcow2' is in use by {who}\n  hint: keep the image: that {sort} needs it as long as it exists; a newer image can be pulled beside it with --name\n  nothing was changed\n"
        )
    };
    let delete = |name: &str| -> Ran { bed.foundry(&["image", "delete", name]).run() };
    delete("tiny.qcow2").exits(5).has_code("FND-5103").prints("").tells(&in_use(&format!("VM '{vm}'"), "VM"));

    // Kept disks still lie on it, though no VM does.
    bed.foundry(&["destroy", vm, "--keep-disks"]).run().exits(0);
    let overlay = format!("volume {}/{vm}_boot", bed.vm_pool());
    delete("tiny.qcow2").exits(5).prints("").tells(&in_use(&overlay, "volume"));
    assert!(bed.image("tiny.qcow2").exists());
    bed.virsh().does(&["vol-delete", &format!("{vm}_boot"), "--pool", &bed.vm_pool()]);

    for name in ["tiny.qcow2", "spare.qcow2"] {
        delete(name).exits(0).prints(&format!("Successfully deleted image '{name}'\n")).tells("");
    }
    delete("tiny.qcow2").exits(5).mentions("there is no image 'tiny.qcow2'");
    assert_eq!(files_in(bed.storage().join("images"), ""), Vec::<String>::new());
}

/// The first foundry had libvirt build the pool, which gave an existing directory to QEMU's user.
#[test]
fn a_pool_is_added_refreshed_and_forgotten_and_its_files_stay() {
    let Some(bed) = Bed::with_tiny("pooladd") else { return };
    let (pool, directory) = (bed.name("ssd"), bed.storage().join("ssd"));
    let path = directory.to_str().unwrap();
    std::fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(4321), Some(4322)).unwrap();
    program("chmod", &["0751", path]).exits(0);
    let run = |arguments: &[&str]| bed.foundry(&[&["pool"], arguments].concat()).run();

    run(&["add", &pool, "dir", "relative"]).exits(2).prints("");
    run(&["add", &pool, "dir", "/srv/../etc"]).exits(2).prints("");
    run(&["add", &pool, "dir", "/proc/none/none"])
        .exits(5)
        .prints("")
        .mentions("\n  the pool is undefined again\n");
    assert_eq!(bed.virsh().names("pool-list", &pool), Vec::<String>::new());
    run(&["add", &pool, "dir", path])
        .exits(0)
        .prints(&format!("Successfully added pool '{pool}'\n"))
        .mentions("belongs to user 4321: a user who can write there could replace a volume with a link");
    let of = std::fs::metadata(&directory).unwrap();
    assert_eq!((of.uid(), of.gid(), of.mode() & 0o7777), (4321, 4322, 0o751));
    let taken = format!("error: pool '{pool}' exists\n  nothing was changed\n");
    run(&["add", &pool, "dir", path]).exits(5).has_code("FND-5004").prints("").tells(&taken);

    std::fs::copy(bed.tiny(), directory.join("found.qcow2")).unwrap();
    assert!(!run(&["info", &pool]).exits(0).stdout.contains("found.qcow2"));
    run(&["refresh", &pool]).exits(0).prints(&format!("Successfully refreshed pool '{pool}'\n"));
    let info = run(&["info", &pool]).exits(0).stdout;
    assert!(info.contains(&format!("Target:     {path}\n")) && info.contains("found.qcow2"), "{info}");

    // A VM in it, with `--pool` and an image of another pool.
    let manifest = bed.manifest("web", 71);
    bed.foundry(&["create", "-", "--pool", &pool]).reads(&manifest).run().exits(0);
    assert!(directory.join(format!("{}_boot", manifest.name)).exists());
    for force in [[].as_slice(), &["--force"]] {
        let refused = run(&[&["delete", &pool], force].concat()).exits(5).has_code("FND-5005").prints("");
        refused.tells(&format!(
            "error: pool '{pool}' is in use by VM '{}'\n  hint: destroy them first\n  nothing was changed\n",
            manifest.name
        ));
    }
    bed.foundry(&["destroy", &manifest.name, "--force"]).run().exits(0);

    run(&["delete", &pool]).exits(5).has_code("FND-5006").prints("").tells(&format!(
        "error: pool '{pool}' has 1 volume\n  hint: --force deletes the pool's definition and keeps its volumes\n  nothing was changed\n"
    ));
    run(&["delete", &pool, "--force"])
        .exits(0)
        .prints(&format!("Successfully deleted pool '{pool}'; its volumes are kept\n"));
    assert_eq!(files_in(&directory, ""), ["found.qcow2"]);
    run(&["delete", &pool]).exits(5).mentions(&format!("there is no pool '{pool}'"));
}

#[test]
fn a_stopped_pool_can_be_forgotten_and_a_missing_directory_is_made() {
    let Some(bed) = Bed::new("poolstop") else { return };
    let (pool, directory) = (bed.name("new"), bed.storage().join("deep/new"));
    bed.foundry(&["pool", "add", &pool, "dir", directory.to_str().unwrap()]).run().exits(0);
    assert!(directory.is_dir());
    bed.virsh().does(&["pool-destroy", &pool]);
    let row = bed.foundry(&["pool", "list", "--no-headers"]).run().exits(0).stdout;
    let row = row.lines().find(|l| l.starts_with(&pool)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(row, [pool.as_str(), "dir", "inactive", "-", "-", directory.to_str().unwrap()]);
    bed.foundry(&["pool", "refresh", &pool]).run().exits(5).prints("");
    bed.foundry(&["pool", "delete", &pool]).run().exits(5).mentions("so its volumes cannot be seen");
    bed.foundry(&["pool", "delete", &pool, "--force"]).run().exits(0);
    assert_eq!(bed.virsh().names("pool-list", &pool), Vec::<String>::new());
}

/// Of two pools on one file system the first foundry said that there is twice the room.
#[test]
fn a_file_system_counts_once() {
    let Some(bed) = Bed::with_tiny("status") else { return };
    bed.creates(&bed.manifest("web", 72).disk("vdb", 30));
    let status = bed.foundry(&["storage", "status", "-o", "json"]).run().exits(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let pools = status["pools"].as_array().unwrap();
    let mine = |end: &str| pools.iter().find(|p| p["name"] == bed.name(end)).unwrap();
    assert_eq!(mine("vms")["capacity"], mine("images")["capacity"]);
    assert_eq!(mine("vms")["volumes"], 3);
    let seed = std::fs::metadata(bed.disk(&format!("{}_cloudinit", bed.name("web")))).unwrap().len();
    assert_eq!(mine("vms")["promised"].as_u64().unwrap(), (31 << 30) + seed);

    let mut devices = std::collections::BTreeMap::new();
    for pool in pools.iter().filter(|p| p["active"] == true) {
        let device = std::fs::metadata(pool["target"].as_str().unwrap()).unwrap().dev();
        devices.insert(device, pool["capacity"].as_u64().unwrap());
    }
    assert_eq!(status["capacity"].as_u64().unwrap(), devices.values().sum::<u64>());
}

/// A disk that was taken out of its VM by hand is the VM's still: its record names it.
#[test]
fn what_can_grow_and_what_is_nobodys_is_shown() {
    let Some(bed) = Bed::with_tiny("growth") else { return };
    let manifest = bed.manifest("web", 75).disk("vdb", 100_000);
    bed.creates(&manifest);
    let (vm, pool) = (&manifest.name, bed.vm_pool());
    bed.virsh().does(&["vol-create-as", &pool, "left-behind", "1M", "--format", "raw"]);
    bed.virsh().does(&["detach-disk", vm, "vdb", "--config"]);
    bed.virsh().does(&["destroy", vm]);

    let status = bed.foundry(&["storage", "status", "-o", "json"]).run().exits(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    let orphans: Vec<&str> =
        status["orphans"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
    assert_eq!(orphans, ["left-behind"]);
    assert_eq!(status["orphans"][0]["allocation"], 1 << 20);
    let pools = status["pools"].as_array().unwrap();
    let mine = |name: &str| pools.iter().find(|p| p["name"] == name).unwrap();
    let (vms, images) = (mine(&pool), mine(&bed.image_pool()));
    assert_eq!((vms["disks"]["count"].as_u64(), vms["orphans"]["count"].as_u64()), (Some(3), Some(1)));
    assert_eq!((images["images"]["count"].as_u64(), images["growth"].as_u64()), (Some(1), Some(0)));
    let growth = vms["growth"].as_u64().unwrap();
    assert!(growth > 100_000 << 30 && growth < 100_001 << 30, "{growth}");

    let ran = bed.foundry(&["storage", "status"]).run().exits(0);
    let ran = ran.mentions(&format!("'{pool}'")).mentions("can grow by 97.").mentions("guests would stop");
    assert!(
        ran.stdout.contains("Orphans: 1 volume without a VM takes 1 MiB; -o wide lists them"),
        "{ran:#?}"
    );
    let wide = bed.foundry(&["storage", "status", "-o", "wide"]).run().exits(0).stdout;
    let both = |line: &str| line.contains(&pool) && line.contains(&bed.image_pool());
    assert!(wide.lines().any(|line| both(line) && line.ends_with(" TiB")), "over-committed: {wide}");
    assert!(ran.stdout.contains(" TiB more than available\n"), "{ran:#?}");
    let orphan = wide.lines().find(|l| l.starts_with("left-behind")).unwrap();
    assert_eq!(orphan.split_whitespace().collect::<Vec<_>>(), ["left-behind", &pool, "1", "MiB", "1", "MiB"]);
}

/// The first foundry made its pools when it was asked to list images.
#[test]
fn what_only_looks_makes_nothing() {
    let Some(bed) = Bed::new("looks") else { return };
    let look = |arguments: &[&str], code: i32| -> Ran { bed.foundry(arguments).run().exits(code) };
    look(&["image", "list"], 0).prints("").tells("No images; foundry image import FILE adds one\n");
    look(&["image", "list", "-o", "json"], 0).prints("[]\n");
    look(&["image", "info", "none"], 5);
    look(&["image", "delete", "none"], 5);
    look(&["pool", "list"], 0);
    look(&["pool", "info", &bed.vm_pool()], 5);
    look(&["storage", "status"], 0);
    look(&["list", "--all"], 0);
    look(&["get", &bed.name("web")], 4);
    look(&["test-conn"], 0);
    bed.foundry(&["render", "-", "--what=all"]).reads(bed.manifest("web", 73)).run().exits(0);
    bed.foundry(&["create", "-", "--dry-run"]).reads(bed.manifest("web", 73)).run().exits(5);
    assert_eq!(bed.virsh().names("pool-list", &bed.name("")), Vec::<String>::new());
    assert!(!bed.storage().exists());
}
