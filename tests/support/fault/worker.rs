//! What goes on inside a private host: each command under its share of the faults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::commands::{self, Command, Start};
use super::host::{Daemon, Saved, does};
use super::judge::{Case, Class, judge};
use super::look::{DATA, Picture};
use super::proxy::{Fault, Proxy};
use super::run::{Foundry, Ran};
use super::table::{Verdict, chosen, tell};
use crate::support::http::{Reply, Server};

/// What a worker is to do.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    /// Which of how many.
    pub(crate) index: usize,
    pub(crate) of: usize,
    /// All calls, or a sample.
    pub(crate) full: bool,
    /// The command of that name, or all whose names contain this.
    pub(crate) only: String,
}

impl Share {
    fn commands(&self) -> Vec<Command> {
        let all = commands::all();
        let is_name = all.iter().any(|c| c.name == self.only);
        let is_meant = |name: &str| if is_name { name == self.only } else { name.contains(&self.only) };
        all.into_iter().filter(|c| is_meant(c.name)).collect()
    }
}

/// How long what outlives a killed foundry may hold its connection.
const PATIENCE: Duration = Duration::from_secs(15);

/// The host, with the states that commands begin from.
struct Bench {
    foundry: Foundry,
    proxy: Proxy,
    states: BTreeMap<Start, Saved>,
    /// The state in which the host surely is.
    is_at: Option<Start>,
    _server: Server,
}

/// Runs this worker's share and tells each verdict.
pub(crate) fn work(directory: &Path, share: &Share) {
    // Behind a socket of any other program foundry looks for another machine: this one stands in libvirtd's place.
    std::fs::write("/proc/self/comm", "libvirtd-proxy").unwrap();
    let mut bench = Bench::make(&directory.join("work"));
    for (index, command) in share.commands().into_iter().enumerate() {
        // A sample goes by commands, each of which costs two runs more; all runs are shared evenly.
        if share.full || index % share.of == share.index {
            bench.put_under(&command, share);
        }
    }
}

impl Bench {
    fn make(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        make_images(directory);
        let (server, renew) = server(directory);
        let foundry = Foundry { directory: directory.to_owned(), url: server.url("") };
        let proxy = Proxy::start(&directory.join("proxy.sock"), Daemon).unwrap();
        let mut bench = Self { foundry, proxy, states: BTreeMap::new(), is_at: None, _server: server };
        bench.save(Start::Bare, directory, |bench| bench.make_foreign());
        bench.save(Start::Images, directory, |bench| {
            bench.does(&["image", "import", "base.qcow2"], "");
            bench.does(&["image", "import", "spare.qcow2"], "");
            bench.does(&["image", "pull", "URL/old.qcow2"], "");
            renew.store(true, Ordering::SeqCst);
            bench.does(&["pool", "add", "foundry-test-f-spare", "dir", "/var/lib/libvirt/images/spare"], "");
            bench.does(&["create", "-"], &commands::neighbours());
        });
        bench.save(Start::Off, directory, |bench| {
            bench.does(&["create", "-"], &commands::vm());
            put_data_on_disks();
        });
        bench.save(Start::Snapshot, directory, |bench| {
            bench.does(&["snapshot", "create", commands::VMS[0], "one"], "");
        });
        bench.states[&Start::Off].put_back();
        bench.save(Start::Handmade, directory, |_| make_handmade());
        bench
    }

    fn save(&mut self, start: Start, directory: &Path, make: impl FnOnce(&Self)) {
        make(self);
        // With a guest that is killed later, libvirtd would first have to find that out.
        let connection = virt::connect::Connect::open(Some("qemu:///system")).unwrap();
        for domain in connection.list_all_domains(virt::sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE).unwrap() {
            domain.destroy().unwrap();
        }
        let saved: PathBuf = directory.join(format!("{start:?}"));
        self.states.insert(start, Saved::take(&saved));
    }

    fn does(&self, arguments: &[&str], input: &str) {
        let ran = self.foundry.run("qemu:///system", arguments, input, None);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
    }

    fn make_foreign(&self) {
        // libvirt makes them with the first thing that is in them.
        for autostart in ["qemu", "storage"] {
            std::fs::create_dir_all(format!("/etc/libvirt/{autostart}/autostart")).unwrap();
        }
        let disk = format!("{}/vms/{}.img", commands::STORAGE, commands::FOREIGN);
        std::fs::create_dir_all(format!("{}/vms", commands::STORAGE)).unwrap();
        std::fs::write(&disk, "somebody else's").unwrap();
        let connection = virt::connect::Connect::open(Some("qemu:///system")).unwrap();
        connection.define_domain_xml(&commands::foreign(&disk)).unwrap();
    }

    /// Makes the host what it is when the command begins.
    fn begin(&mut self, start: Start) {
        if self.is_at == Some(start) {
            return;
        }
        let saved = if start == Start::Running { Start::Off } else { start };
        self.states[&saved].put_back();
        if start == Start::Running {
            let mut virsh = Program::new("virsh");
            does(virsh.args(["-q", "-c", "qemu:///system", "start", commands::VMS[0]]));
        }
    }

    fn run(&mut self, command: &Command, planned: Option<(usize, Fault)>) -> (Ran, Vec<String>) {
        self.begin(command.start);
        self.is_at = None;
        self.proxy.arm(planned);
        let uri = if command.far { &self.proxy.far } else { &self.proxy.near };
        let ran = self.foundry.run(uri, &command.arguments, &command.input, Some(&self.proxy));
        (ran, self.proxy.ended(PATIENCE))
    }

    /// A command without a fault, and then with each of this worker's.
    fn put_under(&mut self, command: &Command, share: &Share) {
        self.begin(command.start);
        let before = Picture::take();
        let (ran, calls) = self.run(command, None);
        assert_eq!(ran.code, 0, "{}: {}", command.name, ran.stderr);
        let asked = Picture::take();
        assert_eq!(before.bystanders(), asked.bystanders(), "{}", command.name);
        let chosen = chosen(&calls, share.full).into_iter().enumerate();
        for (turn, (n, fault)) in chosen.filter(|(i, _)| !share.full || i % share.of == share.index) {
            let case = Case { command, fault, before: &before, asked: &asked };
            self.put_to_test(&case, n, turn);
        }
    }

    fn put_to_test(&mut self, case: &Case<'_>, n: usize, turn: usize) {
        let (ran, calls) = self.run(case.command, Some((n, case.fault)));
        let revived = revive();
        let verdict = judge(case, &self.foundry, &ran, turn);
        // Otherwise a proxy that does nothing would have everything survive.
        let struck = self.proxy.has_struck();
        // How many calls a wait for a guest takes is the guest's.
        let ended_before = calls.len() < n;
        let (class, why) = if struck || ended_before {
            verdict
        } else {
            (Class::Leaked, "the fault did not come".to_owned())
        };
        // What was cleaned at once is as it was.
        let is_there = class == Class::AtOnce && !revived && Picture::take() == *case.before;
        self.is_at = is_there.then_some(case.command.start);
        let note = if class < Class::Leaked { String::new() } else { bad(&why, &ran) };
        let procedure = calls.get(n - 1).cloned().unwrap_or_default();
        let (command, fault) = (case.command.name.to_owned(), case.fault.name().to_owned());
        tell(&Verdict { command, fault, n, procedure, class, note, revived });
    }
}

fn make_handmade() {
    let disk = format!("{}/vms/{}_boot", commands::STORAGE, commands::VMS[1]);
    does(Program::new("qemu-img").args(["create", "-q", "-f", "qcow2", &disk, "1G"]));
    let connection = virt::connect::Connect::open(Some("qemu:///system")).unwrap();
    connection.define_domain_xml(&commands::handmade(&disk)).unwrap();
}

/// On each disk of the VM, as its guest would have: no command takes a disk's content.
fn put_data_on_disks() {
    let mut virsh = Program::new("virsh");
    does(virsh.args(["-q", "-c", "qemu:///system", "destroy", commands::VMS[0]]));
    let mut count = 0;
    for disk in std::fs::read_dir(format!("{}/vms", commands::STORAGE)).unwrap() {
        let path = disk.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if commands::is_vms(name, commands::VMS[0]) && !name.ends_with("_cloudinit") {
            let write = format!("write -P {DATA:#x} 0 64k");
            does(Program::new("qemu-io").args(["-f", "qcow2", "-c", &write]).arg(&path));
            count += 1;
        }
    }
    assert!(count > 1, "{count} disks");
}

fn bad(why: &str, ran: &Ran) -> String {
    format!("{why}\n  code {}, said:\n{}", ran.code, ran.stderr)
}

/// Serves the images; `old.qcow2` is another one once the flag is up.
fn server(directory: &Path) -> (Server, Arc<AtomicBool>) {
    let [base, new] =
        ["base", "new"].map(|name| std::fs::read(directory.join(format!("{name}.qcow2"))).unwrap());
    let is_newer = Arc::new(AtomicBool::new(false));
    let newer = Arc::clone(&is_newer);
    let server = Server::start(move |request| {
        if request.path.ends_with("/old.qcow2") && !newer.load(Ordering::SeqCst) {
            Reply::file(request, &base, "v1")
        } else {
            Reply::file(request, &new, "v2")
        }
    });
    (server, is_newer)
}

/// A daemon that does not answer any more is started anew. That is its own bug, and foundry's to avoid.
fn revive() -> bool {
    let hangs = !Daemon.answers();
    if hangs {
        Daemon.kill().unwrap();
        Daemon.start().unwrap();
    }
    hangs
}

/// Small images whose bytes are no zeros, so that they are sent.
fn make_images(directory: &Path) {
    for (name, length, seed) in [("base", 192 << 10, 7_u64), ("spare", 192 << 10, 11), ("new", 3 << 20, 13)] {
        let raw = directory.join(format!("{name}.bytes"));
        let mut state = seed;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            // Numerical Recipes' generator: any bytes will do.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(length)
        .collect();
        std::fs::write(&raw, bytes).unwrap();
        let qcow2 = directory.join(format!("{name}.qcow2"));
        does(Program::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&qcow2));
        std::fs::remove_file(raw).unwrap();
    }
}
