//! `--watch` on a real libvirtd. No guest boots here.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support::deadline::ChildInTime as _;
use crate::support::live::{Bed, program};

/// A watching foundry, and the lines that it writes.
struct Watching {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Waits until such a line comes; the others before it are of other tests' domains.
#[track_caller]
fn comes(from: &Receiver<String>, part: &str) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    let mut before = Vec::new();
    while let Ok(line) = from.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if line.contains(part) {
            return line;
        }
        before.push(line);
    }
    panic!("no line with {part:?}, only {before:#?}");
}

impl Watching {
    fn start(bed: &Bed, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foundry"));
        command.args(arguments).env_clear().envs(bed.variables());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self { child, stdout: lines(stdout), stderr: lines(stderr) }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn defines(bed: &Bed, name: &str, memory: u32) {
    let xml = format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory><os><type>hvm</type></os></domain>"
    );
    bed.virsh().defines("define", &xml);
}

/// What changes comes as a new line, also after the connection was broken; Ctrl-C ends it.
#[test]
fn a_watched_listing_goes_on_through_changes_and_lost_connections() {
    let Some(bed) = Bed::new("watch") else { return };
    let vm = bed.name("seen");
    let far = bed.far_uri();
    let columns = "custom-columns=NAME:.metadata.name,PHASE:.status.phase";
    let mut watching = Watching::start(&bed, &["-c", &far, "list", "--all", "--watch", "-o", columns]);
    comes(&watching.stdout, "NAME");
    defines(&bed, &vm, 64);
    assert_eq!(comes(&watching.stdout, &vm).split_whitespace().last(), Some("Stopped"));

    let child = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", watching.child.id())).unwrap();
    program("kill", &[child.trim()]).exits(0);
    comes(&watching.stderr, "connection lost, reconnecting: ");
    comes(&watching.stderr, "reconnected");
    bed.virsh().does(&["undefine", &vm]);
    comes(&watching.stderr, &format!("{vm} is gone"));

    program("kill", &["-INT", &watching.child.id().to_string()]).exits(0);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(watching.child.wait_in_time().unwrap().signal(), Some(2));
}
