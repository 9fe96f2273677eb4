//! Waiting for a VM that was just made. Whatever comes of it, the VM stays. SSH itself is for the live
//! tests: the port is fixed, and a unit test beside the code greets it on another.

use std::net::IpAddr;
use std::time::Duration;

use crate::support::bench::{Bench, FORCE, bridge, host_with_neighbours, whole};
use crate::support::manifests::{SMALL, WEB, plan};
use crate::support::shown::Shown;
use base64::Engine;
use foundry::host::memory::{Effect, Guest};
use foundry::host::{AddressSource, Bridge, DomainState, GuestAddress, StateReason};
use foundry::operations::Clock;
use foundry::operations::vm::create::CreatedVm;
use foundry::operations::vm::wait::{Goal, wait_for_vm};
use foundry::{Error, Kind};

const MINUTE: Duration = Duration::from_secs(60);
const STAYS: &str = "VM 'small' is kept as it is; foundry destroy small removes it";

fn small(guest: Guest) -> (Bench, CreatedVm) {
    let bench = Bench::new();
    bench.host.set_guest("small", guest);
    let vm = bench.create(&plan(SMALL)).unwrap();
    (bench, vm)
}

/// Waits and makes sure that the VM is still as it was.
fn waited(bench: &Bench, vm: &CreatedVm, goal: Goal) -> Result<Vec<String>, Error> {
    let before = bench.host.fingerprint();
    let outcome = wait_for_vm(&bench.context(), vm, goal, MINUTE);
    assert_eq!(bench.host.changes_since(&before), [] as [String; 0]);
    outcome
}

fn address(ip: &str) -> GuestAddress {
    GuestAddress { mac: "be:ef:0a:00:00:01".into(), ip: ip.parse::<IpAddr>().unwrap(), prefix: 24 }
}

/// An agent that has a `result.json` with these errors.
fn with_result(guest: Guest, json: &str) -> Guest {
    let encoded = base64::engine::general_purpose::STANDARD.encode(json);
    guest
        .agent_answer("guest-file-open", r#"{"return":1000}"#)
        .agent_answer(
            "guest-file-read",
            &format!(r#"{{"return":{{"count":1,"eof":true,"buf-b64":"{encoded}"}}}}"#),
        )
        .agent_answer("guest-file-close", r#"{"return":{}}"#)
}

#[test]
fn an_address_of_the_manifest_counts_as_soon_as_the_guest_is_heard_of() {
    let bench = Bench::new();
    // Otherwise something would have to answer at 10.0.0.1, in whatever network the test runs.
    bench.host.set_guest("web", Guest::new().address(AddressSource::Arp, 0, address("10.0.0.99")));
    let vm = bench.create(&plan(WEB)).unwrap();
    assert_eq!(waited(&bench, &vm, Goal::Ip).unwrap(), ["10.0.0.1"]);
    assert_eq!(bench.clock.elapsed(), Duration::ZERO);
}

#[test]
fn an_address_comes_from_whoever_knows_it_first() {
    let (bench, vm) = small(Guest::new().address(AddressSource::Arp, 7, address("192.168.122.9")));
    assert_eq!(waited(&bench, &vm, Goal::Ip).unwrap(), ["192.168.122.9"]);
    assert!(bench.clock.elapsed() > Duration::from_millis(300));
    assert!(
        bench.told.done().iter().any(|d| d.starts_with("Address known after")),
        "{:?}",
        bench.told.done()
    );
}

#[test]
fn the_agent_is_waited_for() {
    let (bench, vm) = small(Guest::new().agent_answer("guest-ping", r#"{"return":{}}"#).agent_after(5));
    waited(&bench, &vm, Goal::Agent).unwrap();
    assert_eq!(bench.clock.elapsed(), Duration::from_millis(1500), "five looks were in vain");
}

#[test]
fn what_does_not_come_in_time_is_exit_6_with_the_stage_it_reached() {
    for (goal, sentence) in [
        (
            Goal::Ip,
            "VM 'small': waited 60 s for an address: no sign of life from the guest (no address, no SSH)",
        ),
        (
            Goal::Agent,
            "VM 'small': waited 60 s for the guest agent: no sign of life from the guest (no address, no SSH)",
        ),
        (Goal::Ssh, "VM 'small': waited 60 s for SSH: no sign of life from the guest (no address, no SSH)"),
        (
            Goal::CloudInit,
            "VM 'small': waited 60 s for cloud-init: no sign of life from the guest (no address, no SSH)",
        ),
    ] {
        let (bench, vm) = small(Guest::new());
        let error = waited(&bench, &vm, goal).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Timeout, sentence));
        assert_eq!(error.outcome_texts(), [STAYS]);
        assert!(bench.clock.elapsed() >= MINUTE);
    }
}

/// One that was up when the VM was made; nothing of the guest is heard any more.
#[test]
fn a_bridge_that_went_down_is_told_of() {
    let mut bench = Bench::new();
    let vm = bench.create(&plan(WEB)).unwrap();
    assert_eq!(waited(&bench, &vm, Goal::Agent).unwrap_err().hint_text().as_deref(), None);
    bench.host = bench.host.with_bridges(&[Bridge { is_up: false, ..bridge("br0", false) }]);
    let error = waited(&bench, &vm, Goal::Agent).unwrap_err();
    assert_eq!(error.hint_text().as_deref(), Some("bridge 'br0' is down: ip link set br0 up"));
}

#[test]
fn ctrl_c_ends_the_waiting_and_not_the_vm() {
    let (bench, vm) = small(Guest::new());
    let cancel = bench.cancel.clone();
    bench.host.forget_calls();
    bench.host.on_call(9, move |_| cancel.request());
    let error = waited(&bench, &vm, Goal::Agent).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::Interrupted, "VM 'small': interrupted while waiting for the guest agent")
    );
    assert_eq!(error.outcome_texts(), [STAYS]);
    assert!(bench.clock.elapsed() < MINUTE);
}

/// A host can offer KVM and still not run guests (GUEST.md).
#[test]
fn a_guest_that_the_hypervisor_stopped_is_recognised() {
    let (bench, vm) = small(Guest::new().stopped_by_error());
    let error = waited(&bench, &vm, Goal::Ssh).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm);
    assert_eq!(
        error.to_string(),
        "VM 'small' stopped before it was ready: the hypervisor stopped it with an error of its own"
    );
    assert!(error.hint_text().unwrap().contains("--virt-type qemu"), "{}", whole(&error));
    assert_eq!(error.outcome_texts(), [STAYS]);
    assert_eq!(bench.clock.elapsed(), Duration::ZERO, "there is nothing to wait for");
}

#[test]
fn a_guest_that_went_is_not_waited_for() {
    for (state, why, cause, hint) in [
        (DomainState::ShutOff, StateReason::NotSaid, "it is off", None),
        (DomainState::ShutOff, StateReason::ShutDown, "it shut down", None),
        (DomainState::ShutOff, StateReason::Destroyed, "its plug was pulled", None),
        (
            DomainState::ShutOff,
            StateReason::Crashed,
            "its QEMU ended by itself, or was killed",
            Some("journalctl -k"),
        ),
        (
            DomainState::ShutOff,
            StateReason::Saved,
            "its memory was saved",
            Some("foundry start small resumes it"),
        ),
        (DomainState::Crashed, StateReason::Crashed, "it crashed", None),
        (
            DomainState::Paused,
            StateReason::IoError,
            "an error of its disk stopped it",
            Some("virsh domblkerror small"),
        ),
        (DomainState::Paused, StateReason::Watchdog, "its watchdog stopped it", Some("foundry resume small")),
    ] {
        let (bench, vm) = small(Guest::new());
        bench.host.forget_calls();
        bench.host.on_call(4, move |host| host.set_state_because("small", state, why));
        let error = wait_for_vm(&bench.context(), &vm, Goal::Agent, MINUTE).unwrap_err();
        assert!(error.kind() == Kind::Vm && error.cause().unwrap().starts_with(cause), "{}", whole(&error));
        assert_eq!(error.hint_text().is_some(), hint.is_some(), "{}", whole(&error));
        assert!(hint.is_none_or(|hint| error.hint_text().unwrap().contains(hint)), "{}", whole(&error));
        assert_eq!(error.outcome_texts(), [STAYS]);
    }
}

/// Whoever took it away may have made another one of that name: nothing is said that would lead to it.
#[test]
fn a_vm_that_was_taken_away_does_not_stay() {
    let (bench, vm) = small(Guest::new());
    bench.destroy("small", FORCE).unwrap();
    let error = wait_for_vm(&bench.context(), &vm, Goal::Ip, MINUTE).unwrap_err();
    assert_eq!((error.kind(), error.cause()), (Kind::Vm, Some("another process deleted it")));
    assert_eq!(error.hint_text().as_deref(), None);
    assert_eq!(error.outcome_texts(), ["foundry gc lists unused volumes"]);
}

/// Somebody may let it go on, and so it is waited for; that it is paused is the reason when nobody does.
#[test]
fn a_guest_that_is_paused_is_told_of() {
    for (why, cause, hint) in [
        (StateReason::ByUser, "it is paused", Some("foundry resume small continues it")),
        (StateReason::Saving, "it is paused while its memory is saved", None),
        (StateReason::Migrating, "it is paused while it moves to another host", None),
    ] {
        let (bench, vm) = small(Guest::new());
        bench.host.set_state_because("small", DomainState::Paused, why);
        let error = waited(&bench, &vm, Goal::Agent).unwrap_err();
        assert_eq!(
            (error.kind(), error.cause(), error.hint_text().as_deref()),
            (Kind::Timeout, Some(cause), hint)
        );
        assert_eq!(error.outcome_texts(), [STAYS]);
    }
}

#[test]
fn cloud_init_is_done_when_its_result_says_so() {
    let done = r#"{"v1":{"datasource":"DataSourceNoCloud","errors":[]}}"#;
    let (bench, vm) = small(with_result(Guest::new().agent_after(3), done));
    waited(&bench, &vm, Goal::CloudInit).unwrap();
    assert!(bench.host.calls().iter().filter(|c| c.starts_with("agent")).count() >= 6);
}

#[test]
fn cloud_inits_errors_are_the_vms() {
    let failed = r#"{"v1":{"errors":["('scripts_user', RuntimeError('1 of 2 failed'))", {"odd": 1}]}}"#;
    let (bench, vm) = small(with_result(Guest::new(), failed));
    let error = waited(&bench, &vm, Goal::CloudInit).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "cloud-init in VM 'small' ended with errors"));
    assert!(error.cause().unwrap().contains("1 of 2 failed"), "{error}");
    assert_eq!(error.outcome_texts(), [STAYS]);
}

#[test]
fn a_result_that_is_not_written_yet_is_none() {
    for text in ["", "{", r#"{"v1":{}}"#] {
        let (bench, vm) = small(with_result(Guest::new(), text));
        assert_eq!(waited(&bench, &vm, Goal::CloudInit).unwrap_err().kind(), Kind::Timeout, "{text:?}");
    }
}

/// Without an agent the serial console tells, if it is a file of this machine.
#[test]
fn the_console_tells_of_cloud_init_and_of_failures() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("console.log");
    let bench = Bench::on(host_with_neighbours().local());
    let mut vm = bench.create(&plan(SMALL)).unwrap();
    vm.record.console_log = Some(log.display().to_string());

    std::fs::write(&log, "[    0.0] Linux\n\u{1b}[0m[  OK  ] net\r\ncloud-init[9]: Cloud-init v. 24.1 running 'modules:final'\n").unwrap();
    let error = waited(&bench, &vm, Goal::CloudInit).unwrap_err();
    assert_eq!(error.cause(), Some("its cloud-init is at stage 'modules:final'"));
    assert_eq!(
        error.outcome_texts()[0],
        "the console's last lines:\n  | [    0.0] Linux\n  | [  OK  ] net\n  | cloud-init[9]: Cloud-init v. 24.1 running 'modules:final'"
    );

    std::fs::write(
        &log,
        "Cloud-init v. 24.1 finished at Fri, 02 Jan 2026 03:04:05 +0000. Datasource NoCloud\n",
    )
    .unwrap();
    waited(&bench, &vm, Goal::CloudInit).unwrap();
    let warnings = bench.told.warnings();
    assert!(warnings.iter().any(|w| w.contains("no guest agent to ask")), "{warnings:?}");
    assert!(!warnings.iter().any(|w| w.contains("can only time out")), "{warnings:?}");
}

const FINISHED: &str = "Cloud-init v. 24.1 finished at Fri, 02 Jan 2026 03:04:05 +0000. Datasource NoCloud\n";

/// A VM whose console is that file of this machine.
fn with_console(guest: Guest, text: &str) -> (Bench, CreatedVm, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("console.log");
    std::fs::write(&log, text).unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    bench.host.set_guest("small", guest);
    let mut vm = bench.create(&plan(SMALL)).unwrap();
    vm.record.console_log = Some(log.display().to_string());
    (bench, vm, folder)
}

/// The last words on the console come also from a cloud-init that failed.
#[test]
fn a_failure_on_the_console_is_one() {
    let failed =
        format!("util.py[WARNING]: Running module scripts_user (\u{1b}[1m<module>) failed\n{FINISHED}");
    let (bench, vm, _folder) = with_console(Guest::new(), &failed);
    let error = waited(&bench, &vm, Goal::CloudInit).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "cloud-init in VM 'small' ended with errors"));
    assert_eq!(error.cause(), Some("util.py[WARNING]: Running module scripts_user (<module>) failed"));
    assert_eq!(error.outcome_texts(), [STAYS]);
}

/// The result is written after the last words: an agent that answers is asked for it a little longer.
#[test]
fn an_agent_is_given_time_to_find_the_result() {
    let ping = |guest: Guest| guest.agent_answer("guest-ping", r#"{"return":{}}"#);
    let (bench, vm, _folder) = with_console(ping(Guest::new()), FINISHED);
    waited(&bench, &vm, Goal::CloudInit).unwrap();
    let waited_for = bench.clock.elapsed();
    assert!(waited_for >= Duration::from_secs(10) && waited_for < MINUTE, "{waited_for:?}");

    let failed = with_result(ping(Guest::new()), r#"{"v1":{"errors":["no"]}}"#);
    let (bench, vm, _folder) = with_console(failed, FINISHED);
    assert_eq!(waited(&bench, &vm, Goal::CloudInit).unwrap_err().cause(), Some("no"));
}

#[test]
fn a_console_that_cannot_be_read_is_told_before_the_wait() {
    let (bench, vm) = small(Guest::new());
    waited(&bench, &vm, Goal::CloudInit).unwrap_err();
    let warnings = bench.told.warnings();
    assert!(warnings.iter().any(|w| w.contains("can only time out")), "{warnings:?}");
}

#[test]
fn the_longest_time_is_no_overflow() {
    let (bench, vm) = small(Guest::new().agent_answer("guest-ping", r#"{"return":{}}"#).agent_after(2));
    wait_for_vm(&bench.context(), &vm, Goal::Agent, Duration::MAX).unwrap();
    // It did wait, for the agent and not for longer.
    let waited_for = bench.clock.elapsed();
    assert!(waited_for > Duration::ZERO && waited_for < MINUTE, "{waited_for:?}");
}

#[test]
fn a_lost_connection_does_not_take_the_vm_with_it() {
    for n in 0..4 {
        let (bench, vm) = small(Guest::new());
        bench.host.forget_calls();
        bench.host.fail_at(n, Effect::BrokenBefore);
        let error = waited(&bench, &vm, Goal::Ip).unwrap_err();
        assert_eq!(error.kind(), Kind::Connection);
        assert_eq!(error.outcome_texts(), [STAYS], "{}", whole(&error));
    }
}
