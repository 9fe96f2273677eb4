//! Serial consoles.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use uuid::Uuid;

use super::bench::{Bench, cases, refused};
use foundry::Kind;
use foundry::host::{Console, ConsoleOutput};

/// Far longer than a daemon takes.
const PATIENCE: Duration = Duration::from_secs(30);

cases! {
    a_console_has_one_session needs Consoles;
    a_session_ends_with_its_domain needs Consoles;
    a_session_that_is_dropped_makes_room needs Consoles;
    a_domain_that_is_off_has_no_console;
}

fn start(bench: &Bench<'_>) -> Uuid {
    let xml = bench.domain_xml(&bench.name("a"), None, None, "<console type='pty'/>");
    let uuid = bench.host().define_domain(&xml).unwrap();
    bench.host().start(uuid).unwrap();
    uuid
}

/// Reads until the session ends, waiting only for its descriptor.
fn read_to_end(console: &mut dyn Console) {
    let begun = Instant::now();
    while console.read().unwrap() != ConsoleOutput::Ended {
        assert!(begun.elapsed() < PATIENCE, "the session does not end");
        let mut polled = [PollFd::from_borrowed_fd(console.readiness(), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::try_from(PATIENCE).unwrap())).unwrap();
    }
    // An ended one stays so, and loses what it is given.
    console.write(b"x").unwrap();
    assert_eq!(console.read().unwrap(), ConsoleOutput::Ended);
}

fn a_console_has_one_session(bench: &Bench<'_>) {
    let uuid = start(bench);
    let mut first = bench.host().open_console(uuid, false).unwrap().expect("nobody has it");
    first.write(b"\r").unwrap();
    assert!(bench.host().open_console(uuid, false).unwrap().is_none());
    let mut second = bench.host().open_console(uuid, true).unwrap().expect("it is taken over");
    read_to_end(first.as_mut());
    drop(first);
    assert!(bench.host().open_console(uuid, false).unwrap().is_none(), "the second has it");
    assert!(matches!(second.read().unwrap(), ConsoleOutput::Bytes(_)));
}

fn a_session_ends_with_its_domain(bench: &Bench<'_>) {
    let uuid = start(bench);
    let mut console = bench.host().open_console(uuid, false).unwrap().unwrap();
    bench.host().force_off(uuid).unwrap();
    read_to_end(console.as_mut());
}

/// libvirtd learns a moment later that a client is gone.
fn a_session_that_is_dropped_makes_room(bench: &Bench<'_>) {
    let uuid = start(bench);
    for _ in 0..5 {
        let console = bench.host().open_console(uuid, false).unwrap();
        assert!(console.is_some());
    }
}

fn a_domain_that_is_off_has_no_console(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    refused(bench.host().open_console(uuid, false).map(|opened| opened.is_some()), Kind::Vm);
    refused(bench.host().open_console(Uuid::new_v4(), true).map(|opened| opened.is_some()), Kind::Vm);
}
