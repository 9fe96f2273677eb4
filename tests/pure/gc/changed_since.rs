//! What another process works on, or has changed since it was listed.

use super::{NEIGHBOURS, NOTHING, edit_mark, fates, littered, look, refused, run, torso};
use crate::support::bench::{Bench, GENTLE, GIB, foreign, whole};
use crate::support::manifests::{WEB, plan};
use foundry::Kind;
use foundry::host::memory::{Effect, MemoryHost};
use foundry::host::{DomainState, Domains, Volumes};
use foundry::operations::gc::{LeftoverAction, choose_leftovers, execute_cleanup, find_leftovers};
use foundry::record::VolumeRef;
use foundry::units::Bytes;

#[test]
fn what_somebody_works_on_stays() {
    for (host, told) in [(None, "process "), (Some("another machine"), "a process on another machine ")] {
        let edit = |maker: &mut serde_json::Value| {
            if let Some(host) = host {
                maker["host"] = host.into();
            }
        };
        let bench = Bench::new();
        bench.host.fail_calls_named_with("upload", Effect::BrokenBefore);
        bench.create(&plan(WEB)).unwrap_err();
        bench.host.heal();
        bench.edit_record("web", |record| edit(&mut record["maker"]));
        torso(&bench);
        edit_mark(&bench.host, "/pool/images/new.qcow2", edit);
        let before = bench.host.fingerprint();
        let found = look(&bench);
        let names = ["foundry-images/new.qcow2", "web"];
        assert_eq!(fates(&found), names.map(|name| (name.to_owned(), LeftoverAction::Keep)).into());
        for remains in found.found.iter().filter(|r| names.contains(&r.name.as_str())) {
            assert!(remains.reason.starts_with(told), "{remains:?}");
        }
        run(&bench, &[]).unwrap();
        assert_eq!(bench.host.changes_since(&before), NOTHING);
        for name in names {
            assert!(refused(&bench, &[name]).contains("cannot be cleaned up: "), "{name}");
        }
    }
}

/// A destruction that goes on may be waiting for its guest to shut down.
#[test]
fn a_destruction_that_goes_on_is_left_alone() {
    let bench = Bench::with_web();
    bench.host.fail_calls_named_with("request_shutdown", Effect::BrokenBefore);
    bench.destroy("web", GENTLE).unwrap_err();
    bench.host.heal();
    let why = refused(&bench, &["web"]);
    assert!(why.contains(&format!("process {} destroys it", std::process::id())), "{why}");
    assert!(why.contains("hint: foundry destroy web"), "{why}");
}

#[test]
fn a_half_vm_that_was_started_since_stays() {
    let bench = littered();
    let context = bench.context();
    let found = find_leftovers(&context, None).unwrap();
    let chosen = choose_leftovers(&context, &found, &["web".into()]).unwrap();
    bench.host.set_state("web", DomainState::Running);
    let before = bench.host.fingerprint();
    let errors = execute_cleanup(&context, None, &chosen, |_| {}).unwrap_err();
    assert!(whole(&errors[0]).contains("it is running now"), "{errors:?}");
    assert_eq!(bench.host.changes_since(&before), NOTHING);
}

/// A VM that was made of it while the user thought about it.
#[test]
fn a_volume_that_is_used_since_it_was_looked_at_stays() {
    let orphan = NEIGHBOURS[1];
    type Change = fn(&MemoryHost);
    let changes: [(&str, Change); 3] = [
        ("domain 'late' uses it", |host| {
            host.define_domain(&foreign("late", "/pool/vms/web_data-vdx")).unwrap();
        }),
        ("it is another volume now", |host| {
            host.resize_volume(&VolumeRef::new("foundry-vms", "web_data-vdx"), Bytes(2 * GIB)).unwrap();
        }),
        ("is based on it", |host| {
            let xml = "<volume><name>late</name><capacity>9</capacity><target><format type='qcow2'/></target>\
                       <backingStore><path>/pool/vms/web_data-vdx</path><format type='qcow2'/></backingStore></volume>";
            host.create_volume("foundry-vms", xml).unwrap();
        }),
    ];
    for (why, change) in changes {
        let bench = Bench::new();
        let context = bench.context();
        let found = find_leftovers(&context, None).unwrap();
        let chosen = choose_leftovers(&context, &found, &[orphan.into()]).unwrap();
        change(&bench.host);
        let before = bench.host.fingerprint();
        let errors = execute_cleanup(&context, None, &chosen, |_| {}).unwrap_err();
        assert!(whole(&errors[0]).contains(why), "{why}: {errors:?}");
        assert_eq!(errors[0].kind(), Kind::Storage);
        assert_eq!(bench.host.changes_since(&before), NOTHING);
    }
}

/// The name is another VM's by now, whose disks have the same names.
#[test]
fn a_half_vm_that_was_replaced_since_stays() {
    let bench = littered();
    let context = bench.context();
    let found = find_leftovers(&context, None).unwrap();
    let chosen = choose_leftovers(&context, &found, &["web".into()]).unwrap();
    bench.destroy("web", GENTLE).unwrap();
    bench.create(&plan(WEB)).unwrap();
    let before = bench.host.fingerprint();
    execute_cleanup(&context, None, &chosen, |_| {}).unwrap();
    assert_eq!(bench.host.changes_since(&before), NOTHING);
    assert!(bench.told.done().contains(&"VM 'web' was deleted by another process meanwhile".to_owned()));
}
