//! Where secrets are while foundry works on a real libvirtd and afterwards: in the seed, and nowhere else.
//!
//! Each secret is a marker that no other run has, and every place that foundry, libvirtd or QEMU writes is searched
//! for it. No guest boots here to its end.

mod search;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::live;
use crate::support::live::{Bed, Manifest, Ran, Started};
use search::{Markers, open_files, process_texts};

/// Where foundry, libvirtd and QEMU write, beside pools and temporary files.
const PLACES: [&str; 7] = [
    "/var/log/libvirt",
    "/run/libvirt",
    "/run/foundry-libvirt",
    "/etc/libvirt",
    "/var/lib/libvirt/qemu",
    "/var/cache/libvirt",
    "/dev/shm",
];

/// A bed, its markers, and directories of its own for everything that foundry may write by itself.
struct Scene {
    bed: Bed,
    markers: Markers,
}

impl Scene {
    fn new(id: &str) -> Option<Self> {
        let scene = Self { bed: Bed::with_tiny(id)?, markers: Markers::new() };
        std::fs::create_dir(scene.own("tmp")).unwrap();
        std::fs::write(scene.stamp(), "").unwrap();
        Some(scene)
    }

    fn own(&self, name: &str) -> PathBuf {
        self.bed.home().join(name)
    }

    /// A file that is older than everything that holds a marker.
    fn stamp(&self) -> PathBuf {
        self.own("stamp")
    }

    /// foundry, with its temporary files where they are seen.
    fn foundry(&self, arguments: &[&str]) -> live::Foundry {
        self.bed.foundry(arguments).env("TMPDIR", self.own("tmp").to_str().unwrap())
    }

    /// A VM whose user-data foundry makes, or one with its own.
    fn manifest(&self, octet: u8, is_raw: bool) -> Manifest {
        let Markers { hash, plain, private } = &self.markers;
        let manifest = self.bed.manifest("web", octet).disk("vdb", 1);
        let lines = if is_raw {
            format!(
                "rawUserData: |\n  #!/bin/sh\n  echo root:{plain} | chpasswd\n  echo '{private} {hash}' >/root/key\n"
            )
        } else {
            format!(
                "passwordHash: {hash}\nuserData:\n  password: {plain}\n  write_files:\n    - path: /root/key\n      \
                 content: |\n        -----BEGIN OPENSSH PRIVATE KEY-----\n        {private}\n"
            )
        };
        manifest.cloud_init(&lines)
    }

    fn seed(&self, vm: &str) -> PathBuf {
        self.bed.disk(&format!("{vm}_cloudinit"))
    }

    /// What a program said must hold no marker.
    #[track_caller]
    fn silent(&self, ran: Ran) -> Ran {
        self.markers.none_in(&format!("{ran:?}"), "what a command said");
        ran
    }

    /// Every place on the machine that outlasts a process.
    #[track_caller]
    fn search(&self, holders: &[PathBuf]) {
        let (storage, temporary) = (self.bed.storage(), std::env::temp_dir());
        let mut places: Vec<&Path> = PLACES.iter().map(Path::new).collect();
        places.extend([storage.as_path(), self.bed.home(), &temporary]);
        places.retain(|place| *place == temporary || !place.starts_with(&temporary));
        assert_eq!(self.markers.files(&self.stamp(), &places), holders);
    }

    /// What everybody may ask libvirt for: a read-only connection.
    #[track_caller]
    fn search_libvirt(&self, vm: &str) {
        let pool = self.bed.vm_pool();
        let asks: &[&[&str]] = &[
            &["dumpxml", vm],
            &["dumpxml", vm, "--inactive"],
            &["domstats", vm],
            &["pool-dumpxml", &pool],
            &["vol-dumpxml", &format!("{vm}_cloudinit"), &pool],
            &["vol-dumpxml", &format!("{vm}_boot"), &pool],
        ];
        let uri = self.bed.uri();
        for ask in asks {
            let all = [&["-r", "-q", "-c", &uri], *ask].concat();
            let said = live::program("virsh", &all).exits(0);
            assert!(said.stdout.len() > 20, "{said:#?}");
            self.markers.none_in(&said.stdout, &format!("virsh {ask:?}"));
        }
    }

    /// Holds foundry at each call of libvirt's and looks at its process, its files and its children's.
    fn watch(&self, mut started: Started, mut also: impl FnMut()) -> Ran {
        while started.until_call(1) {
            started.signal("STOP");
            for (what, text) in process_texts(started.pid()).into_iter().chain(search::qemu_texts()) {
                self.markers.none_in(&text, &what);
            }
            for (what, bytes) in open_files(started.pid(), &self.bed.storage()) {
                self.markers.none_in_bytes(&bytes, &what);
            }
            assert_eq!(self.markers.files(&self.stamp(), &[self.bed.home()]), Vec::<PathBuf>::new());
            also();
            started.signal("CONT");
        }
        started.end()
    }
}

/// Everything that can be done with a VM, and where its secrets are meanwhile.
fn only_the_seed_holds_them(id: &str, octet: u8, is_raw: bool) {
    let Some(scene) = Scene::new(id) else { return };
    let manifest = scene.manifest(octet, is_raw);
    let vm = manifest.name.as_str();
    for arguments in [
        &["create", "-", "--dry-run", "-vv"][..],
        &["create", "-", "--dry-run", "-o", "xml"],
        &["render", "-"],
        &["render", "-", "--what=volumes"],
        &["render", "-", "--what=meta-data"],
        &["render", "-", "--what=network-config"],
    ] {
        scene.silent(scene.foundry(arguments).reads(&manifest).run().exits(0));
    }
    let shown = scene.foundry(&["render", "-", "--what=user-data"]).reads(&manifest).run().exits(0);
    assert!(scene.markers.all_in(shown.stdout.as_bytes()), "to be shown on purpose: {shown:#?}");

    let started = scene.foundry(&["create", "-", "-vv"]).reads(&manifest).start();
    scene.silent(scene.watch(started, || {}).exits(0));
    assert!(scene.markers.all_in(&std::fs::read(scene.seed(vm)).unwrap()));
    let mode = std::fs::metadata(scene.seed(vm)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    scene.search_libvirt(vm);
    scene.search(&[scene.seed(vm)]);

    for arguments in [
        &["get", vm, "-o", "yaml"][..],
        &["get", vm, "-o", "json"],
        &["get", vm, "-vv"],
        &["vm", "info", vm],
        &["list", "--all", "-o", "json"],
        &["list", "--all", "-o", "yaml"],
        &["list", "-o", "wide"],
        &["disk", "list", vm],
        &["disk", "resize", vm, "vdb", "+1GiB", "-vv"],
        &["disk", "attach", vm, "1GiB", "-vv"],
        &["image", "info", "tiny.qcow2"],
        &["pool", "info", &scene.bed.vm_pool()],
        &["storage", "status", "-o", "wide"],
    ] {
        scene.silent(scene.foundry(arguments).run().exits(0));
    }
    scene.silent(scene.foundry(&["create", "-", "-vv"]).reads(&manifest).run().exits(4));
    let whole = scene.foundry(&["get", vm, "-o", "yaml", "--with-secrets"]).run().exits(0);
    assert!(scene.markers.all_in(whole.stdout.as_bytes()), "asked for: {whole:#?}");
    // Their changes wrote the record anew.
    scene.search_libvirt(vm);
    scene.search(&[scene.seed(vm)]);
    scene.silent(scene.foundry(&["destroy", vm, "--force", "-vv"]).run().exits(0));
    scene.search(&[]);
}

#[test]
fn secrets_of_a_merged_user_data_are_in_the_seed_only() {
    only_the_seed_holds_them("secrets", 94, false);
}

#[test]
fn secrets_of_a_raw_user_data_are_in_the_seed_only() {
    only_the_seed_holds_them("rawsecrets", 95, true);
}

/// A creation that fails behind its seed takes the seed along, and one that is killed leaves nothing beside it.
#[test]
fn broken_creations_leave_no_secret_beside_the_seed() {
    let Some(scene) = Scene::new("halfsecrets") else { return };
    let manifest = scene.manifest(96, false);
    let vm = manifest.name.as_str();
    // A file is in the way of the data disk, which the preflight could not see.
    let started = scene.foundry(&["create", "-", "-vv"]).reads(&manifest).start();
    let in_the_way = scene.bed.disk(&format!("{vm}_data-vdb"));
    let ran = scene.watch(started, || {
        if !scene.bed.virsh().names("list", vm).is_empty() && !in_the_way.exists() {
            std::fs::write(&in_the_way, "somebody's").unwrap();
        }
    });
    scene.silent(ran.exits(5));
    scene.search(&[]);
    std::fs::remove_file(&in_the_way).unwrap();

    let undisturbed = scene.foundry(&["create", "-", "-vv"]).reads(&manifest).run().exits(0);
    scene.foundry(&["destroy", vm, "--force"]).run().exits(0);
    let filled = undisturbed.calls.iter().position(|call| call == "virDomainSetMetadata").unwrap();
    for (signal, n) in [("KILL", filled + 1), ("KILL", filled), ("INT", filled)] {
        let mut started = scene.foundry(&["create", "-", "-vv"]).reads(&manifest).start();
        assert!(started.until_call(n));
        started.signal(signal);
        scene.silent(started.end());
        let seed = Some(scene.seed(vm)).filter(|seed| seed.exists());
        scene.search(&seed.into_iter().collect::<Vec<_>>());
        let there = !scene.bed.virsh().names("list", vm).is_empty();
        assert!(there || signal == "INT");
        if there {
            scene.search_libvirt(vm);
            scene.silent(scene.foundry(&["get", vm, "-o", "yaml"]).run().exits(0));
            scene.silent(scene.foundry(&["destroy", vm, "--force", "-vv"]).run().exits(0));
        }
        scene.search(&[]);
    }
}
