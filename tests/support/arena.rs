//! A private host as a whole, looked at before and after something happens on it; and chance by a seed.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::support::deadline::{ChildInTime as _, of_a_whole_test};
use crate::support::live::{Bed, Foundry, Manifest, Ran, environment, program};
use crate::support::{again, private_host};

const INSIDE: &str = "FOUNDRY_ARENA_INSIDE";

/// Runs a test in a host of its own: `act` there, where the test starts itself anew. `module` is its `module_path!()`.
pub(crate) fn inside(module: &str, test: &str, act: impl FnOnce(&Arena)) {
    if std::env::var_os(INSIDE).is_some() {
        return act(&Arena::new(Bed::new("arena").unwrap()));
    }
    if environment("FOUNDRY_TEST_URI").is_none() {
        return;
    }
    let directory = private_host::directory("foundry-test-a").unwrap();
    // A shell has what it runs in the background ignore SIGINT, and so would every foundry in there.
    let mut inside = private_host::command(directory.path(), Path::new("env"))
        .arg("--default-signal")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &again::exact(module, test), "--nocapture"])
        .env(INSIDE, "1")
        .env("FOUNDRY_TEST_URI", "qemu:///system")
        .env("FOUNDRY_TEST_BRIDGE", "br0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed, it ends all that is inside.
    let _held = inside.stdin.take();
    let output = BufReader::new(inside.stdout.take().unwrap());
    let told = thread::spawn(move || {
        // Not to be taken for a line of this program's own.
        let tell = |line: &String| println!("inside: {line}");
        output.lines().map_while(Result::ok).inspect(tell).any(|line| again::has_passed(&line))
    });
    assert!(inside.wait_within(of_a_whole_test()).unwrap().success(), "see above");
    assert!(told.join().unwrap(), "{test} did not run inside");
}

/// Whether all is to be tried, as `scripts/test.sh --full` does, or a sample.
pub(crate) fn is_full() -> bool {
    std::env::var("FOUNDRY_TEST_FULL").as_deref() == Ok("1")
}

/// Numbers that are the same for the same seed (splitmix64).
pub(crate) struct Chance(Cell<u64>);

impl Chance {
    /// By `FOUNDRY_TEST_SEED`, which is printed.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("FOUNDRY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(4);
        println!("FOUNDRY_TEST_SEED={seed}");
        Self(Cell::new(seed))
    }

    pub(crate) fn below(&self, limit: u64) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A host with a VM that nobody is to touch.
pub(crate) struct Arena {
    pub(crate) bed: Bed,
    pub(crate) chance: Chance,
    rounds: Cell<usize>,
}

impl Arena {
    /// Makes the bystander, and with it the pools.
    fn new(bed: Bed) -> Self {
        let arena = Self { bed, chance: Chance::seeded(), rounds: Cell::new(0) };
        arena.import_blank("blank.qcow2");
        // Its name begins as those of others, and so do its volumes'.
        arena.bed.creates(&arena.vm("web-1", 90).boot_disk("{sizeGB: 1, image: blank.qcow2}"));
        arena
    }

    /// Brings an image with nothing in it into the pool of images.
    pub(crate) fn import_blank(&self, name: &str) {
        let file = self.bed.home().join(name).display().to_string();
        program("qemu-img", &["create", "-q", "-f", "qcow2", &file, "1M"]).exits(0);
        self.bed.import(&file, name);
    }

    /// A VM that boots nothing.
    pub(crate) fn vm(&self, end: &str, octet: u8) -> Manifest {
        let blank = self.bed.manifest(end, octet).boot_disk("{sizeGB: 1, empty: true}");
        blank.spec("firmware: {type: bios}").memory("0.125")
    }

    /// Plays one round: what it leaves on the host must be what was there before.
    pub(crate) fn round(&self, title: &str, play: impl FnOnce(&Self)) {
        let before = self.host();
        self.rounds.set(self.rounds.get() + 1);
        play(self);
        self.is_as(&before, title);
    }

    /// Asserts that the host is what it was.
    #[track_caller]
    pub(crate) fn is_as(&self, before: &BTreeSet<String>, title: impl std::fmt::Display) {
        let after = self.host();
        let gone: Vec<_> = before.difference(&after).collect();
        let left: Vec<_> = after.difference(before).collect();
        assert!(gone.is_empty() && left.is_empty(), "{title}: gone {gone:#?}, left {left:#?}");
    }

    /// Which round it is, for names of its own.
    pub(crate) fn number(&self) -> usize {
        self.rounds.get()
    }

    /// Runs all of them at once.
    pub(crate) fn at_once(&self, commands: Vec<Foundry>) -> Vec<Ran> {
        let delays: Vec<_> = commands.iter().map(|_| Duration::from_millis(self.chance.below(40))).collect();
        let threads: Vec<_> = commands
            .into_iter()
            .zip(delays)
            .map(|(command, delay)| {
                thread::spawn(move || {
                    thread::sleep(delay);
                    command.run()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }

    /// Destroys VMs, which must be there.
    #[track_caller]
    pub(crate) fn destroy<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            self.bed.foundry(&["destroy", name, "--force"]).run().exits(0);
        }
    }

    /// The VMs of foundry's on the host, the bystander apart.
    pub(crate) fn vms(&self) -> Vec<String> {
        let listed = self.bed.foundry(&["list", "--all", "-o", "name"]).run().exits(0).stdout;
        let bystander = self.bed.name("web-1");
        listed.lines().filter(|name| *name != bystander).map(str::to_owned).collect()
    }

    /// All that is on the host, a line each: definitions, pools, files with size and time, interfaces.
    pub(crate) fn host(&self) -> BTreeSet<String> {
        let virsh = self.bed.virsh();
        let mut found = BTreeSet::new();
        for domain in names(&virsh.does(&["list", "--all", "--name"])) {
            found.insert(format!("domain {}", virsh.does(&["dumpxml", "--inactive", &domain])));
        }
        for pool in names(&virsh.does(&["pool-list", "--name", "--all"])) {
            found.insert(format!("pool {pool}: {}", virsh.does(&["pool-info", &pool]).contains("running")));
        }
        for directory in ["/var/lib/libvirt/images", "/var/lib/libvirt/qemu/nvram"] {
            files(Path::new(directory), &mut found);
        }
        found.extend(files_named("/var/log/libvirt/qemu", "-console.log"));
        found.extend(files_named("/sys/class/net", ""));
        found
    }
}

fn names(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn files(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
        if meta.is_dir() {
            found.insert(format!("directory {}", path.display()));
            files(&path, found);
        } else {
            found.insert(format!("file {} {} {}", path.display(), meta.size(), meta.mtime()));
        }
    }
}

fn files_named(directory: &str, end: &str) -> Vec<String> {
    let listed = program("ls", &[directory]).stdout;
    listed.lines().filter(|name| name.ends_with(end)).map(|name| format!("{directory}/{name}")).collect()
}
