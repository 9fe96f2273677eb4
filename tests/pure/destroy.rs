//! Destroying a VM on the host in memory: exactly its own things go, whatever state it is in.
//! Faults, and whose a volume is, are in `destroy_faults.rs` and `destroy_volumes.rs`.

use std::time::Duration;

use crate::support::bench::{Bench, FORCE, GENTLE, foreign, host_with_neighbours, whole};
use crate::support::manifests::{WEB, plan};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::memory::{Guest, OnShutdown};
use foundry::host::{DomainState, Domains};
use foundry::operations::Clock;
use foundry::operations::vm::destroy::DestroyOptions;

const NOTHING: [&str; 0] = [];

/// The host must be as it was before `web` was ever created.
fn assert_nothing_left(bench: &Bench, label: &str) {
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING, "{label}");
}

fn asked_to_shut_down(bench: &Bench) -> bool {
    bench.host.calls().contains(&"request_shutdown web".to_owned())
}

#[test]
fn it_marks_first_stops_deletes_and_undefines_last() {
    let bench = Bench::with_web();
    bench.destroy("web", GENTLE).unwrap();
    let changing = ["set_record", "request_shutdown", "force_off", "delete_volume", "undefine"];
    let calls = bench.host.calls();
    let steps: Vec<&str> = calls
        .iter()
        .map(String::as_str)
        .filter(|c| changing.iter().any(|verb| c.starts_with(verb)))
        .collect();
    assert_eq!(
        steps,
        [
            "set_record web",
            "request_shutdown web",
            "delete_volume foundry-vms/web_boot",
            "delete_volume foundry-vms/web_data-vdb",
            "delete_volume foundry-vms/web_data-vdc",
            "delete_volume foundry-vms/web_cloudinit",
            "undefine web",
        ]
    );
    assert_eq!(bench.told.done(), ["VM stopped", "Storage removed", "Domain undefined"]);
    assert_nothing_left(&bench, "running");
}

/// FACTS 5 and 6: from every state, and nothing of the neighbours whose names begin alike.
#[test]
fn it_goes_from_every_state() {
    use DomainState as S;
    for (state, asked) in [
        (S::Running, true),
        (S::Blocked, true),
        (S::ShuttingDown, true),
        (S::Paused, false),
        (S::Suspended, false),
        (S::Crashed, false),
        (S::Unknown(23), false),
        (S::ShutOff, false),
    ] {
        for options in [GENTLE, FORCE] {
            let bench = Bench::with_web();
            bench.host.set_state("web", state);
            bench.destroy("web", options).unwrap();
            assert_nothing_left(&bench, &state.to_string());
            assert_eq!(asked_to_shut_down(&bench), asked && !options.force, "{state:?}");
        }
    }
}

#[test]
fn a_guest_gets_its_time_and_no_more() {
    for (guest, forced, least, most) in [
        (OnShutdown::AtOnce, false, 0, 0),
        (OnShutdown::AfterLooks(3), false, 1, 2),
        (OnShutdown::Never, true, 5, 6),
    ] {
        let bench = Bench::with_web();
        bench.host.set_guest("web", Guest::new().on_shutdown(guest));
        bench.destroy("web", GENTLE).unwrap();
        assert_nothing_left(&bench, "a slow guest");
        let took = bench.clock.elapsed().as_secs_f32().ceil() as u64;
        assert!((least..=most).contains(&took), "{guest:?} took {took} s");
        let warned = bench.told.warnings().iter().any(|w| w.contains("did not shut down in 5 s"));
        assert_eq!(warned, forced, "{guest:?}");
        assert_eq!(bench.host.calls().contains(&"force_off web".to_owned()), forced, "{guest:?}");
    }
}

#[test]
fn the_time_is_the_users() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().on_shutdown(OnShutdown::Never));
    bench.destroy("web", DestroyOptions { timeout: Duration::from_secs(60), ..GENTLE }).unwrap();
    assert!(bench.clock.elapsed() >= Duration::from_secs(60));
}

/// A guest that cannot be stopped keeps its disks.
#[test]
fn a_guest_that_goes_on_keeps_its_disks() {
    let bench = Bench::with_web();
    let look_after = {
        let clean = Bench::with_web();
        clean.destroy("web", FORCE).unwrap();
        clean.host.calls().iter().position(|c| c == "force_off web").unwrap() + 1
    };
    bench.host.on_call(look_after, |host| host.set_state("web", DomainState::Running));
    let error = bench.destroy("web", FORCE).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm);
    assert_eq!(error.to_string(), "VM 'web' cannot be stopped: it is still running");
    assert!(!bench.host.calls().iter().any(|c| c.starts_with("delete") || c.starts_with("undefine")));
    bench.destroy("web", FORCE).unwrap();
    assert_nothing_left(&bench, "at last");
}

#[test]
fn an_unknown_name_is_told_with_the_nearest() {
    let bench = Bench::with_web();
    let before = bench.host.fingerprint();
    let error = bench.destroy("webb", GENTLE).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "there is no VM 'webb'"));
    assert_eq!(error.hint_text().as_deref(), Some("did you mean 'web'?"));
    let error = bench.destroy("database", GENTLE).unwrap_err();
    assert_eq!(error.hint_text().as_deref(), Some("foundry list --all shows all VMs"));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

#[test]
fn a_foreign_domain_of_that_very_spelling_comes_first() {
    let bench = Bench::with_web();
    bench.host.define_domain(&foreign("WEB", "/elsewhere")).unwrap();
    let error = bench.destroy("WEB", GENTLE).unwrap_err();
    assert!(error.message().contains("'WEB' was not made by foundry"), "{error}");
}

/// It takes two looks to be surprised: what the survey saw is what goes, by UUID.
#[test]
fn a_domain_that_took_the_name_after_the_survey_stays() {
    let bench = Bench::with_web();
    let demolition = bench.survey("web", FORCE).unwrap();
    bench.host.undefine(bench.host.uuid_of("web").unwrap()).unwrap();
    bench.host.force_off(demolition.domain.uuid).unwrap();
    bench.host.define_domain(&foreign("web", "/pool/vms/web_boot")).unwrap();
    let error = foundry::operations::vm::destroy::execute_destroy(&bench.context(), &demolition).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm, "{}", whole(&error));
    assert!(bench.host.uuid_of("web").is_some());
    assert!(bench.host.files().contains(&"/pool/vms/web_boot".to_owned()));
}

#[test]
fn looking_changes_nothing() {
    let bench = Bench::with_web();
    let before = bench.host.fingerprint();
    let survey = bench.survey("web", GENTLE).unwrap();
    let names: Vec<&str> = survey.volumes.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(names, ["web_boot", "web_data-vdb", "web_data-vdc", "web_cloudinit"]);
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// What a record says is removed with the rights of whoever destroys: only the log that foundry itself names
/// goes. That it does is a live test's to see.
#[test]
fn a_console_log_of_somebody_elses_choosing_stays_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "precious\n").unwrap();
    let bench = Bench::on(host_with_neighbours().local());
    bench.create(&plan(WEB)).unwrap();
    bench.edit_record("web", |record| record["consoleLog"] = victim.to_str().unwrap().into());
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious\n");
    let named = bench.told.warnings().iter().any(|w| w.contains(victim.to_str().unwrap()));
    assert!(named, "{:?}", bench.told.warnings());
}

#[test]
fn the_console_log_of_another_machine_is_named() {
    let bench = Bench::with_web();
    bench.destroy("web", GENTLE).unwrap();
    let named = bench.told.warnings().iter().any(|w| w.contains("web-console.log on the host"));
    assert!(named, "{:?}", bench.told.warnings());
}

/// The user waits for a guest; meanwhile another one takes the VM away and makes a new one of that name.
#[test]
fn the_disks_of_a_vm_that_took_the_place_stay() {
    let bench = Bench::with_web();
    let demolition = bench.survey("web", GENTLE).unwrap();
    bench.destroy("web", FORCE).unwrap();
    bench.create(&plan(WEB)).unwrap();
    let before = bench.host.fingerprint();
    let error = foundry::operations::vm::destroy::execute_destroy(&bench.context(), &demolition).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm, "{}", whole(&error));
    assert!(whole(&error).contains("deleted by another process"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// The same, in the middle: after the mark, when the guest is asked to shut down.
#[test]
fn the_disks_of_a_vm_that_took_the_place_while_the_guest_was_waited_for_stay() {
    let bench = Bench::with_web();
    let demolition = bench.survey("web", GENTLE).unwrap();
    bench.host.forget_calls();
    let web = bench.host.uuid_of("web").unwrap();
    bench.host.on_call(2, move |host| {
        host.force_off(web).unwrap();
        host.undefine(web).unwrap();
        host.define_domain(&foreign("web", "/pool/vms/web_boot")).unwrap();
    });
    let error = foundry::operations::vm::destroy::execute_destroy(&bench.context(), &demolition).unwrap_err();
    assert!(whole(&error).contains("nothing more was deleted"), "{}", whole(&error));
    assert!(bench.host.files().contains(&"/pool/vms/web_boot".to_owned()));
}

/// A domain that was copied with its metadata names volumes that are the original's.
#[test]
fn a_copied_record_is_no_record() {
    let bench = Bench::with_web();
    let record = bench.host.domain("web").unwrap().unwrap().record.unwrap();
    let copy = foreign("copy", "/srv/copy.qcow2");
    let copy = bench.host.define_domain(&copy).unwrap();
    bench.host.set_record(copy, &record).unwrap();
    let error = bench.survey("copy", GENTLE).unwrap_err();
    assert!(whole(&error).contains("was not made by foundry"), "{}", whole(&error));
    let forced = bench.survey("copy", FORCE).unwrap();
    assert_eq!(forced.volumes, [], "not even by force");
}

/// FACTS 9: a domain with EFI variables is undefined with them.
#[test]
fn efi_variables_go_too() {
    let bench = Bench::with_web();
    assert!(bench.host.fingerprint().lines().any(|l| l.contains("domain web") && l.ends_with("nvram true")));
    bench.destroy("web", GENTLE).unwrap();
    assert_nothing_left(&bench, "NVRAM");
}
