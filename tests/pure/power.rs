//! Starting, stopping, restarting, pausing and resuming: what each does in each state, and a fault at every call.

use std::time::Duration;

use crate::support::bench::{Bench, FORCE, whole};
use crate::support::faults::each_fault;
use foundry::host::memory::{Guest, OnShutdown};
use foundry::host::{DomainState, Domains, StateReason};
use foundry::operations::Context;
use foundry::operations::vm::power::{self, PowerChange, PowerReport, StopOptions};
use foundry::{Code, Error, Kind};

const NOTHING: [&str; 0] = [];
const ASK: StopOptions = StopOptions { force: false, timeout: Duration::from_secs(30) };
const FORCED: StopOptions = StopOptions { force: true, ..ASK };

/// A verb, as a test calls it.
type Verb = fn(&Context, &str) -> Result<PowerReport, Error>;

fn start(context: &Context, vm: &str) -> Result<PowerReport, Error> {
    power::start(context, vm, false)
}

fn start_fresh(context: &Context, vm: &str) -> Result<PowerReport, Error> {
    power::start(context, vm, true)
}

fn stop(context: &Context, vm: &str) -> Result<PowerReport, Error> {
    power::stop(context, vm, ASK)
}

fn stop_forced(context: &Context, vm: &str) -> Result<PowerReport, Error> {
    power::stop(context, vm, FORCED)
}

fn restart(context: &Context, vm: &str) -> Result<PowerReport, Error> {
    power::restart(context, vm, ASK)
}

fn state(bench: &Bench) -> DomainState {
    bench.host.state(bench.host.uuid_of("web").unwrap()).unwrap().unwrap().state
}

fn bench_in(state: DomainState) -> Bench {
    let bench = Bench::with_web();
    bench.host.set_state("web", state);
    bench
}

#[test]
fn each_verb_brings_each_state_where_it_says() {
    use DomainState::{Crashed, Paused, Running, ShutOff};
    use PowerChange as Change;
    type Told = Result<Change, Code>;
    let table: [(&str, Verb, [Told; 4], [DomainState; 4]); 8] = [
        // Running, paused, off, crashed: what is said, and the state afterwards.
        (
            "start",
            start,
            [Ok(Change::AlreadyRunning), Err(Code::GuestPaused), Ok(Change::Started), Err(Code::GuestPaused)],
            [Running, Paused, Running, Crashed],
        ),
        (
            "start --force",
            start_fresh,
            [Ok(Change::AlreadyRunning), Err(Code::GuestPaused), Ok(Change::Started), Err(Code::GuestPaused)],
            [Running, Paused, Running, Crashed],
        ),
        (
            "stop",
            stop,
            [Ok(Change::Stopped), Err(Code::GuestPaused), Ok(Change::AlreadyOff), Err(Code::GuestPaused)],
            [ShutOff, Paused, ShutOff, Crashed],
        ),
        (
            "stop --force",
            stop_forced,
            [Ok(Change::ForcedOff), Ok(Change::ForcedOff), Ok(Change::AlreadyOff), Ok(Change::ForcedOff)],
            [ShutOff; 4],
        ),
        (
            "restart",
            restart,
            [Ok(Change::Restarted), Err(Code::GuestPaused), Ok(Change::Started), Err(Code::GuestPaused)],
            [Running, Paused, Running, Crashed],
        ),
        (
            "restart --reboot",
            power::reboot,
            [
                Ok(Change::RebootRequested),
                Err(Code::GuestPaused),
                Err(Code::GuestOff),
                Err(Code::GuestPaused),
            ],
            [Running, Paused, ShutOff, Crashed],
        ),
        (
            "pause",
            power::pause,
            [Ok(Change::Paused), Ok(Change::AlreadyPaused), Err(Code::GuestOff), Err(Code::GuestPaused)],
            [Paused, Paused, ShutOff, Crashed],
        ),
        (
            "resume",
            power::resume,
            [Ok(Change::AlreadyRunning), Ok(Change::Resumed), Err(Code::GuestOff), Err(Code::GuestPaused)],
            [Running, Running, ShutOff, Crashed],
        ),
    ];
    for (name, verb, told, after) in table {
        for (index, before) in [Running, Paused, ShutOff, Crashed].into_iter().enumerate() {
            let bench = Bench::with_web();
            let why = if before == Paused { StateReason::ByUser } else { StateReason::NotSaid };
            bench.host.set_state_because("web", before, why);
            let said = verb(&bench.context(), "web");
            let said = said.map(|report| report.change).map_err(|error| error.code());
            assert_eq!(said, told[index], "{name} of a VM that is {before}");
            assert_eq!(state(&bench), after[index], "{name} of a VM that was {before}");
        }
    }
}

#[test]
fn a_report_has_the_name_of_a_vm_that_was_given_by_its_uuid() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap().to_string();
    let report = power::pause(&bench.context(), &uuid).unwrap();
    assert_eq!(report, PowerReport { vm: "web".into(), change: PowerChange::Paused });
}

/// A guest that is booting does not notice the first press.
#[test]
fn the_power_button_is_pressed_again() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().on_shutdown(OnShutdown::Never));
    let error = stop(&bench.context(), "web").unwrap_err();
    assert_eq!((error.code(), error.kind()), (Code::ShutdownIgnored, Kind::Timeout));
    assert_eq!(state(&bench), DomainState::Running, "it is never forced off by itself");
    let presses = bench.host.calls().iter().filter(|call| call.starts_with("request_shutdown")).count();
    assert_eq!(presses, 4, "at 0, 10, 20 and 30 s: {:?}", bench.host.calls());
    let text = whole(&error);
    for said in ["did not shut down in 30 s", "foundry stop web --force", "may still do so"] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn saved_memory_is_continued_or_discarded() {
    for (verb, change) in [(start as Verb, PowerChange::Restored), (start_fresh, PowerChange::Started)] {
        let bench = Bench::with_web();
        bench.host.save("web");
        assert_eq!(verb(&bench.context(), "web").unwrap().change, change);
        let domain = bench.host.domain("web").unwrap().unwrap();
        assert_eq!((domain.state, domain.saved), (DomainState::Running, false));
    }
}

#[test]
fn an_error_that_paused_a_vm_is_told_before_it_is_resumed() {
    let bench = Bench::with_web();
    bench.host.set_state_because("web", DomainState::Paused, StateReason::IoError);
    let error = power::resume(&bench.context(), "web").unwrap_err();
    assert_eq!(error.code(), Code::GuestPaused);
    assert!(whole(&error).contains("was resumed and is paused again"), "{}", whole(&error));
    let warnings = bench.told.warnings();
    assert!(warnings[0].contains("was not paused by a user: an error of its disk"), "{warnings:?}");
}

#[test]
fn what_is_not_foundrys_or_not_whole_is_left_alone() {
    let verbs: [Verb; 6] = [start, stop, stop_forced, restart, power::pause, power::resume];
    for verb in verbs {
        let bench = Bench::with_web();
        let foreign =
            bench.host.domains(false).unwrap().into_iter().find(|d| d.own_record().is_none()).unwrap();
        let before = bench.host.fingerprint();
        assert_eq!(verb(&bench.context(), &foreign.name).unwrap_err().code(), Code::NotFoundrys);
        assert_eq!(verb(&bench.context(), "nobody").unwrap_err().code(), Code::VmMissing);
        bench.edit_record("web", |record| record["state"] = "destroying".into());
        assert_eq!(verb(&bench.context(), "web").unwrap_err().code(), Code::HalfDestroyed);
        bench.edit_record("web", |record| record["state"] = "created".into());
        assert_eq!(bench.host.changes_since(&before), NOTHING);
    }
}

/// Off, nothing would name its disks any more.
#[test]
fn a_vm_without_a_definition_is_not_stopped() {
    let bench = Bench::with_web();
    bench.host.undefine(bench.host.uuid_of("web").unwrap()).unwrap();
    for verb in [stop as Verb, stop_forced, restart] {
        let error = verb(&bench.context(), "web").unwrap_err();
        assert_eq!(error.code(), Code::ChangedMeanwhile, "{}", whole(&error));
        assert_eq!(state(&bench), DomainState::Running);
    }
}

/// Whatever call fails, nothing but the state of the VM changes, and the same again brings it there.
#[test]
fn a_verb_that_fails_at_any_call_is_finished_by_the_same_again() {
    let verbs: [(Verb, DomainState, DomainState); 6] = [
        (start, DomainState::ShutOff, DomainState::Running),
        (stop, DomainState::Running, DomainState::ShutOff),
        (stop_forced, DomainState::Running, DomainState::ShutOff),
        (restart, DomainState::Running, DomainState::Running),
        (power::pause, DomainState::Running, DomainState::Paused),
        (power::resume, DomainState::Paused, DomainState::Running),
    ];
    let mut faults = 0;
    for (verb, before, after) in verbs {
        faults += each_fault(
            || bench_in(before),
            |bench| verb(&bench.context(), "web"),
            |bench, outcome, _, label| {
                assert!(outcome.is_err() || state(bench) == after, "{label}: {outcome:?}");
                verb(&bench.context(), "web").unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
                assert_eq!(state(bench), after, "{label}");
                bench.destroy("web", FORCE).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
                assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING, "{label}");
            },
        );
    }
    assert!(faults > 60, "{faults}");
}
