//! Domains of other tools beside foundry's, in its pools and on its images: listed, and left as they are.
//!
//! The descriptions in tests/data/foreign have the shapes that those tools write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::live::{Bed, files_in, program};

/// The tools, and what ends the name of each one's domain: all begin as foundry's own VM is called.
const TOOLS: [(&str, &str); 8] = [
    ("virt-install", "web_1"),
    ("virt-manager", "web-win"),
    ("vagrant-libvirt", "web_default"),
    ("terraform", "web2"),
    ("boxes", "web_boxes"),
    ("kcli", "web-kcli"),
    ("cockpit", "web_run"),
    ("odd", "web_odd"),
];
/// That one is not defined and only runs.
const TRANSIENT: &str = "cockpit";
/// An address whose MAC address foundry derives (design document) and virt-install's domain has.
const OCTET: u8 = 57;
const MAC: &str = "be:ef:0a:4d:00:39";

struct Foreign {
    bed: Bed,
    own: PathBuf,
}

impl Foreign {
    fn new() -> Option<Self> {
        let bed = Bed::with_tiny("foreign")?;
        let web = bed.manifest("web", 56);
        // Makes the pools, too.
        bed.creates(&web);
        bed.virsh().does(&["destroy", &web.name]);
        let own = bed.storage().join("own");
        bed.virsh().does(&["pool-define-as", &bed.name("own"), "dir", "--target", own.to_str().unwrap()]);
        bed.virsh().does(&["pool-build", &bed.name("own")]);
        bed.virsh().does(&["pool-start", &bed.name("own")]);
        let foreign = Self { bed, own };
        foreign.make_files();
        for (tool, end) in TOOLS {
            let command = if tool == TRANSIENT { "create" } else { "define" };
            foreign.bed.virsh().defines(command, &foreign.xml(tool, end));
        }
        for pool in [foreign.bed.vm_pool(), foreign.bed.image_pool(), foreign.bed.name("own")] {
            foreign.bed.virsh().does(&["pool-refresh", &pool]);
        }
        Some(foreign)
    }

    fn name(&self, tool: &str) -> String {
        self.bed.name(TOOLS.iter().find(|(t, _)| *t == tool).unwrap().1)
    }

    /// What they are made of: in their own pool, in foundry's of VMs and in foundry's of images.
    fn make_files(&self) {
        let vm = |tool: &str, end: &str| self.bed.disk(&format!("{}{end}", self.name(tool)));
        let own = |tool: &str, end: &str| self.own.join(format!("{}{end}", self.name(tool)));
        let image = |tool: &str, end: &str| self.bed.image(&format!("{}{end}", self.name(tool)));
        for path in [
            vm("virt-install", ".qcow2"),
            vm("terraform", ".qcow2"),
            vm("boxes", "_boot"),
            vm("cockpit", ".qcow2"),
            own("virt-manager", ".qcow2"),
            image("vagrant-libvirt", "-box.img"),
        ] {
            qcow2(&path, None);
        }
        qcow2(&vm("virt-manager", ".snap1"), Some(&own("virt-manager", ".qcow2")));
        qcow2(&own("vagrant-libvirt", ".img"), Some(&image("vagrant-libvirt", "-box.img")));
        for path in [
            own("virt-install", "-cloudinit.iso"),
            own("virt-manager", ".vfd"),
            own("terraform", "-cloudinit.iso"),
            own("kcli", "_0.img"),
            own("kcli", ".ISO"),
            own("odd", ".ign"),
            image("kcli", "-vmlinuz"),
        ] {
            std::fs::write(&path, format!("{} is not foundry's\n", path.display())).unwrap();
        }
    }

    fn xml(&self, tool: &str, end: &str) -> String {
        let file = format!("{}/tests/data/foreign/{tool}.xml", env!("CARGO_MANIFEST_DIR"));
        let mut text = std::fs::read_to_string(file).unwrap();
        for (word, value) in [
            ("@NAME@", self.bed.name(end)),
            ("@OWN@", self.own.display().to_string()),
            ("@VMS@", self.bed.storage().join("vms").display().to_string()),
            ("@IMAGES@", self.bed.storage().join("images").display().to_string()),
            ("@VMPOOL@", self.bed.vm_pool()),
            ("@BRIDGE@", self.bed.bridge().to_owned()),
            ("@MAC@", MAC.to_owned()),
        ] {
            text = text.replace(word, &value);
        }
        text
    }

    /// Every octet of what is theirs.
    fn all(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        for (_, end) in TOOLS {
            let name = self.bed.name(end);
            all.insert(name.clone(), self.bed.virsh().definition(&name).into_bytes());
        }
        let vms = self.bed.storage().join("vms");
        for directory in [&self.own, &vms, &self.bed.storage().join("images")] {
            for file in files_in(directory, &self.bed.name("")) {
                let path = directory.join(&file);
                // The running one writes to its own, and foundry's VM is foundry's.
                if !file.starts_with(&self.bed.name("web_boot"))
                    && !file.starts_with(&self.bed.name("web_cloudinit"))
                {
                    all.insert(path.display().to_string(), std::fs::read(&path).unwrap());
                }
            }
        }
        all
    }
}

fn qcow2(path: &Path, backing: Option<&Path>) {
    let path = path.to_str().unwrap();
    match backing.and_then(Path::to_str) {
        None => program("qemu-img", &["create", "-q", "-f", "qcow2", path, "64M"]),
        Some(below) => {
            program("qemu-img", &["create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", path])
        }
    }
    .exits(0);
}

#[test]
fn domains_of_other_tools_are_listed_and_left_alone() {
    let Some(foreign) = Foreign::new() else { return };
    let bed = &foreign.bed;
    let before = foreign.all();
    is_listed(&foreign);
    for (_, end) in TOOLS {
        refuses_to_touch(bed, &bed.name(end));
    }
    // One that is called as foundry calls disks, a volume, and one that only runs.
    for (tool, disk) in [("boxes", "vda"), ("terraform", "sda"), (TRANSIENT, "vda")] {
        refuses_its_disks(bed, &foreign.name(tool), disk);
    }
    keeps_what_they_lie_on(&foreign);
    gives_no_name_nor_address_twice(&foreign);
    bed.foundry(&["storage", "status"]).run().exits(0);
    is_no_garbage(&foreign);
    bed.foundry(&["image", "prune", "--yes"]).run().exits(0);
    bed.foundry(&["destroy", &bed.name("web"), "--yes"]).run().exits(0);
    let after = foreign.all();
    assert!(before.keys().eq(after.keys()), "{:?}\n{:?}", before.keys(), after.keys());
    for (what, content) in &before {
        assert!(after[what] == *content, "{what} is as it was");
    }
}

fn is_listed(foreign: &Foreign) {
    let list = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let text = foreign.bed.foundry(&[&["list", "-o", "json"], arguments].concat()).run().exits(0).stdout;
        serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap()
    };
    let name = |vm: &serde_json::Value| vm["metadata"]["name"].as_str().unwrap().to_owned();
    let running: Vec<String> = list(&[]).iter().map(name).collect();
    assert!(
        running.contains(&foreign.name(TRANSIENT)) && !running.contains(&foreign.name("kcli")),
        "{running:?}"
    );
    let all = list(&["--all"]);
    for (_, end) in TOOLS {
        let seen = all.iter().find(|vm| name(vm) == foreign.bed.name(end)).unwrap();
        assert_eq!(seen["status"]["managed"], false, "{seen}");
        assert_eq!(foreign.bed.get(&foreign.bed.name(end))["status"]["managed"], false, "{end}");
    }
}

#[track_caller]
fn refuses_to_touch(bed: &Bed, name: &str) {
    bed.foundry(&["destroy", name, "--yes"])
        .run()
        .exits(4)
        .mentions(&format!("domain '{name}' was not made by foundry"))
        .mentions("nothing was changed");
}

#[track_caller]
fn refuses_its_disks(bed: &Bed, name: &str, disk: &str) {
    for arguments in [
        &["disk", "attach", name, "1G"][..],
        &["disk", "detach", name, disk, "--yes"],
        &["disk", "resize", name, disk, "2G"],
    ] {
        bed.foundry(arguments).run().exits(4).mentions("was not made by foundry");
    }
}

/// A box below a disk of vagrant's, and a kernel: no disk of anybody's, and needed.
fn keeps_what_they_lie_on(foreign: &Foreign) {
    for (tool, end) in [("vagrant-libvirt", "-box.img"), ("kcli", "-vmlinuz")] {
        let (name, vm) = (format!("{}{end}", foreign.name(tool)), foreign.name(tool));
        foreign.bed.foundry(&["image", "delete", &name, "--yes"]).run().exits(5).mentions(&vm);
    }
}

fn is_no_garbage(foreign: &Foreign) {
    let ran = foreign.bed.foundry(&["gc", "--yes"]).run().exits(0);
    for (_, end) in TOOLS {
        let name = foreign.bed.name(end);
        assert!(!ran.stdout.contains(&name) && !ran.stderr.contains(&name), "{ran:#?}");
    }
}

fn gives_no_name_nor_address_twice(foreign: &Foreign) {
    let bed = &foreign.bed;
    let taken = bed.manifest("web_odd", 58);
    bed.foundry(&["create", "-"]).reads(&taken).run().exits(4).mentions(&taken.name);
    let same_mac = bed.manifest("free", OCTET);
    bed.foundry(&["create", "-"])
        .reads(&same_mac)
        .run()
        .exits(4)
        .mentions(MAC)
        .mentions(&foreign.name("virt-install"));
    // The volume that boxes has is called as this one's would be.
    let same_disk = bed.manifest("web_boxes", 58);
    bed.foundry(&["create", "-"]).reads(&same_disk).run().exits(5).mentions(&same_disk.name);
}
