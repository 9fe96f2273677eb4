//! What an interrupted creation leaves, and who may take it away: the same `create` again, or `destroy`.

use crate::support::bench::{Bench, FORCE, GENTLE, foreign, whole};
use crate::support::faults::shape;
use crate::support::manifests::{WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{DomainState, Domains, Pools, Volumes};
use foundry::record::RecordState;
use foundry::record::VolumeRef;
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];

/// A host on which foundry was killed when it was to fill the seed. Its process still counts as alive.
fn killed_at_upload() -> Bench {
    let bench = Bench::new();
    bench.host.fail_calls_named_with("upload", Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap_err();
    bench.host.heal();
    bench
}

fn dead() -> Bench {
    let mut bench = killed_at_upload();
    bench.next_run("web");
    bench
}

fn elsewhere() -> Bench {
    let bench = killed_at_upload();
    bench.edit_record("web", |record| record["maker"]["host"] = "another machine".into());
    bench
}

#[test]
fn a_creation_that_goes_on_is_left_alone() {
    let bench = killed_at_upload();
    let before = bench.host.fingerprint();
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm);
    let pid = std::process::id();
    assert!(error.text().contains(&format!("VM 'web' is being created by process {pid}")), "{error}");
    for options in [GENTLE, FORCE] {
        let error = bench.destroy("web", options).unwrap_err();
        assert!(error.text().contains(&format!("is being created by process {pid}")), "{error}");
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
    }
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// A controller runs for months: what it gave up is no work in progress, though the process that began it runs.
#[test]
fn a_creation_that_a_running_process_gave_up_is_replaced() {
    let mut bench = killed_at_upload();
    let before = bench.record("web");
    bench.next_operation();
    assert_eq!(bench.record("web"), before, "the process is the same, and it runs");
    bench.create(&plan(WEB)).unwrap();
    let after = bench.record("web");
    assert_eq!((after.state, after.maker.pid), (RecordState::Created, before.maker.pid));
    assert_ne!((after.domain, after.maker.operation), (before.domain, before.maker.operation));
}

#[test]
fn one_of_another_machine_needs_force() {
    let bench = elsewhere();
    let before = bench.host.fingerprint();
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert!(whole(&error).contains("foundry destroy web --force"), "{}", whole(&error));
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert!(error.text().contains("from another machine"), "{error}");
    assert!(whole(&error).contains("foundry destroy web --force"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.destroy("web", FORCE).unwrap();
    assert_eq!(bench.host.changes_since(&Bench::new().host.fingerprint()), NOTHING);
}

#[test]
fn the_same_create_replaces_what_a_dead_one_left() {
    let bench = dead();
    bench.create(&plan(WEB)).unwrap();
    let clean = Bench::with_web();
    assert_eq!(shape(&bench.host), shape(&clean.host));
    assert_eq!(bench.record("web").state, RecordState::Created);
    assert!(bench.told.done().contains(&"Remains of an interrupted creation removed".to_owned()));
}

/// libvirt finishes a call whose caller is gone, and as long as it makes a volume it will not look at the pool anew.
#[test]
fn a_volume_that_libvirt_still_makes_is_waited_for() {
    let killed = || {
        let mut bench = Bench::new();
        bench.host.fail_calls_named_with("create_volume foundry-vms/web_data-vdb", Effect::BrokenBefore);
        bench.create(&plan(WEB)).unwrap_err();
        bench.host.heal();
        bench.next_run("web");
        bench.host.forget_calls();
        bench
    };
    let commands: [fn(&Bench); 2] =
        [|b| b.destroy("web", GENTLE).unwrap(), |b| b.create(&plan(WEB)).map(drop).unwrap()];
    for (command, becomes) in commands.into_iter().zip([Bench::new(), Bench::with_web()]) {
        let bench = killed();
        command(&bench);
        let look = bench.host.calls().iter().position(|c| c == "refresh_pool foundry-vms").unwrap();

        let bench = killed();
        bench.host.fail_at(look, Effect::RefuseBefore);
        // The pool is looked at, and then again.
        bench.host.on_call(look + 2, |host| {
            let xml = "<volume><name>web_data-vdb</name><capacity>10737418240</capacity>\
                       <target><format type='qcow2'/></target></volume>";
            host.create_volume("foundry-vms", xml).unwrap();
        });
        command(&bench);
        assert!(bench.host.fault_hit());
        assert_eq!(shape(&bench.host), shape(&becomes.host));
    }
}

/// Another program may make something large in the pool: nobody waits for that for ever.
#[test]
fn a_pool_that_stays_busy_is_not_waited_for_without_an_end() {
    let bench = dead();
    bench.host.fail_calls_named("refresh_pool");
    bench.destroy("web", GENTLE).unwrap();
    bench.host.heal();
    assert_eq!(shape(&bench.host), shape(&Bench::new().host));
}

/// Foundry starts nothing that is half made: somebody did, and may work in it.
#[test]
fn remains_that_run_are_not_replaced() {
    let bench = dead();
    bench.host.set_state("web", DomainState::Running);
    let before = bench.host.fingerprint();
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm);
    assert!(error.text().contains("VM 'web' runs, although its creation was interrupted"), "{error}");
    assert!(whole(&error).contains("foundry destroy web removes it"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    bench.destroy("web", GENTLE).unwrap();
    bench.create(&plan(WEB)).unwrap();
}

/// Another manifest of the same name, on another pool, replaces it too, and takes all of it away.
#[test]
fn another_manifest_of_that_name_replaces_it_too() {
    let bench = dead();
    let vm = plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 8\n  storagePool: ssd")]);
    let missing = bench.create(&vm).unwrap_err();
    assert_eq!(missing.kind(), Kind::Storage);
    bench
        .host
        .define_pool("<pool type='dir'><name>ssd</name><target><path>/ssd</path></target></pool>")
        .unwrap();
    bench.host.build_pool("ssd").unwrap();
    bench.host.start_pool("ssd").unwrap();
    bench.create(&vm).unwrap();
    let files = bench.host.files();
    let ours: Vec<&String> =
        files.iter().filter(|f| f.contains("web_data-vdb") || f.ends_with("web_boot")).collect();
    assert_eq!(ours, ["/pool/images/web_boot", "/ssd/web_boot", "/ssd/web_data-vdb"]);
}

/// A volume under a planned name that is not what was planned may be somebody's: it stays, is named, and a
/// `create` does not go over it.
#[test]
fn a_planned_volume_that_differs_stays_and_is_named() {
    for (what, xml) in [
        (
            "capacity",
            "<volume><name>web_boot</name><capacity>99</capacity><target><format type='qcow2'/></target></volume>",
        ),
        (
            "format",
            "<volume><name>web_boot</name><capacity>21474836480</capacity><target><format type='raw'/></target></volume>",
        ),
        (
            "backing",
            "<volume><name>web_boot</name><capacity>21474836480</capacity><target><format type='qcow2'/></target></volume>",
        ),
    ] {
        let bench = dead();
        bench.host.delete_volume(&VolumeRef::new("foundry-vms", "web_boot")).unwrap();
        bench.host.create_volume("foundry-vms", xml).unwrap();
        let before = bench.host.fingerprint();
        let error = bench.create(&plan(WEB)).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage, "{what}: {}", whole(&error));
        assert!(error.text().contains("volume 'web_boot' in pool 'foundry-vms'"), "{what}: {error}");
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{what}");

        let survey = bench.survey("web", GENTLE).unwrap();
        assert!(survey.volumes.iter().all(|v| v.name != "web_boot"), "{what}");
        assert!(survey.kept_back[0].0.contains("'web_boot'"), "{what}: {:?}", survey.kept_back);
        bench.destroy("web", GENTLE).unwrap();
        assert!(bench.host.files().contains(&"/pool/vms/web_boot".to_owned()), "{what}");
        assert!(bench.told.warnings().iter().any(|w| w.contains("left: volume 'web_boot'")), "{what}");
        assert_eq!(bench.host.uuid_of("web"), None, "{what}");
        assert!(!bench.host.files().contains(&"/pool/vms/web_data-vdb".to_owned()), "{what}");
    }
}

/// libvirt does not show the volumes of a stopped pool. They must not be taken for deleted.
#[test]
fn a_stopped_pool_does_not_hide_what_was_left() {
    let bench = dead();
    bench.host.stop_pool("foundry-vms").unwrap();
    bench.create(&plan(WEB)).unwrap();
    assert_eq!(shape(&bench.host), shape(&Bench::with_web().host));

    let bench = dead();
    bench.host.stop_pool("foundry-vms").unwrap();
    let before = bench.host.fingerprint();
    let error = bench.destroy("web", GENTLE).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage, "{}", whole(&error));
    assert!(whole(&error).contains("foundry pool start foundry-vms"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// The remains change hands while they are looked at.
fn change_hands(act: impl FnOnce(&MemoryHost) + Send + 'static) -> (Bench, Error) {
    let looks = {
        let bench = dead();
        bench.host.forget_calls();
        bench.create(&plan(WEB)).unwrap();
        bench.host.calls().iter().position(|c| c == "domain web").unwrap()
    };
    let bench = dead();
    bench.host.forget_calls();
    bench.host.on_call(looks, act);
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Vm, "{}", whole(&error));
    assert!(bench.host.uuid_of("web").is_some());
    assert!(bench.host.files().contains(&"/pool/vms/web_boot".to_owned()), "nothing was deleted");
    (bench, error)
}

#[test]
fn remains_that_were_started_stay() {
    let (bench, error) = change_hands(|host| host.set_state("web", DomainState::Running));
    assert!(error.text().contains("VM 'web' was started meanwhile"), "{error}");
    assert_eq!(bench.host.domain("web").unwrap().unwrap().state, DomainState::Running);
}

#[test]
fn remains_that_became_another_domain_stay() {
    change_hands(|host| {
        let uuid = host.uuid_of("web").unwrap();
        host.undefine(uuid).unwrap();
        host.define_domain(&foreign("web", "/pool/vms/web_1_boot")).unwrap();
    });
}

#[test]
fn a_half_destroyed_vm_is_finished_first() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["state"] = "destroying".into());
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert!(error.text().contains("VM 'web' is half destroyed"), "{error}");
    assert!(whole(&error).contains("foundry destroy web finishes it"), "{}", whole(&error));
    bench.destroy("web", GENTLE).unwrap();
    bench.create(&plan(WEB)).unwrap();
}
