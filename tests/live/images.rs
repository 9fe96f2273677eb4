//! Images on a real libvirtd: holes, packed and foreign ones, full disks, odd names, who uses what.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::deadline::ChildInTime as _;
use crate::support::live::{Bed, Ran, SmallPool, files_in, program};

const MIB: u64 = 1 << 20;

/// A raw image that a machine could boot from.
fn boot_code(file: &File) {
    let mut head = [0x90; 512];
    head[..2].copy_from_slice(&[0xeb, 0xfe]);
    head[510..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&head, 0).unwrap();
}

/// A raw image of that length with some bytes here and there.
fn sparse_image(path: &Path, length: u64, at: &[u64]) {
    let file = File::create(path).unwrap();
    file.set_len(length).unwrap();
    boot_code(&file);
    for offset in at {
        file.write_all_at(&[0xa5; 300_000], *offset).unwrap();
    }
}

/// A raw image without zeros in it.
fn dense_image(path: &Path, length: u64) {
    let file = File::create(path).unwrap();
    let mebibyte: Vec<u8> = (0..MIB).map(|i| (i % 251) as u8 | 1).collect();
    (0..length / MIB).for_each(|i| file.write_all_at(&mebibyte, i * MIB).unwrap());
    boot_code(&file);
}

fn allocated(path: &Path) -> u64 {
    path.metadata().unwrap().blocks() * 512
}

fn same(a: &Path, b: &Path) {
    program("cmp", &[a.to_str().unwrap(), b.to_str().unwrap()]).exits(0);
}

/// Runs `foundry image import - NAME` on what a program prints.
fn import_from(bed: &Bed, program: &str, arguments: &[&str], name: &str) -> Ran {
    let mut source = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let ran = bed.foundry(&["image", "import", "-", name]).reads_from(source.stdout.take().unwrap()).run();
    source.wait_in_time().unwrap();
    ran
}

#[test]
fn holes_stay_holes_from_file_to_pool_to_file() {
    let Some(bed) = Bed::new("iholes") else { return };
    let (file, out) = (bed.home().join("disk.raw"), bed.home().join("out.raw"));
    let ends = [64 * 1024, 3 << 30, (4 << 30) - 300_000];
    sparse_image(&file, 4 << 30, &ends);
    bed.foundry(&["image", "import", file.to_str().unwrap()]).run().exits(0);
    let image = bed.image("disk.raw");
    assert_eq!(image.metadata().unwrap().len(), 4 << 30);
    assert!(allocated(&image) < 3 * MIB, "{}", allocated(&image));
    same(&file, &image);

    bed.foundry(&["image", "export", "disk.raw", out.to_str().unwrap()]).run().exits(0);
    assert!(allocated(&out) < 3 * MIB, "{}", allocated(&out));
    same(&file, &out);
    bed.foundry(&["image", "export", "disk.raw", out.to_str().unwrap()])
        .run()
        .exits(1)
        .mentions("--force overwrites it");
    bed.foundry(&["image", "export", "-f", "disk.raw", out.to_str().unwrap()]).run().exits(0);
    assert_eq!(files_in(bed.home(), "out.raw").len(), 1, "no part is left");
}

/// A FIFO that is there is written into, and a reader that goes has read what it wanted.
#[test]
fn an_export_goes_through_a_fifo_and_a_file_of_it_is_nobody_elses() {
    let Some(bed) = Bed::with_tiny("ififo") else { return };
    let (fifo, out) = (bed.home().join("fifo"), bed.home().join("out.qcow2"));
    program("mkfifo", &[fifo.to_str().unwrap()]).exits(0);
    let export = |into: &Path| {
        bed.foundry(&["image", "export", "--force", "tiny.qcow2", into.to_str().unwrap()]).start()
    };
    let started = export(&fifo);
    let read = std::fs::read(&fifo).unwrap();
    let ended = started.end().exits(0).tells("");
    assert!(ended.stdout.starts_with("Successfully exported image 'tiny.qcow2' to "), "{ended:#?}");
    assert!(read == std::fs::read(bed.image("tiny.qcow2")).unwrap());
    assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());

    let started = export(&fifo);
    File::open(&fifo).unwrap().read_exact(&mut [0; 10]).unwrap();
    started.end().exits(0).prints("").tells("");

    // Whoever else made one would read it all. A link to a device is no place to keep anything.
    std::os::unix::fs::chown(&fifo, Some(12345), None).unwrap();
    let (refused, reader) = (export(&fifo), std::fs::OpenOptions::new().read(true).write(true).open(&fifo));
    refused.end().exits(5).prints("").mentions("it belongs to user 12345");
    drop(reader);
    let null = bed.home().join("null");
    std::os::unix::fs::symlink("/dev/null", &null).unwrap();
    std::fs::set_permissions(bed.home(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    export(&null).end().exits(1).prints("").mentions("exists and is not a regular file");
    std::fs::set_permissions(bed.home(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();

    export(&out).end().exits(0);
    assert_eq!(std::fs::metadata(&out).unwrap().mode() & 0o777, 0o600);
}

/// libvirtd looks for the volume at each piece anew.
#[test]
fn an_export_is_of_one_file() {
    let Some(bed) = Bed::new("ione") else { return };
    let (file, fifo) = (bed.home().join("disk.raw"), bed.home().join("fifo"));
    sparse_image(&file, 600 * MIB, &[MIB]);
    bed.import(file.to_str().unwrap(), "disk.raw");
    program("mkfifo", &[fifo.to_str().unwrap()]).exits(0);
    let started = bed.foundry(&["image", "export", "disk.raw", fifo.to_str().unwrap()]).start();
    let mut reader = File::open(&fifo).unwrap();
    reader.read_exact(&mut [0; 4096]).unwrap();
    let other = bed.storage().join("images/other");
    std::fs::copy(&file, &other).unwrap();
    std::fs::rename(&other, bed.image("disk.raw")).unwrap();
    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
    started.end().exits(5).prints("").mentions("it was written to or replaced meanwhile");
}

/// Nobody says how long it is, and its zeros are no holes when they come.
#[test]
fn what_comes_through_a_pipe_gets_its_holes_back() {
    let Some(bed) = Bed::new("ipipe") else { return };
    let file = bed.home().join("disk.raw");
    sparse_image(&file, 600 * MIB, &[64 * 1024, 400 * MIB]);
    let path = file.to_str().unwrap();
    for (name, program, arguments) in [
        ("plain.raw", "cat", vec![path]),
        ("zst.raw", "zstd", vec!["-qc", path]),
        ("xz.raw", "xz", vec!["-0c", path]),
    ] {
        import_from(&bed, program, &arguments, name).exits(0);
        assert!(allocated(&bed.image(name)) < 3 * MIB, "{name}: {}", allocated(&bed.image(name)));
        same(&file, &bed.image(name));
    }
    let listed = bed.foundry(&["image", "list", "-o", "name"]).run().exits(0).stdout;
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["plain.raw", "xz.raw", "zst.raw"], "no notes in it");
}

#[test]
fn a_checksum_is_of_the_file_as_it_is_given() {
    let Some(bed) = Bed::new("isum") else { return };
    let (file, list) = (bed.home().join("disk.raw"), bed.home().join("SHA512SUMS"));
    sparse_image(&file, 30 * MIB, &[MIB]);
    program("gzip", &["-1", "-k", file.to_str().unwrap()]).exits(0);
    let packed = format!("{}.gz", file.display());
    std::fs::write(&list, program("sha512sum", &[&packed]).exits(0).stdout).unwrap();
    let import = |checksum: &str| bed.foundry(&["image", "import", &packed, "--checksum", checksum]).run();
    import(&format!("sha256:{}", "0".repeat(64))).exits(5).mentions("the volume is removed again");
    assert_eq!(files_in(bed.storage().join("images"), ""), [""; 0]);
    import(list.to_str().unwrap()).exits(0);
    let info = bed.foundry(&["image", "info", "disk.raw"]).run().exits(0).stdout;
    assert!(info.contains("compressed by gzip") && info.contains("Digest:     sha512:"), "{info}");
    same(&file, &bed.image("disk.raw"));
}

#[test]
fn a_foreign_image_is_named_and_taken_when_it_is_to_be_converted() {
    let Some(bed) = Bed::new("iconv") else { return };
    let vmdk = bed.home().join("box.vmdk");
    let vmdk = vmdk.to_str().unwrap();
    program("qemu-img", &["convert", "-O", "vmdk", bed.tiny(), vmdk]).exits(0);
    bed.foundry(&["image", "import", vmdk, "box"]).run().exits(5).mentions("VMDK").mentions("--convert");
    bed.foundry(&["image", "import", vmdk, "--convert", "qcow2"]).run().exits(0);
    program("qemu-img", &["compare", bed.tiny(), bed.image("box.qcow2").to_str().unwrap()]).exits(0);
    let info = bed.foundry(&["image", "info", "box.qcow2"]).run().exits(0).stdout;
    assert!(info.contains("converted from VMDK"), "{info}");
    import_from(&bed, "cat", &[vmdk], "piped").exits(5);
    let mut source = Command::new("cat").arg(vmdk).stdout(Stdio::piped()).spawn().unwrap();
    let import = bed.foundry(&["image", "import", "-", "piped", "--convert", "raw"]);
    import.reads_from(source.stdout.take().unwrap()).run().exits(0);
    source.wait_in_time().unwrap();
    program("qemu-img", &["compare", bed.tiny(), bed.image("piped.raw").to_str().unwrap()]).exits(0);
}

/// The process that answers. It must be the same one after everything that is done to it here.
fn libvirtd(bed: &Bed) -> String {
    bed.virsh().does(&["uri"]);
    program("pgrep", &["-o", "-x", "libvirtd|virtstoraged"]).stdout
}

/// A write error inside an upload ends libvirtd 11.3 for everybody.
#[test]
fn an_image_that_does_not_fit_is_refused_and_libvirtd_lives() {
    let Some(bed) = Bed::new("ifull") else { return };
    does_not_fit(&bed, &bed.uri());
}

#[test]
fn an_image_that_does_not_fit_elsewhere_is_refused_and_libvirtd_lives() {
    let Some(bed) = Bed::new("ifullfar") else { return };
    does_not_fit(&bed, &bed.far_uri());
}

/// By one way to libvirtd.
fn does_not_fit(bed: &Bed, uri: &str) {
    let foundry = |arguments: &[&str]| bed.foundry(arguments).env("FOUNDRY_CONNECT", uri);
    let small = SmallPool::new(bed, "small", 128);
    let before = libvirtd(bed);
    let file = |name: &str| bed.home().join(name);
    dense_image(&file("dense.raw"), 160 * MIB);
    sparse_image(&file("sparse.raw"), 1 << 30, &(1..501).map(|i| i * 2 * MIB).collect::<Vec<_>>());
    for name in ["dense.raw", "sparse.raw"] {
        let path = file(name).display().to_string();
        let import = foundry(&["image", "import", &path, "--pool", &small.name]).run().exits(5);
        import.mentions("left; the image needs").mentions("nothing was changed");
    }
    for packer in ["cat", "zstd"] {
        let path = file("dense.raw").display().to_string();
        let arguments: &[&str] = if packer == "cat" { &[&path] } else { &["-qc", &path] };
        let mut source = Command::new(packer).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let import = foundry(&["image", "import", "-", "piped.raw", "--pool", &small.name]);
        let ran = import.reads_from(source.stdout.take().unwrap()).run().exits(5);
        ran.mentions("is full").mentions("the volume is removed again");
        // The pipe breaks under it.
        source.wait_in_time().unwrap();
    }
    assert_eq!(files_in(&small.target, "").iter().filter(|f| *f != "lost+found").count(), 0);
    assert_eq!(libvirtd(bed), before);

    // What fits, fits: dense, and sparse where its data do.
    dense_image(&file("fits.raw"), 40 * MIB);
    sparse_image(&file("thin.raw"), 1 << 30, &[MIB, 900 * MIB]);
    for name in ["fits.raw", "thin.raw"] {
        let path = file(name).display().to_string();
        foundry(&["image", "import", &path, "--pool", &small.name]).run().exits(0);
        same(&file(name), &small.target.join(name));
    }
    assert_eq!(libvirtd(bed), before);
}

/// Each knows only what the pool says, and none of them how much the others will write.
#[test]
fn four_at_once_that_do_not_fit_together_are_given_up_in_time() {
    let Some(bed) = Bed::new("ifour") else { return };
    let small = SmallPool::new(&bed, "small", 192);
    let (before, uri) = (libvirtd(&bed), bed.far_uri());
    let image = bed.home().join("dense.raw");
    dense_image(&image, 160 * MIB);
    let started: Vec<_> = (0..4)
        .map(|n| {
            let mut cat = Command::new("cat").arg(&image).stdout(Stdio::piped()).spawn().unwrap();
            let import = bed.foundry(&["image", "import", "-", &format!("n{n}.raw"), "--pool", &small.name]);
            let import = import.env("FOUNDRY_CONNECT", &uri).reads_from(cat.stdout.take().unwrap()).start();
            (cat, import)
        })
        .collect();
    for (mut cat, import) in started {
        import.end().exits(5).mentions("the volume is removed again");
        cat.wait_in_time().unwrap();
    }
    assert_eq!(libvirtd(&bed), before);
    assert_eq!(files_in(&small.target, "").iter().filter(|f| *f != "lost+found").count(), 0);
}

/// Others write to the disk while an image comes that nobody knows the length of.
#[test]
fn a_disk_that_fills_up_meanwhile_is_noticed_in_time() {
    let Some(bed) = Bed::new("irace") else { return };
    let small = SmallPool::new(&bed, "small", 256);
    let before = libvirtd(&bed);
    let import = bed.foundry(&["image", "import", "-", "slow.raw", "--pool", &small.name]);
    let import = import.env("FOUNDRY_CONNECT", &bed.far_uri());
    let (out, mut into) = std::io::pipe().unwrap();
    let started = import.reads_from(out).start();
    let file = bed.home().join("head");
    dense_image(&file, MIB);
    into.write_all(&std::fs::read(&file).unwrap()).unwrap();
    let taken = small.available() * 2 / 5;
    let mut written = MIB;
    for round in 0..400 {
        if round == 20 {
            small.take("others", taken);
        }
        if into.write_all(&vec![7; MIB as usize]).is_err() {
            break;
        }
        written += MIB;
        std::thread::sleep(Duration::from_millis(3));
    }
    drop(into);
    started.end().exits(5).mentions("is full").mentions("the volume is removed again");
    assert!(written > 40 * MIB, "it was given up after {written} bytes");
    assert_eq!(libvirtd(&bed), before);
    let left: Vec<String> = files_in(&small.target, "").into_iter().filter(|f| f != "lost+found").collect();
    assert_eq!(left, ["others"]);
}

/// Names of files that nobody would choose and everybody can make.
const ODD: [&str; 9] = [
    "a b.raw",
    "it's.raw",
    "a\"b.raw",
    "$(reboot).raw",
    "<&>.raw",
    "ü–日本.raw",
    "a;b|c.raw",
    "%s%n.raw",
    "-rf.raw",
];

#[test]
fn images_with_odd_names_are_listed_shown_and_deleted() {
    let Some(bed) = Bed::with_tiny("iodd") else { return };
    let file = bed.home().join("disk.raw");
    sparse_image(&file, MIB, &[]);
    for name in ODD {
        std::fs::copy(&file, bed.image(name)).unwrap();
    }
    bed.foundry(&["pool", "refresh", &bed.image_pool()]).run().exits(0);
    let listed = bed.foundry(&["image", "list", "-o", "name"]).run().exits(0).stdout;
    for name in ODD {
        assert!(listed.lines().any(|line| line == name), "{name}: {listed}");
        let info = bed.foundry(&["image", "info", "-o", "json", "--", name]).run().exits(0).stdout;
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!((info["name"].as_str(), info["origin"].is_null()), (Some(name), true));
        bed.foundry(&["image", "delete", "--", name]).run().exits(0);
    }
    assert_eq!(files_in(bed.storage().join("images"), ""), ["tiny.qcow2"]);
    for name in ["../x", "a/b", "", ".", "..", "a\nb", "\u{1b}[2J"] {
        let import = bed.foundry(&["image", "import", file.to_str().unwrap(), "--", name]).run();
        assert!(import.code == 2, "{name:?}: {import:#?}");
    }
}

/// VM on image, somebody's overlay on the VM's disk: both hold the image, and it is said who.
#[test]
fn an_image_below_two_overlays_stays() {
    let Some(bed) = Bed::with_tiny("ichain") else { return };
    let manifest = bed.manifest("web", 40);
    bed.creates(&manifest);
    let disk: PathBuf = bed.disk(&format!("{}_boot", manifest.name));
    let overlay = "foundry-test-ichain-top.qcow2".to_owned();
    let pool = bed.vm_pool();
    let backing = disk.to_str().unwrap();
    bed.virsh().does(&[
        "vol-create-as",
        &pool,
        &overlay,
        "1G",
        "--format",
        "qcow2",
        "--backing-vol",
        backing,
        "--backing-vol-format",
        "qcow2",
    ]);
    let info = bed.foundry(&["image", "info", "tiny.qcow2", "-o", "json"]).run().exits(0).stdout;
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["usedBy"], serde_json::json!([manifest.name]));
    assert_eq!(info["overlays"].as_array().unwrap().len(), 2, "{info}");
    for command in [&["image", "delete", "tiny.qcow2"][..], &["image", "delete", "--force", "tiny.qcow2"]] {
        bed.foundry(command).run().exits(5).mentions(&manifest.name);
    }
    bed.foundry(&["image", "prune", "--all", "--yes"]).run().exits(0).prints("");
    assert!(bed.image("tiny.qcow2").exists());
    bed.foundry(&["image", "delete", "--force", "--yes", "tiny.qcow2"]).run().exits(0);
    assert!(!bed.image("tiny.qcow2").exists());
}
