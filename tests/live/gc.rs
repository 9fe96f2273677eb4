//! What kills left on a real libvirtd, and `foundry gc`; seeds that are ejected. No guest boots here.
//!
//! `gc` is always told what to do by name: whatever else is on the host is none of these tests'.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::live::{Bed, Manifest, Trace};
use serde_json::Value;

const NVRAM: &str = "/var/lib/libvirt/qemu/nvram";

/// What `gc` says of the things of this bed: name and fate of each.
fn listed(bed: &Bed) -> Vec<(String, String)> {
    let ours = |found: &Value| found["name"].as_str().unwrap().contains(&bed.name(""));
    let text = |found: &Value, key: &str| found[key].as_str().unwrap().to_owned();
    let all = survey(bed);
    all.iter().filter(|f| ours(f)).map(|f| (text(f, "name"), text(f, "fate"))).collect()
}

fn survey(bed: &Bed) -> Vec<Value> {
    let ran = bed.foundry(&["gc", "--dry-run", "-o", "json"]).run().exits(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Why something is on the list.
fn reason(bed: &Bed, name: &str) -> Option<String> {
    let found = survey(bed).into_iter().find(|found| found["name"] == name)?;
    Some(found["reason"].as_str().unwrap().to_owned())
}

fn pairs<const N: usize>(list: [(&str, &str); N]) -> Vec<(String, String)> {
    list.map(|(name, fate)| (name.to_owned(), fate.to_owned())).into()
}

/// Waits for what another program does in its own time.
#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A VM whose creation is killed as soon as its boot disk was made. On a busy machine the signal may come when all is
/// done; then once more.
fn killed_creation(bed: &Bed, manifest: &Manifest) {
    for _ in 0..20 {
        let mut started = bed.foundry(&["create", "-", "-vv"]).reads(manifest).start();
        assert!(started.until(|line| line.contains("virStorageVolCreateXML") && line.contains("_boot")));
        started.signal("KILL");
        started.end();
        if !listed(bed).is_empty() {
            return;
        }
        bed.foundry(&["destroy", &manifest.name, "--force"]).run().exits(0);
    }
    panic!("no signal came in time");
}

/// A volume, a domain and a file of other people's, whose names begin as the VM's.
struct Neighbours<'a> {
    bed: &'a Bed,
    domain: String,
    before: (String, Vec<u8>),
}

impl<'a> Neighbours<'a> {
    fn new(bed: &'a Bed) -> Self {
        let domain = bed.name("web-other");
        let disk = bed.disk(&bed.name("web_boot.bak"));
        std::fs::write(&disk, vec![7; 100_000]).unwrap();
        bed.virsh().defines(
            "define",
            &format!(
                "<domain type='qemu'><name>{domain}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
                 <os><type>hvm</type></os><devices><disk type='file'><source file='{}'/><target dev='vda'/></disk>
                 </devices></domain>",
                disk.display()
            ),
        );
        let mut new = Self { bed, domain, before: Default::default() };
        new.before = new.now();
        new
    }

    fn now(&self) -> (String, Vec<u8>) {
        let disk = std::fs::read(self.bed.disk(&self.bed.name("web_boot.bak"))).unwrap();
        (self.bed.virsh().definition(&self.domain), disk)
    }

    #[track_caller]
    fn are_untouched(&self) {
        assert_eq!(self.now(), self.before);
    }

    fn traces(&self) -> Vec<Trace> {
        vec![Trace::Domain(self.domain.clone()), Trace::Disk(self.bed.name("web_boot.bak"))]
    }
}

#[test]
fn what_kills_left_of_vms_goes_and_the_neighbours_stay() {
    let Some(bed) = Bed::with_tiny("gcvms") else { return };
    let manifest = bed.manifest("web", 130).disk("vdb", 1);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
    let neighbours = Neighbours::new(&bed);

    killed_creation(&bed, &manifest);
    assert_eq!(listed(&bed), pairs([(vm, "goes")]));
    assert_eq!(reason(&bed, vm).unwrap(), "its creation was interrupted");
    // Nobody can be asked: it lists, says how to go on, and does nothing.
    let unasked = bed.foundry(&["gc", vm]).run().exits(1);
    assert!(unasked.stdout.contains(vm), "{unasked:#?}");
    unasked.mentions("hint: --yes cleans up without asking");
    assert_eq!(listed(&bed), pairs([(vm, "goes")]));
    bed.foundry(&["gc", vm, "--yes"]).run().exits(0).mentions("✓ Domain undefined\n");
    assert_eq!(bed.traces(), neighbours.traces());

    bed.creates(&manifest);
    let mut started = bed.foundry(&["destroy", vm, "--force", "-vv"]).start();
    assert!(started.until(|line| line.contains("virStorageVolDelete")));
    started.signal("KILL");
    started.end();
    // It may have been faster than the signal.
    if !listed(&bed).is_empty() {
        assert_eq!(listed(&bed), pairs([(vm, "goes")]));
        bed.foundry(&["gc", vm, "--yes"]).run().exits(0);
    }
    assert_eq!(bed.traces(), neighbours.traces());
    neighbours.are_untouched();
}

/// Killed while it waits for its guest to shut down, which it may do for long.
#[test]
fn a_destruction_that_goes_on_is_told_from_one_that_was_killed() {
    let Some(bed) = Bed::with_tiny("gchalf") else { return };
    let manifest = bed.manifest("web", 131);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    // Its firmware hears no power button.
    let mut started = bed.foundry(&["destroy", vm, "--timeout=4m", "-vv"]).start();
    assert!(started.until(|line| line.contains("virDomainShutdown")));
    assert_eq!(listed(&bed), pairs([(vm, "stays")]));
    bed.foundry(&["gc", vm, "--yes"]).run().exits(5).mentions("destroys it\n");
    started.signal("KILL");
    started.end();
    assert_eq!(listed(&bed), pairs([(vm, "when-named")]));
    bed.foundry(&["gc", vm, "--yes"]).run().exits(0);
    assert_eq!(bed.traces(), []);
}

#[test]
fn an_import_that_was_killed_goes_and_one_that_goes_on_stays() {
    let Some(bed) = Bed::with_tiny("gcimport") else { return };
    let name = format!("{}/new.qcow2", bed.image_pool());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut started = bed.foundry(&["image", "import", "-", "new.qcow2"]).reads_from(reader).start();
    let mut begun = vec![0; 4 << 20];
    std::fs::File::open(bed.tiny()).unwrap().read_exact(&mut begun).unwrap();
    // It reads on only when the first of it is on its way, behind the mark.
    writer.write_all(&begun).unwrap();
    until("the import begins", || {
        std::fs::read(bed.image("new.qcow2")).is_ok_and(|bytes| bytes.starts_with(b"foundry: "))
    });
    assert_eq!(listed(&bed), pairs([(&name, "stays")]));
    assert!(reason(&bed, &name).unwrap().ends_with(" imports it"));
    started.signal("KILL");
    started.end();
    drop(writer);
    assert_eq!(listed(&bed), pairs([(&name, "goes")]));
    bed.foundry(&["gc", &name, "--yes"]).run().exits(0);
    assert_eq!(bed.virsh().volumes(&bed.image_pool()), ["tiny.qcow2"]);
}

#[test]
fn an_attach_that_was_killed_is_finished_or_taken_back() {
    let Some(bed) = Bed::with_tiny("gcattach") else { return };
    let manifest = bed.manifest("web", 132);
    let vm = manifest.name.as_str();
    bed.creates(&manifest);
    let (volume, disk) = (format!("{vm}_data-vdb"), format!("{vm}/vdb"));
    for after in ["virDomainSetMetadata", "virStorageVolCreateXML", "virDomainAttachDeviceFlags"] {
        let mut started = bed.foundry(&["disk", "attach", vm, "1GiB", "-vv"]).start();
        assert!(started.until(|line| line.contains(after)));
        started.signal("KILL");
        started.end();
        let left = listed(&bed);
        println!("killed after {after}: {left:?}");
        if !left.is_empty() {
            assert_eq!(left, pairs([(&disk, "goes")]));
            bed.foundry(&["gc", &disk, "--yes"]).run().exits(0);
        }
        assert_eq!(listed(&bed), []);
        let recorded = bed.record(vm)["volumes"].to_string().contains(&volume);
        let described = bed.virsh().definition(vm).contains(&volume);
        assert_eq!((recorded, described), (bed.disk(&volume).exists(), recorded), "after {after}");
        if recorded {
            bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
            assert_eq!(bed.traces(), []);
            bed.creates(&manifest);
        }
    }
}

/// Ended when it goes out of scope.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// QEMU's own code with a disk open, of which no libvirt knows.
fn qemu_with(disk: &Path) -> Holder {
    let mut command = Command::new("qemu-io");
    command.args(["-f", "raw", "-c", "sleep 250000"]).arg(disk).stdin(Stdio::null()).stdout(Stdio::null());
    Holder(command.spawn().unwrap())
}

#[test]
fn what_nothing_names_goes_only_when_the_user_does() {
    let Some(bed) = Bed::with_tiny("gcorphan") else { return };
    let manifest = bed.manifest("web", 133);
    bed.creates(&manifest);
    let pool = bed.vm_pool();
    let (one, two) = (format!("{pool}/left"), format!("{pool}/also"));
    for name in ["left", "also"] {
        bed.virsh().does(&["vol-create-as", &pool, name, "1M"]);
    }
    let domain = bed.name("gone");
    let variables = format!("{NVRAM}/{domain}_VARS.fd");
    std::fs::write(&variables, "variables").unwrap();
    let wanted = pairs([(&two, "when-named"), (&one, "when-named"), (&variables, "when-named")]);
    assert_eq!(listed(&bed), wanted);
    let path = bed.disk("left");
    let holder = qemu_with(&path);
    until("QEMU locks it", || reason(&bed, &one).unwrap().ends_with("a program has it open and locked"));
    bed.foundry(&["gc", &one, "--yes"]).run().exits(5).mentions("cannot be cleaned up: ");
    drop(holder);
    assert_eq!(listed(&bed), wanted);

    let boot = format!("{pool}/{}_boot", manifest.name);
    let own = format!("{NVRAM}/{}_VARS.fd", manifest.name);
    let image = format!("{}/tiny.qcow2", bed.image_pool());
    for other in [&boot, &own, &image, &format!("{pool}/none"), &bed.name("web")] {
        let ran = bed.foundry(&["gc", &one, other, "--yes"]).run().exits(5).prints("");
        ran.mentions(" is not a leftover: ").mentions("\n  nothing was changed\n");
    }
    assert_eq!(listed(&bed), wanted);
    bed.foundry(&["gc", &one, &variables, "--yes"]).run().exits(0);
    assert_eq!(listed(&bed), pairs([(&two, "when-named")]));
    assert!(!path.exists() && !Path::new(&variables).exists() && Path::new(&own).exists());
    assert_eq!(bed.virsh().state(&manifest.name), "running");
}

/// libvirt keeps the variables of a domain that is undefined so.
#[test]
fn efi_variables_of_a_domain_that_was_undefined_are_listed() {
    let Some(bed) = Bed::with_tiny("gcnvram") else { return };
    let manifest = bed.manifest("web", 134);
    bed.creates(&manifest);
    let variables = format!("{NVRAM}/{}_VARS.fd", manifest.name);
    let pool = bed.vm_pool();
    bed.virsh().does(&["destroy", &manifest.name]);
    bed.virsh().does(&["undefine", &manifest.name, "--keep-nvram"]);
    let [boot, seed] = ["boot", "cloudinit"].map(|end| format!("{pool}/{}_{end}", manifest.name));
    let names = [boot.as_str(), &seed, &variables];
    assert_eq!(listed(&bed), pairs(names.map(|name| (name, "when-named"))));
    bed.foundry(&["gc", "--yes", &boot, &seed, &variables]).run().exits(0);
    assert_eq!(bed.traces(), [Trace::ConsoleLog(format!("{}-console.log", manifest.name))]);
}

/// The mechanics; that cloud-init is done, a guest with it tells (`tests/live/debian.rs`).
#[test]
fn a_seed_is_ejected_from_a_vm_that_runs_and_from_one_that_is_off() {
    let Some(bed) = Bed::with_tiny("gcseed") else { return };
    let manifest = bed.manifest("web", 135);
    let vm = manifest.name.as_str();
    let seed = format!("{vm}_cloudinit");
    for runs in [true, false] {
        bed.creates(&manifest);
        if !runs {
            bed.virsh().does(&["destroy", vm]);
        }
        let refused = bed.foundry(&["seed", "eject", vm]).run().exits(4);
        refused
            .has_code("FND-4303")
            .mentions(&format!("error: cloud-init in VM '{vm}' is not known to be done"));
        assert!(bed.disk(&seed).exists());
        let ran = bed.foundry(&["seed", "eject", vm, "--force"]).run().exits(0);
        ran.prints(&format!("Successfully ejected the seed of VM '{vm}'\n"));
        assert!(!bed.disk(&seed).exists());
        for view in [vec!["dumpxml", vm], vec!["dumpxml", "--inactive", vm]] {
            assert!(!bed.virsh().does(&view).contains("cdrom"), "{view:?}");
        }
        let roles: Vec<Value> =
            bed.record(vm)["volumes"].as_array().unwrap().iter().map(|v| v["role"].clone()).collect();
        assert_eq!(roles, ["boot"]);
        let again = bed.foundry(&["seed", "eject", vm]).run().exits(0);
        again.prints(&format!("The seed of VM '{vm}' is already ejected\n"));
        assert_eq!(listed(&bed), []);
        // It starts without it.
        bed.virsh().tries(&["destroy", vm]);
        bed.virsh().does(&["start", vm]);
        bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
        assert_eq!(bed.traces(), []);
    }
}

#[test]
fn an_ejection_that_was_killed_is_finished_by_the_next() {
    let Some(bed) = Bed::with_tiny("gceject") else { return };
    let manifest = bed.manifest("web", 136);
    let vm = manifest.name.as_str();
    let eject = ["seed", "eject", vm, "--force"];
    for after in ["virDomainDetachDeviceFlags", "virStorageVolDelete"] {
        bed.creates(&manifest);
        let mut started = bed.foundry(&[&eject[..], &["-vv"]].concat()).start();
        assert!(started.until(|line| line.contains(after)));
        started.signal("KILL");
        started.end();
        for (name, fate) in listed(&bed) {
            assert_eq!((name, fate.as_str()), (format!("{vm}/sda"), "stays"), "after {after}");
        }
        bed.foundry(&eject).run().exits(0);
        assert!(!bed.disk(&format!("{vm}_cloudinit")).exists());
        assert!(!bed.virsh().definition(vm).contains("cdrom"));
        bed.foundry(&["destroy", vm, "--force"]).run().exits(0);
        assert_eq!(bed.traces(), []);
    }
}
