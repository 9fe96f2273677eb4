//! Signals and a terminal that closes, at points by chance of every command that changes a host: what was begun is
//! undone or finished, the exit code says which signal it was, and nothing is left that is not named.
//!
//! It runs on a libvirtd of its own. A plain run interrupts each command once; `FOUNDRY_TEST_FULL=1`, as
//! `scripts/test.sh --full` sets it, many times. The points follow from a seed that is printed and that
//! `FOUNDRY_TEST_SEED` sets. What a signal hits depends on the machine's load too; what must hold does not.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::arena::{Arena, inside, is_full};
use crate::support::deadline::{ChildInTime as _, CommandInTime as _, within};
use crate::support::signals::terminal::Terminal;
use crate::support::signals::{Case, cases};

/// What a shell calls them, and the exit code that each has.
const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

#[test]
fn a_signal_anywhere_leaves_nothing() {
    inside(module_path!(), "a_signal_anywhere_leaves_nothing", |arena| {
        let only = std::env::var("FOUNDRY_SIGNALS_ONLY").unwrap_or_default();
        let cases = cases(arena);
        for (index, case) in cases.iter().enumerate().filter(|(_, case)| case.name.contains(&only)) {
            let rounds = if is_full() { 30 } else { 1 };
            let (begun, mut stopped) = (Instant::now(), 0);
            for round in 0..rounds {
                let (signal, code) = SIGNALS[(index + round) % SIGNALS.len()];
                let n = 1 + usize::try_from(arena.chance.below(case.calls)).unwrap();
                let title = format!("{}, SIG{signal} after call {n}", case.name);
                arena.round(&title, |arena| {
                    stopped += usize::from(interrupted(arena, case, &title, (signal, code), n));
                });
            }
            println!("{}: {stopped} of {rounds} stopped, {:.1} s", case.name, begun.elapsed().as_secs_f32());
        }
    });
}

/// Whether the signal came in time to stop the command.
fn interrupted(arena: &Arena, case: &Case, title: &str, (signal, code): (&str, i32), n: usize) -> bool {
    (case.prepare)(arena);
    let mut started = case.command(arena, &["-vv"]).start();
    // One that waits for ever is waited for at its last call.
    if case.waits {
        assert!(started.until(|line| line.contains(case.last)), "{title}: {:#?}", started.end());
        // Mostly it waits by then; if not, the signal comes before.
        std::thread::sleep(Duration::from_millis(300));
    } else {
        started.until_call(n);
        std::thread::sleep(Duration::from_millis(arena.chance.below(8)));
    }
    started.signal(signal);
    let begun = Instant::now();
    let ran = started.end();
    assert!(ran.code == code || (ran.code == 0 && !case.waits), "{title}: {ran:#?}");
    // As long as it only looks, a signal ends it at once and without a word.
    let speaks = ran.code != 0 && !ran.stderr.is_empty();
    assert_eq!(ran.stderr.matches("error: ").count(), usize::from(speaks), "{title}: {ran:#?}");
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("left behind"), "{title}: {ran:#?}");
    if case.waits {
        // What it waits for never comes.
        assert!(begun.elapsed() < Duration::from_secs(120), "{title}: {:?}", begun.elapsed());
    }
    (case.settle)(arena, &ran);
    ran.code != 0
}

/// The user closes the window: nobody reads any more, SIGHUP comes more than once, and all is undone.
#[test]
fn a_terminal_that_closes_is_one_signal() {
    inside(module_path!(), "a_terminal_that_closes_is_one_signal", |arena| {
        let manifest = arena.vm("web", 10).disk("vdb", 1);
        let file = arena.bed.home().join("web.yaml");
        std::fs::write(&file, manifest.to_string()).unwrap();
        let vm = manifest.name.as_str();
        let mut undone = 0;
        for n in 0..if is_full() { 60 } else { 6 } {
            let point = if n == 0 { 22 } else { 1 + arena.chance.below(60) };
            arena.round(&format!("closed after call {point}"), |arena| {
                let arguments = ["create", file.to_str().unwrap(), "-vv"];
                let mut terminal = Terminal::run(arena.bed.foundry(&arguments).into_command());
                let ended = !terminal.until_call(point);
                match terminal.close() {
                    129 => undone += 1,
                    0 => arena.destroy([vm]),
                    code => panic!("closed after call {point} (ended: {ended}): {code}"),
                }
            });
        }
        assert!(undone > 0, "the terminal was always closed too late");
    });
}

/// `foundry create … 2>&1 | head -1`: nobody asked to stop.
#[test]
fn a_reader_that_goes_stops_nothing() {
    inside(module_path!(), "a_reader_that_goes_stops_nothing", |arena| {
        let manifest = arena.vm("web", 10).disk("vdb", 1);
        arena.round("head -1", |arena| {
            let file = arena.bed.home().join("web.yaml");
            std::fs::write(&file, manifest.to_string()).unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            let mut command = arena.bed.foundry(&["create", file.to_str().unwrap()]).into_command();
            let mut child = command
                .stdin(Stdio::null())
                .stdout(writer.try_clone().unwrap())
                .stderr(writer)
                .spawn()
                .unwrap();
            drop(command);
            let mut first = String::new();
            within("its first line", || BufReader::with_capacity(1, reader).read_line(&mut first)).unwrap();
            assert_eq!(child.wait_in_time().unwrap().code(), Some(0), "{first}");
            assert_eq!(arena.bed.get(&manifest.name)["status"]["phase"], "Running");
            arena.destroy([manifest.name.as_str()]);
        });
    });
}

/// A libvirtd that does not answer: the second Ctrl-C says what may be left and which command removes it, and that
/// does when libvirtd goes on. A third one does not wait at all.
#[test]
fn a_second_signal_ends_what_hangs() {
    inside(module_path!(), "a_second_signal_ends_what_hangs", |arena| {
        // Disks enough that it still makes them when libvirtd is stopped.
        let disks: Vec<String> = ('b'..='k').map(|letter| format!("vd{letter}")).collect();
        for signals in [2, 3] {
            let manifest = disks.iter().fold(arena.vm("web", 10), |vm, disk| vm.disk(disk, 1));
            let vm = &manifest.name;
            arena.round(&format!("{signals} signals"), |arena| {
                let mut started = arena.bed.foundry(&["create", "-", "-vv"]).reads(&manifest).start();
                assert!(started.until(|line| line.contains("virStorageVolCreateXML")));
                let hung = Hung::new();
                started.signal("INT");
                // Two in a row may be one to the process.
                assert!(started.until(|line| line.contains("Interrupt again to stop that, too")));
                for _ in 1..signals {
                    started.signal("INT");
                }
                let ran = started.end().exits(130).has_code("FND-9001");
                let pool = arena.bed.vm_pool();
                let ends = disks.iter().map(|disk| format!("data-{disk}"));
                let ends = std::iter::once("boot".to_owned()).chain(ends).chain(["cloudinit".to_owned()]);
                let volumes: Vec<String> =
                    ends.map(|end| format!("volume '{vm}_{end}' in pool '{pool}'")).collect();
                ran.mentions(&format!(
                    "error: interrupted again, and stopped without cleaning up\n  may be left behind: domain '{vm}', {}\n  foundry destroy {vm} removes it\n",
                    volumes.join(", ")
                ));
                drop(hung);
                arena.bed.foundry(&["destroy", vm]).run().exits(0);
            });
        }
    });
}

/// libvirt finishes a call whose caller is gone. Here qemu-img takes its time, and the volume has no file yet when it is
/// looked for.
#[test]
fn what_libvirt_still_makes_goes_too() {
    inside(module_path!(), "what_libvirt_still_makes_goes_too", |arena| {
        let home = arena.bed.home();
        let (slow, real) = (home.join("slow"), home.join("real"));
        let (begun, ended) = (home.join("begun"), home.join("ended"));
        std::fs::copy("/usr/bin/qemu-img", &real).unwrap();
        let text = format!(
            "#!/bin/sh\n: >{}\nsleep 2\n{} \"$@\"\nstatus=$?\n: >{}\nexit $status\n",
            begun.display(),
            real.display(),
            ended.display()
        );
        std::fs::write(&slow, text).unwrap();
        let run = |argv: &[&str]| {
            assert!(Command::new(argv[0]).args(&argv[1..]).status_in_time().unwrap().success(), "{argv:?}");
        };
        run(&["chmod", "755", slow.to_str().unwrap()]);
        let manifest = arena.vm("web", 10);
        arena.round("killed while a volume is made", |arena| {
            // Before it starts: a quick machine makes the volume before a mount that waits for the definition.
            run(&["mount", "--bind", slow.to_str().unwrap(), "/usr/bin/qemu-img"]);
            let mut started = arena.bed.foundry(&["create", "-", "-vv"]).reads(&manifest).start();
            appears(&begun);
            started.signal("KILL");
            started.end();
            arena.bed.foundry(&["destroy", &manifest.name]).run().exits(0);
            appears(&ended);
            run(&["umount", "--lazy", "/usr/bin/qemu-img"]);
        });
    });
}

fn appears(path: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < until, "waited in vain for {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The libvirtd of this host, stopped. Dropped, it goes on.
struct Hung(String);

impl Hung {
    fn new() -> Self {
        let pid = std::fs::read_to_string("/run/libvirt/libvirtd.pid").unwrap().trim().to_owned();
        let hung = Self(pid);
        hung.send("STOP");
        hung
    }

    fn send(&self, signal: &str) {
        assert!(Command::new("kill").args(["-s", signal, &self.0]).status_in_time().unwrap().success());
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.send("CONT");
    }
}

/// What nohup(1) started is not stopped by a terminal that closes.
#[test]
fn an_ignored_signal_stays_ignored() {
    inside(module_path!(), "an_ignored_signal_stays_ignored", |arena| {
        let manifest = arena.vm("web", 10);
        arena.round("nohup", |arena| {
            let file = arena.bed.home().join("web.yaml");
            std::fs::write(&file, manifest.to_string()).unwrap();
            let foundry = arena.bed.foundry(&["create", file.to_str().unwrap(), "-vv"]).into_command();
            let mut nohup = Command::new("nohup");
            nohup.arg(foundry.get_program()).args(foundry.get_args()).env_clear();
            nohup.envs(foundry.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let mut child =
                nohup.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let mut stderr = BufReader::new(child.stderr.take().unwrap());
            let mut line = String::new();
            within("its call to define a domain", || {
                while !line.contains("virDomainDefineXML") {
                    line.clear();
                    assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended");
                }
            });
            assert!(
                Command::new("kill")
                    .args(["-HUP", &child.id().to_string()])
                    .status_in_time()
                    .unwrap()
                    .success()
            );
            within("the end of what it says", || stderr.read_to_string(&mut line)).unwrap();
            assert_eq!(child.wait_in_time().unwrap().code(), Some(0), "{line}");
            arena.destroy([manifest.name.as_str()]);
        });
    });
}
