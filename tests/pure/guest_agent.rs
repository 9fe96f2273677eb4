//! Commands and files by the guest agent, with an agent that does what QEMU's does on this machine.

use std::sync::Arc;
use std::time::Duration;

use crate::support::agent::agent;
use crate::support::bench::Bench;
use foundry::host::DomainState;
use foundry::host::memory::{Effect, Guest};
use foundry::operations::vm::guest_copy::{copy_from_guest, copy_to_guest};
use foundry::operations::vm::guest_exec::{ExecOutput, MAX_STDIN, exec_by_agent};
use foundry::operations::{Context, SystemClock};
use foundry::{Code, Error};
use tempfile::TempDir;

/// A running VM whose agent works in a directory.
struct Room {
    bench: Bench,
    directory: TempDir,
}

impl Room {
    fn new(blocked: &'static [&'static str]) -> Self {
        let room = Self { bench: Bench::with_web(), directory: tempfile::tempdir().unwrap() };
        room.bench.host.set_guest("web", Guest::new().agent(agent(room.directory.path(), blocked)));
        room
    }

    /// With a clock that waits: the processes are real.
    fn context(&self) -> Context {
        Context { clock: Arc::new(SystemClock::default()), ..self.bench.context() }
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn is_empty(&self) -> bool {
        std::fs::read_dir(self.directory.path()).unwrap().count() == 0
    }

    fn exec(&self, command: &[&str], stdin: &[u8]) -> (Result<u8, Error>, Streams) {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let mut streams = Streams::default();
        (exec_by_agent(&self.context(), "web", &command, stdin, &mut streams), streams)
    }
}

#[derive(Default)]
struct Streams {
    out: Vec<u8>,
    err: Vec<u8>,
    pieces: usize,
    /// A reader that goes after so many pieces.
    closes_after: Option<usize>,
}

impl ExecOutput for Streams {
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.pieces += 1;
        if self.closes_after.is_some_and(|pieces| self.pieces > pieces) {
            return Err(Error::new(Code::OutputUnwritable, "closed"));
        }
        self.out.extend(bytes);
        Ok(())
    }

    fn stderr(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.err.extend(bytes);
        Ok(())
    }
}

#[test]
fn streams_and_exit_code_are_the_commands() {
    let room = Room::new(&[]);
    let (code, streams) = room.exec(&["sh", "-c", "cat; echo err >&2; exit 42"], b"in\0put");
    assert_eq!(
        (code.unwrap(), streams.out.as_slice(), streams.err.as_slice()),
        (42, &b"in\0put"[..], &b"err\n"[..])
    );
    let (code, streams) = room.exec(&["printf", "%s|", "a b", "", "$HOME", "it's", "-n"], b"");
    assert_eq!((code.unwrap(), String::from_utf8(streams.out).unwrap()), (0, "a b||$HOME|it's|-n|".into()));
    let (code, streams) = room.exec(&["no-such-program"], b"");
    assert_eq!(code.unwrap(), 127);
    assert!(String::from_utf8(streams.err).unwrap().contains("not found"));
    let (code, _) = room.exec(&["sh", "-c", "kill -9 $$"], b"");
    assert_eq!(code.unwrap(), 137);
    assert!(room.is_empty(), "its files in the guest are deleted");
}

/// An answer of that size would end libvirt's connection to the agent.
#[test]
fn large_output_comes_in_pieces() {
    let room = Room::new(&[]);
    let (code, streams) = room.exec(&["head", "-c", "9000001", "/dev/zero"], b"");
    assert_eq!((code.unwrap(), streams.out.len()), (0, 9_000_001));
    assert!(streams.pieces > 10, "{}", streams.pieces);
    let (code, streams) = room.exec(&["sha256sum"], &vec![7; 3 << 20]);
    assert_eq!((code.unwrap(), streams.out.len()), (0, 68), "stdin comes in pieces, too");
    let (refused, _) = room.exec(&["cat"], &vec![0; MAX_STDIN + 1]);
    assert_eq!(refused.unwrap_err().code(), Code::TooLarge);
    assert!(room.is_empty());
}

#[test]
fn output_is_passed_on_while_the_command_runs() {
    let room = Room::new(&[]);
    let command = ["sh", "-c", "echo one; sleep 1; echo two"].map(str::to_owned);
    let mut streams = Streams::default();
    exec_by_agent(&room.context(), "web", &command, b"", &mut streams).unwrap();
    assert_eq!((streams.out.as_slice(), streams.pieces), (&b"one\ntwo\n"[..], 2));
}

#[test]
fn a_command_whose_reader_is_gone_or_that_is_interrupted_is_ended() {
    let room = Room::new(&[]);
    let command = ["sh", "-c", "echo $$; exec sleep 600"].map(str::to_owned);
    let is_running = |out: &[u8]| {
        let pid = String::from_utf8_lossy(out).trim().to_owned();
        std::path::Path::new("/proc").join(pid).join("cmdline").exists()
    };
    let context = room.context();
    let cancel = context.cancel.clone();
    let interrupt = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        cancel.request();
    });
    let mut streams = Streams::default();
    let stopped = exec_by_agent(&context, "web", &command, b"", &mut streams).unwrap_err();
    interrupt.join().unwrap();
    assert_eq!(stopped.code(), Code::Interrupted);
    // Its parent, this process, has not asked for its end yet.
    std::thread::sleep(Duration::from_millis(200));
    let state =
        std::fs::read_to_string(format!("/proc/{}/stat", String::from_utf8_lossy(&streams.out).trim()));
    assert!(!is_running(&streams.out) || state.unwrap().contains(") Z "), "it runs on");
    assert!(room.is_empty());

    let room = Room::new(&[]);
    let mut streams = Streams { closes_after: Some(1), ..Streams::default() };
    let command = ["sh", "-c", "while :; do echo y; sleep 0.2; done"].map(str::to_owned);
    let closed = exec_by_agent(&room.context(), "web", &command, b"", &mut streams).unwrap_err();
    assert_eq!(closed.code(), Code::OutputUnwritable);
    assert!(room.is_empty());
}

#[test]
fn files_are_copied_both_ways() {
    let room = Room::new(&["guest-exec"]);
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let context = room.context();
    assert_eq!(copy_to_guest(&context, "web", &mut content.as_slice(), &room.at("x")).unwrap(), 3_000_000);
    assert!(std::fs::read(room.at("x")).unwrap() == content);
    let mut back = Vec::new();
    assert_eq!(copy_from_guest(&context, "web", &room.at("x"), &mut back).unwrap(), 3_000_000);
    assert!(back == content);
    let missing = copy_from_guest(&context, "web", &room.at("none"), &mut back).unwrap_err();
    assert_eq!(
        (missing.code(), missing.cause()),
        (Code::AgentRefuses, Some("No such file or directory (os error 2)"))
    );
}

#[test]
fn a_silent_agent_and_one_that_refuses_are_told_apart() {
    let room = Room::new(&["guest-exec"]);
    let refused = room.exec(&["true"], b"").0.unwrap_err();
    assert_eq!(refused.code(), Code::AgentRefuses);
    assert!(format!("{:?}", refused.advice()).contains("RHEL"), "{refused:?}");
    room.bench.host.set_guest("web", Guest::new());
    assert_eq!(room.exec(&["true"], b"").0.unwrap_err().code(), Code::AgentSilent);
    room.bench.host.set_state("web", DomainState::ShutOff);
    assert_eq!(room.exec(&["true"], b"").0.unwrap_err().code(), Code::GuestOff);
}

/// A call that fails is an error, except at the end: then the command's result counts, and its files are reported.
#[test]
fn a_fault_at_any_call_is_reported() {
    for call in 0..60 {
        let room = Room::new(&[]);
        room.bench.host.fail_at(call, Effect::RefuseBefore);
        let (code, _) = room.exec(&["true"], b"input");
        if !room.bench.host.fault_hit() {
            assert!(code.is_ok() && call > 12, "{call}");
            return;
        }
        let warned = room.bench.told.warnings().len();
        // A file that could not be closed harms nobody.
        assert!(code.is_err() || warned == 1 || room.is_empty(), "{call}: {code:?}");
        // What the shell made before its name was known, or what could not be deleted.
        assert!(room.is_empty() || warned == 1 || call < 6, "{call}: {code:?}");
    }
    panic!("it makes more calls than that");
}
