//! Waiting for a VM to run, to be off, or to be gone; and what a timeout tells of a boot.

use std::time::Duration;

use crate::support::bench::{Bench, host_with_neighbours, whole};
use crate::support::manifests::{SMALL, plan};
use foundry::host::memory::{Guest, OnShutdown};
use foundry::host::{DomainState, Domains, StateReason};
use foundry::operations::Clock;
use foundry::operations::vm::wait::{Goal, wait_for_named};
use foundry::operations::vm::wait_state::{StateGoal, wait_for_state};
use foundry::{Code, Kind};

const MINUTE: Duration = Duration::from_secs(60);

fn wait(bench: &Bench, vm: &str, goal: StateGoal) -> Result<String, foundry::Error> {
    wait_for_state(&bench.context(), vm, goal, MINUTE)
}

#[test]
fn a_state_that_is_reached_needs_no_wait() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    assert_eq!(wait(&bench, "web", StateGoal::Running).unwrap(), "web");
    assert_eq!(wait(&bench, &uuid.to_string(), StateGoal::Running).unwrap(), "web");
    bench.host.force_off(uuid).unwrap();
    assert_eq!(wait(&bench, "web", StateGoal::Stopped).unwrap(), "web");
    bench.host.undefine(uuid).unwrap();
    assert_eq!(wait(&bench, "web", StateGoal::Deleted).unwrap(), "web");
    assert_eq!(bench.clock.elapsed(), Duration::ZERO);
    let missing = wait(&bench, "web", StateGoal::Running).unwrap_err();
    assert_eq!(missing.code(), Code::VmMissing);
}

/// A guest that is off only after some looks.
#[test]
fn a_shutdown_is_waited_for() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().on_shutdown(OnShutdown::AfterLooks(5)));
    bench.host.request_shutdown(bench.host.uuid_of("web").unwrap()).unwrap();
    assert_eq!(wait(&bench, "web", StateGoal::Stopped).unwrap(), "web");
    // One of the five looks is the lookup by name.
    assert_eq!(bench.clock.elapsed(), Duration::from_millis(1200));
}

#[test]
fn a_state_that_does_not_come_is_exit_6_with_the_state_that_is() {
    let bench = Bench::with_web();
    bench.host.set_state_because("web", DomainState::Paused, StateReason::IoError);
    let error = wait(&bench, "web", StateGoal::Running).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Code::NotReady, Kind::Timeout));
    assert_eq!(
        error.to_string(),
        "VM 'web': waited 60 s for it to run: it is paused: an error of its disk stopped it"
    );
    let error = wait(&bench, "web", StateGoal::Deleted).unwrap_err();
    assert!(error.to_string().starts_with("VM 'web': waited 60 s for it to be deleted"), "{error}");
}

#[test]
fn a_vm_that_vanishes_is_not_waited_for_any_more() {
    let bench = Bench::with_web();
    let (host, uuid) = (bench.host.clone(), bench.host.uuid_of("web").unwrap());
    bench.host.forget_calls();
    bench.host.on_call(4, move |_| {
        host.force_off(uuid).unwrap();
        host.undefine(uuid).unwrap();
    });
    assert_eq!(wait(&bench, "web", StateGoal::Stopped).unwrap_err().code(), Code::ChangedMeanwhile);
    assert!(bench.clock.elapsed() < MINUTE);
}

#[test]
fn a_timeout_tells_how_far_the_boot_has_come() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("console.log");
    let bench = Bench::on(host_with_neighbours().local());
    bench.create(&plan(SMALL)).unwrap();
    bench.edit_record("small", |record| record["consoleLog"] = log.to_str().unwrap().into());
    let told = |console: &str| {
        std::fs::write(&log, console).unwrap();
        whole(&wait_for_named(&bench.context(), "small", Goal::Agent, MINUTE).unwrap_err())
    };
    let nothing =
        "VM 'small': waited 60 s for the guest agent: no sign of life from the guest (no address, no SSH)";
    assert!(told("").contains(nothing));
    let kernel = told("BdsDxe: starting Boot0001\n[    0.000000] Linux version 6.1\n");
    assert!(kernel.contains(&format!("{nothing}; its kernel is starting")), "{kernel}");
    assert!(kernel.contains("[    0.000000] Linux version 6.1"), "{kernel}");
    let disk = told("BdsDxe: No bootable option or device was found.\n");
    assert!(disk.contains("its firmware finds nothing to boot"), "{disk}");
    assert!(disk.contains("hint: is the image bootable"), "{disk}");
}
