//! `foundry doctor` on a host in memory: what it asks, what it starts, and that it changes nothing.

use std::time::Duration;

use crate::support::bench::{Bench, GIB, bridge, host_with_neighbours, whole};
use crate::support::command::{on_test, run_with};
use crate::support::manifests::{WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::domain_xml::VirtType;
use foundry::host::memory::{Effect, Guest, MemoryHost};
use foundry::host::{Capabilities, HostInfo};
use foundry::operations::doctor::{CheckState, HostCheck, HostReport, examine_host, examine_vm};
use foundry::operations::preflight::preflight;

const NOTHING: [&str; 0] = [];

/// What a look finds; the host must be as it was.
fn look(bench: &Bench, probe: bool) -> HostReport {
    let before = bench.host.fingerprint();
    let report = examine_host(&bench.context(), probe).unwrap();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    report
}

fn named<'a>(report: &'a HostReport, title: &str) -> &'a HostCheck {
    let found = report.checks.iter().find(|check| check.title() == title);
    found.unwrap_or_else(|| panic!("{title} is not in {report:#?}"))
}

#[test]
fn a_host_is_looked_at_without_being_changed() {
    let bench = Bench::new();
    let report = look(&bench, false);
    report.outcome().unwrap();
    assert_eq!(named(&report, "guest").state, CheckState::Unknown);
    assert_eq!(named(&report, "pool foundry-vms").state, CheckState::Ok);
    assert!(report.left_out.contains(&"bridges"), "a host in memory is none of this machine's");
    assert!(!bench.host.calls().iter().any(|call| call.starts_with("start_transient")));
}

/// Beside a /dev/kvm that QEMU's user may not open, each answer takes seconds.
#[test]
fn what_the_host_can_do_is_asked_once() {
    let bench = Bench::new();
    look(&bench, true);
    for call in ["capabilities", "machine", "guest_machine", "bridges", "networks"] {
        let asked = bench.host.calls().iter().filter(|made| made.split(' ').next() == Some(call)).count();
        assert!(asked <= 1, "{call} was asked {asked} times: {:?}", bench.host.calls());
    }
}

#[test]
fn a_libvirt_that_is_slow_to_say_what_the_host_can_do_is_named() {
    let capabilities = host_with_neighbours().capabilities().unwrap();
    let after = |seconds| {
        let took = Duration::from_millis(seconds);
        Bench::on(host_with_neighbours().with_capabilities(Capabilities { took, ..capabilities.clone() }))
    };
    let slow = after(4100);
    let report = look(&slow, false);
    let check = named(&report, "capabilities");
    assert_eq!(
        (check.state, check.found.as_str()),
        (CheckState::Warning, "libvirt took 4.1 s to report the host's capabilities")
    );
    preflight(&slow.context(), &plan(WEB)).unwrap();
    let warned = slow.told.warnings().join("\n");
    assert!(warned.contains("libvirt took 4.1 s") && warned.contains("/dev/kvm"), "{warned}");
    let quick = after(900);
    assert!(!look(&quick, false).checks.iter().any(|check| check.name == "capabilities"));
}

#[test]
fn a_trial_guest_runs_and_is_gone() {
    let bench = Bench::new();
    let report = look(&bench, true);
    assert_eq!(
        (named(&report, "guest").state, named(&report, "guest").found.as_str()),
        (CheckState::Ok, "test guest ran (KVM)")
    );
    assert!(bench.host.calls().iter().any(|call| call.starts_with("start_transient")));
}

#[test]
fn a_guest_that_kvm_stops_is_a_problem_although_kvm_is_offered() {
    let bench =
        Bench::on(host_with_neighbours().with_guest("foundry-doctor", Guest::new().stopped_by_error()));
    let report = look(&bench, true);
    assert_eq!(named(&report, "kvm").state, CheckState::Ok);
    assert_eq!(named(&report, "guest").state, CheckState::Problem);
    let error = report.outcome().unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "1 problem on this host: guest"));
}

#[test]
fn a_guest_runs_in_a_trial_as_create_would_run_it() {
    let mut bench = Bench::new();
    bench.settings.virt_type = Some(VirtType::Qemu);
    assert_eq!(named(&look(&bench, true), "guest").found, "test guest ran (emulated)");
}

#[test]
fn a_trial_that_is_refused_says_why() {
    let bench = Bench::new();
    bench.host.fail_calls_named("start_transient");
    let report = look(&bench, true);
    assert!(named(&report, "guest").found.contains("a fault that the test asked for"));
}

#[test]
fn a_trial_is_over_when_somebody_interrupts() {
    let bench = Bench::new();
    let (cancel, before) = (bench.cancel.clone(), bench.host.fingerprint());
    // The look after the start of the guest.
    let calls = {
        look(&bench, true);
        bench.host.calls()
    };
    let at = calls.iter().position(|call| call.starts_with("state ")).unwrap();
    bench.host.forget_calls();
    bench.host.on_call(at, move |_| cancel.request());
    assert_eq!(examine_host(&bench.context(), true).unwrap_err().kind(), Kind::Interrupted);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn what_is_refused_is_unknown_and_a_broken_connection_ends_it() {
    let bench = Bench::new();
    for refused in ["machine", "networks", "domains"] {
        bench.host.fail_calls_named(refused);
    }
    let report = examine_host(&bench.context(), false).unwrap();
    assert_eq!([named(&report, "qemu").state, named(&report, "network").state], [CheckState::Unknown; 2]);
    bench.host.heal();
    bench.host.fail_at(3, Effect::BrokenBefore);
    assert_eq!(examine_host(&bench.context(), false).unwrap_err().kind(), Kind::Connection);
}

#[test]
fn a_manifest_that_can_be_made_has_only_good_checks() {
    let bench = Bench::new();
    let before = bench.host.fingerprint();
    let found = examine_vm(&bench.context(), &plan(WEB)).unwrap();
    found.outcome.unwrap();
    assert!(found.checks.iter().all(|check| check.state == CheckState::Ok), "{:#?}", found.checks);
    let names: Vec<&str> = found.checks.iter().map(|check| check.name.as_ref()).collect();
    assert_eq!(
        names,
        ["name", "addresses", "machine", "spec.networkInterfaces[0]", "image", "pool", "room", "volumes"]
    );
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn a_manifest_that_cannot_be_made_ends_as_create_does() {
    let host = MemoryHost::new().with_pool("foundry-vms", "/pool/vms").with_bridges(&[bridge("br1", false)]);
    let bench = Bench::on(host);
    let vm = plan_with(WEB, &[("bridge: br0}", "bridge: br1, vlan: 7}")]);
    let found = examine_vm(&bench.context(), &vm).unwrap();
    let create = preflight(&bench.context(), &vm).unwrap_err();
    let outcome = found.outcome.unwrap_err();
    assert_eq!((whole(&outcome), outcome.kind()), (whole(&create), create.kind()));
    // Each of the report is one of the checks, with what to do.
    let problems: Vec<&HostCheck> = found.checks.iter().filter(|c| c.state == CheckState::Problem).collect();
    assert_eq!(
        problems.iter().map(|c| c.title()).collect::<Vec<_>>(),
        ["spec.networkInterfaces[0] web", "image web"]
    );
    for problem in problems {
        assert!(create.text().contains(&problem.found) && !problem.advice.is_empty(), "{problem:?}");
    }
    assert_eq!(found.checks.iter().find(|c| c.name == "name").unwrap().state, CheckState::Ok);
}

#[test]
fn what_create_warns_of_is_in_the_list_and_not_told_twice() {
    let host = MemoryHost::new()
        .with_image("foundry-images", "debian-12", "qcow2", GIB)
        .with_pool("foundry-vms", "/v");
    let bench = Bench::on(host);
    let found = examine_vm(&bench.context(), &plan(WEB)).unwrap();
    let warnings: Vec<&HostCheck> = found.checks.iter().filter(|c| c.state == CheckState::Warning).collect();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].found, "bridges of a remote host cannot be checked before the VM starts");
    assert_eq!(bench.told.warnings(), NOTHING);
}

#[test]
fn the_command_prints_a_table_or_json_and_ends_with_what_it_found() {
    // libvirt's test driver is no host for QEMU's guests.
    let ran = on_test(&["doctor"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("CHECK ") && ran.stdout.contains("\nmachine-type "), "{}", ran.stdout);
    assert!(ran.stderr.contains("error: 2 problems on this host: qemu, machine-type"), "{}", ran.stderr);
    assert!(ran.stderr.contains("Skipped, because the host is another machine: "), "{}", ran.stderr);
    let last = ran.stdout.lines().last().unwrap();
    assert_eq!(last, "Not ready: VMs cannot be created here because of: qemu, machine-type");
    let ran = on_test(&["doctor", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, report["checks"][0]["name"].as_str()), (4, Some("connection")));
    assert_eq!(report["leftOut"][3], "bridges");
    assert!(on_test(&["doctor", "-o", "yaml"]).stdout.starts_with("checks:\n"));
}

#[test]
fn the_command_judges_manifests_before_it_connects() {
    assert_eq!(run_with(&["-c", "qemu+unix:///x?socket=/nope", "doctor", "-"], "kind: x").code, 1);
    assert_eq!(on_test(&["doctor", "--probe", "x.yaml"]).code, 64);
    assert_eq!(on_test(&["doctor", "--pool", "x"]).code, 64);
}

#[test]
fn a_libvirt_that_does_not_answer_is_reported_too() {
    let ran = run_with(&["-c", "qemu+unix:///system?socket=/nope/sock", "doctor"], "");
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("connection   problem   "), "{}", ran.stdout);
    assert!(
        ran.stdout
            .lines()
            .last()
            .unwrap()
            .starts_with("Not ready: VMs cannot be created here because of: connection")
    );
    assert!(
        ran.stdout.contains("'/nope/sock' does not exist") && ran.stdout.contains("\nkvm "),
        "{}",
        ran.stdout
    );
}
