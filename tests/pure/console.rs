//! The console: who may have it, how a session ends, and a fault at every call.

use crate::support::bench::{Bench, whole};
use crate::support::faults::each_fault;
use foundry::Code;
use foundry::host::memory::Guest;
use foundry::host::{ConsoleOutput, DomainState, Domains};
use foundry::operations::vm::console_session::{close_ended, open_console};

const NOTHING: [&str; 0] = [];

fn code(bench: &Bench, name: &str) -> Option<Code> {
    open_console(&bench.context(), name, false).err().map(|error| error.code())
}

#[test]
fn a_guest_reads_and_answers() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().console_answer("uname\r", "Linux\r\n/ # "));
    let context = bench.context();
    let uuid = bench.host.uuid_of("web").unwrap().to_string();
    let mut session = open_console(&context, &uuid, false).unwrap();
    assert_eq!((session.vm(), session.is_paused()), ("web", false));
    assert_eq!(session.console.read().unwrap(), ConsoleOutput::Bytes(Vec::new()));
    session.console.write(b"uname\r").unwrap();
    assert_eq!(session.console.read().unwrap(), ConsoleOutput::Bytes(b"Linux\r\n/ # ".to_vec()));
}

#[test]
fn a_second_session_is_refused_or_takes_over() {
    let bench = Bench::with_web();
    let context = bench.context();
    let mut first = open_console(&context, "web", false).unwrap();
    let error = open_console(&context, "web", false).err().unwrap();
    assert_eq!(error.code(), Code::ConsoleInUse);
    let text = whole(&error);
    for said in
        ["another session has the console of VM 'web'", "foundry console web --force", "nothing was changed"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let mut second = open_console(&context, "web", true).unwrap();
    assert_eq!(first.console.read().unwrap(), ConsoleOutput::Ended);
    let error = close_ended(&context, first).unwrap_err();
    assert_eq!(error.code(), Code::ConsoleInUse, "{}", whole(&error));
    assert!(whole(&error).contains("was taken over by another session"), "{}", whole(&error));
    assert_eq!(second.console.read().unwrap(), ConsoleOutput::Bytes(Vec::new()));
    drop(second);
    assert_eq!(code(&bench, "web"), None, "it is free again");
}

#[test]
fn a_session_ends_with_the_vm() {
    let bench = Bench::with_web();
    let context = bench.context();
    for gone in [false, true] {
        bench.host.set_state("web", DomainState::Running);
        let mut session = open_console(&context, "web", false).unwrap();
        let uuid = bench.host.uuid_of("web").unwrap();
        bench.host.force_off(uuid).unwrap();
        if gone {
            bench.host.undefine(uuid).unwrap();
        }
        assert_eq!(session.console.read().unwrap(), ConsoleOutput::Ended);
        close_ended(&context, session).unwrap();
    }
}

#[test]
fn only_a_whole_vm_that_is_on_has_a_console() {
    use DomainState::{Crashed, Paused, Running, ShutOff};
    let bench = Bench::with_web();
    for (state, expected) in
        [(ShutOff, Some(Code::GuestOff)), (Paused, None), (Crashed, None), (Running, None)]
    {
        bench.host.set_state("web", state);
        assert_eq!(code(&bench, "web"), expected, "{state}");
    }
    let foreign = bench.host.domains(false).unwrap().into_iter().find(|d| d.own_record().is_none()).unwrap();
    assert_eq!(code(&bench, &foreign.name), Some(Code::NotFoundrys));
    assert_eq!(code(&bench, "nobody"), Some(Code::VmMissing));
    bench.host.set_state("web", ShutOff);
    let error = open_console(&bench.context(), "web", true).err().unwrap();
    assert!(whole(&error).contains("foundry logs web shows what its console said"), "{}", whole(&error));
}

/// It goes off between the look and the call.
#[test]
fn a_vm_that_goes_off_meanwhile_is_off() {
    let bench = Bench::with_web();
    bench.host.forget_calls();
    drop(open_console(&bench.context(), "web", false).unwrap());
    let at = bench.host.calls().iter().position(|call| call.starts_with("open_console")).unwrap();
    bench.host.forget_calls();
    bench.host.on_call(at, |host| host.force_off(host.uuid_of("web").unwrap()).unwrap());
    assert_eq!(code(&bench, "web"), Some(Code::GuestOff));
}

/// A session changes nothing on the host, and leaves the console to the next.
#[test]
fn a_session_that_fails_anywhere_leaves_the_console_free() {
    let faults = each_fault(
        Bench::with_web,
        |bench| {
            let context = bench.context();
            let mut session = open_console(&context, "web", false)?;
            session.console.write(b"x")?;
            session.console.read()?;
            Ok(())
        },
        |bench, _, _, label| {
            let before = bench.start.as_ref().unwrap();
            assert_eq!(bench.host.changes_since(before), NOTHING, "{label}");
            assert!(open_console(&bench.context(), "web", true).is_ok(), "{label}");
        },
    );
    assert!(faults >= 24, "{faults}");
}
