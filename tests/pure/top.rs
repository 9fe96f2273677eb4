//! `top` and `events` without a real guest.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::support::bench::Bench;
use crate::support::command::{TEST_DRIVER, foundry, on_test, run};
use crate::support::faults::each_fault;
use foundry::host::{DomainState, Domains};
use foundry::operations::Clock;
use foundry::operations::vm::top::LoadSampler;
use foundry::units::Bytes;

#[test]
fn running_domains_are_sampled_twice_a_second_apart() {
    let bench = Bench::with_web();
    let mut sampler = LoadSampler::default();
    let before = bench.clock.elapsed();
    let seen = sampler.sample(&bench.context()).unwrap();
    assert_eq!(bench.clock.elapsed() - before, Duration::from_secs(1));
    let lines: Vec<_> = seen.iter().map(|v| (v.vm.as_str(), v.vcpus, v.memory, v.cpu_percent)).collect();
    assert_eq!(lines, [("web", 2, Bytes(4 << 30), 0.0)], "'other' is off");
    assert_eq!(bench.host.calls(), ["sample_domains", "sample_domains"]);
    // Later ones compare with the last.
    sampler.sample(&bench.context()).unwrap();
    assert_eq!(bench.host.calls().len(), 3);
    bench.host.set_state("web", DomainState::ShutOff);
    assert_eq!(sampler.sample(&bench.context()).unwrap(), []);
    bench.host.start(bench.host.uuid_of("web").unwrap()).unwrap();
    assert_eq!(sampler.sample(&bench.context()).unwrap(), [], "nothing to compare with");
    assert_eq!(sampler.sample(&bench.context()).unwrap().len(), 1);
}

#[test]
fn a_fault_is_an_error() {
    let faults = each_fault(
        Bench::with_web,
        |bench| LoadSampler::default().sample(&bench.context()),
        |_, outcome, _, label| assert!(outcome.is_err(), "{label}"),
    );
    assert!(faults > 1, "{faults}");
}

#[test]
fn the_test_driver_has_a_busy_domain() {
    let ran = on_test(&["top", "-o", "name"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "test\n"), "{}", ran.stderr);
}

/// The test driver's connection is its own world: nothing happens there, and the header shows with the first event.
#[test]
fn events_end_when_nobody_reads_them() {
    let mut command = foundry(&["-c", TEST_DRIVER, "events"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut note = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut note).unwrap();
    assert!(note.contains("Waiting for events"), "{note}");
    drop(child.stdout.take());
    let end = std::time::Instant::now() + Duration::from_secs(30);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(std::time::Instant::now() < end, "it waits although nobody reads");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(status.success(), "{status}");
}

#[test]
fn the_help_says_what_has_no_event() {
    let help = run(&["events", "--help"]).stdout;
    for word in ["autostart", "link state", "processors", "Ctrl-C"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}
