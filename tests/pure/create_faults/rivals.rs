//! Another process creates, replaces or deletes something during a creation.

use super::{asked_for, first_use};
use crate::support::bench::{Bench, foreign, whole};
use crate::support::faults::shape;
use crate::support::manifests::{WEB, plan};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::memory::Effect;
use foundry::host::{Domains, Pools, Volumes};
use foundry::record::VolumeRef;

/// Its definition was taken away, and another VM has the name and the volumes' names: nothing of that one's goes, and
/// no advice leads to it.
#[test]
fn what_is_somebody_elses_by_now_is_neither_removed_nor_advised_away() {
    let upload = {
        let clean = Bench::new();
        clean.create(&plan(WEB)).unwrap();
        clean.host.calls().iter().position(|c| c.starts_with("upload")).unwrap()
    };
    let bench = Bench::new();
    bench.host.fail_calls_named("upload");
    bench.host.on_call(upload, |host| {
        host.undefine(host.uuid_of("web").unwrap()).unwrap();
        host.define_domain(&foreign("web", "/pool/vms/web_boot")).unwrap();
    });
    let error = bench.create(&plan(WEB)).unwrap_err();
    let told = whole(&error);
    assert!(!told.contains("foundry destroy"), "{told}");
    assert!(told.contains("VM 'web' was deleted by another process meanwhile"), "{told}");
    assert!(
        told.contains("volume 'web_boot' in pool 'foundry-vms' (it may belong to another VM by now)"),
        "{told}"
    );
    assert!(bench.host.uuid_of("web").is_some());
    assert!(bench.host.files().contains(&"/pool/vms/web_boot".to_owned()));
}

/// As `foundry destroy` does between the mark and the start.
#[test]
fn what_a_rival_destroyed_is_not_told_of_as_left() {
    let calls = {
        let clean = Bench::new();
        clean.create(&plan(WEB)).unwrap();
        clean.host.calls()
    };
    let start = calls.iter().position(|c| c.starts_with("start")).unwrap();
    let bench = Bench::new();
    bench.host.on_call(start, |host| {
        for volume in host.volumes("foundry-vms").unwrap() {
            host.delete_volume(&VolumeRef::new("foundry-vms", &volume.name)).unwrap();
        }
        host.undefine(host.uuid_of("web").unwrap()).unwrap();
    });
    let told = whole(&bench.create(&plan(WEB)).unwrap_err());
    assert!(told.contains("VM 'web' was deleted by another process meanwhile"), "{told}");
    assert!(!told.contains("volume '") && !told.contains("foundry destroy"), "{told}");
}

/// The definition is the reservation: who comes second finds nothing changed, and changes nothing.
#[test]
fn a_rival_that_defines_the_name_in_between_keeps_everything() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let define = clean.host.calls().iter().position(|c| c == "define_domain web").unwrap();
    for n in 1..=define {
        let bench = Bench::new();
        bench.host.on_call(n, |host| {
            host.define_domain(&foreign("web", "/pool/vms/web_1_boot")).unwrap();
        });
        let error = bench.create(&plan(WEB)).unwrap_err();
        assert_eq!(error.kind(), Kind::Vm, "{}", whole(&error));
        assert_eq!(error.outcome_texts(), ["nothing was changed"]);
        assert_eq!(
            shape(&bench.host).difference(&shape(&Bench::new().host)).count(),
            1,
            "the rival's domain"
        );
    }
}

/// A volume that somebody else makes after the preflight is not ours to delete.
#[test]
fn a_rivals_volume_made_in_between_stays() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let at = clean.host.calls().iter().position(|c| c == "create_volume foundry-vms/web_data-vdb").unwrap();
    let bench = Bench::new();
    bench.host.on_call(at, |host| {
        let xml = "<volume><name>web_data-vdb</name><capacity>77</capacity></volume>";
        host.create_volume("foundry-vms", xml).unwrap();
    });
    let before = bench.host.fingerprint();
    let error = bench.create(&plan(WEB)).unwrap_err();
    assert_eq!(error.kind(), Kind::Storage);
    let changes = bench.host.changes_since(&before);
    assert_eq!(changes.len(), 1, "{changes:?}\n{}", whole(&error));
    assert!(changes[0].starts_with("+ file /pool/vms/web_data-vdb: raw, capacity 77"), "{changes:?}");
}

/// Two first creations at once both want the default pool; whoever comes second takes what is there.
#[test]
fn a_rival_that_makes_the_pool_in_between_is_no_failure() {
    let wanted = asked_for(&first_use);
    let clean = first_use();
    clean.create(&plan(WEB)).unwrap();
    let at = |call: &str| clean.host.calls().iter().position(|c| c == call).unwrap();
    let xml = "<pool type='dir'><name>foundry-vms</name><target><path>/var/lib/libvirt/images/foundry/vms</path></target></pool>";
    for (call, rival_starts) in [
        ("define_pool foundry-vms", false),
        ("define_pool foundry-vms", true),
        ("start_pool foundry-vms", true),
    ] {
        let bench = first_use();
        bench.host.on_call(at(call), move |host| {
            if host.pool("foundry-vms").unwrap().is_none() {
                host.define_pool(xml).unwrap();
            }
            if rival_starts {
                host.build_pool("foundry-vms").unwrap();
                host.start_pool("foundry-vms").unwrap();
            }
        });
        bench.create(&plan(WEB)).unwrap();
        assert_eq!(shape(&bench.host), wanted, "{call}");
    }
}

/// Whoever deletes an image may have looked who uses it before there was a VM.
#[test]
fn an_image_that_is_deleted_while_a_vm_is_made_from_it_ends_the_creation() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let at = |call: &str| clean.host.calls().iter().position(|c| c == call).unwrap();
    for n in at("define_domain web")..=at("start web") + 1 {
        let bench = Bench::new();
        let before = bench.host.fingerprint();
        bench
            .host
            .on_call(n, |host| host.delete_volume(&VolumeRef::new("foundry-images", "debian-12")).unwrap());
        let error = bench.create(&plan(WEB)).unwrap_err();
        assert_eq!(error.kind(), Kind::Storage, "call {n}: {}", whole(&error));
        assert!(!whole(&error).contains("foundry destroy"), "call {n}: {}", whole(&error));
        let changes = bench.host.changes_since(&before);
        assert!(
            changes.len() == 1 && changes[0].starts_with("- file /pool/images/debian-12"),
            "call {n}: {changes:?}"
        );
        if n > at("create_volume foundry-vms/web_boot") {
            let told =
                "image 'foundry-images:debian-12' was deleted while VM 'web' was being created from it";
            assert_eq!(error.message(), told, "call {n}");
        }
    }
}

/// A VM that runs is not taken away because its pool was stopped or nobody answers.
#[test]
fn an_image_that_cannot_be_looked_at_is_not_taken_for_deleted() {
    let clean = Bench::new();
    clean.create(&plan(WEB)).unwrap();
    let last = clean.host.call_count() - 1;
    let bench = Bench::new();
    bench.host.on_call(last, |host| host.stop_pool("foundry-images").unwrap());
    bench.create(&plan(WEB)).unwrap();
    let bench = Bench::new();
    bench.host.fail_at(last, Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap();
}
