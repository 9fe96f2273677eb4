//! Ejecting a seed: when it may go, what goes, and a fault at every call.

use std::cell::Cell;

use crate::support::bench::{Bench, GENTLE, foreign, host_with_neighbours, neighbours_alone, whole};
use crate::support::faults::{each_fault, shape};
use crate::support::manifests::{SMALL, WEB, plan, plan_with};
use base64::Engine;
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::memory::{Effect, Guest, MemoryHost, OnUnplug};
use foundry::host::{Affect, Disks, DomainState, Domains, View};
use foundry::operations::vm::inspect;
use foundry::operations::vm::seed::{eject_seed, plan_eject};
use foundry::record::VolumeRole;
use foundry::{Error, Kind};

const NOTHING: [&str; 0] = [];
const SEED: &str = "/pool/vms/web_cloudinit";

/// A guest whose agent tells that text of cloud-init's result.
fn guest(result: &str) -> Guest {
    let text = base64::engine::general_purpose::STANDARD.encode(result);
    Guest::new()
        .agent_answer("guest-file-open", r#"{"return": 1000}"#)
        .agent_answer(
            "guest-file-read",
            &format!(r#"{{"return": {{"count": 1, "buf-b64": "{text}", "eof": true}}}}"#),
        )
        .agent_answer("guest-file-close", r#"{"return": {}}"#)
}

fn done() -> Guest {
    guest(r#"{"v1": {"errors": []}}"#)
}

fn bench() -> Bench {
    let bench = Bench::with_web();
    bench.host.set_guest("web", done());
    bench
}

fn run(bench: &Bench, force: bool) -> Result<bool, Error> {
    let context = bench.context();
    match plan_eject(&context, "web", force)? {
        Some(ejection) => eject_seed(&context, &ejection).map(|()| true),
        None => Ok(false),
    }
}

fn drives(host: &MemoryHost, view: View) -> usize {
    let xml = host.domain_xml(host.uuid_of("web").unwrap(), view).unwrap().unwrap();
    let described = DomainDescription::read(&xml).unwrap();
    described.disks.iter().filter(|d| d.source.path() == Some(SEED)).count()
}

/// Nothing of the seed is left, and everything else is.
#[track_caller]
fn assert_ejected(bench: &Bench) {
    assert!(!bench.host.files().contains(&SEED.to_owned()));
    assert_eq!((drives(&bench.host, View::Current), drives(&bench.host, View::Config)), (0, 0));
    let (record, before) = (bench.record("web"), Bench::with_web().record("web"));
    assert!(record.volumes.iter().all(|v| v.role != VolumeRole::Seed));
    assert_eq!(record.volumes.len() + 1, before.volumes.len());
    assert_eq!(record.generation, 1);
    // Their digests have a salt of each creation's own.
    assert!(record.secrets.keys().eq(before.secrets.keys()), "{:?}", record.secrets);
    assert!(record.instance_id.is_some());
}

#[test]
fn the_seed_goes_when_cloud_init_is_done() {
    let bench = bench();
    assert!(run(&bench, false).unwrap());
    assert_ejected(&bench);
    let now = bench.host.fingerprint();
    assert!(!run(&bench, false).unwrap(), "it was ejected already");
    assert_eq!(bench.host.changes_since(&now), NOTHING);
    bench.destroy("web", GENTLE).unwrap();
    assert_eq!(bench.host.changes_since(neighbours_alone()), NOTHING);
}

#[test]
fn what_it_held_cannot_be_read_back_any_more() {
    let bench = bench();
    run(&bench, false).unwrap();
    let mut seen = inspect::get_vm(&bench.context(), "web").unwrap();
    let error = foundry::operations::vm::seed_content::add_secrets(&bench.context(), &mut seen).unwrap_err();
    assert_eq!(error.to_string(), "the seed of VM 'web' cannot be read: it was ejected");
}

#[test]
fn it_stays_while_cloud_init_may_need_it() {
    for (what, guest, why) in [
        ("no agent", Guest::new(), "cloud-init in VM 'web' is not known to be done"),
        ("no result yet", guest("{}"), "cloud-init in VM 'web' is not known to be done"),
        (
            "errors",
            guest(r#"{"v1": {"errors": ["oh no"]}}"#),
            "cloud-init in VM 'web' ended with errors: oh no",
        ),
    ] {
        let bench = Bench::with_web();
        bench.host.set_guest("web", guest);
        let before = bench.host.fingerprint();
        let error = run(&bench, false).unwrap_err();
        assert!(error.to_string().starts_with(why), "{what}: {error}");
        assert!(whole(&error).contains("foundry seed eject web --force"), "{what}: {}", whole(&error));
        assert_eq!(error.kind(), Kind::Vm);
        assert_eq!(bench.host.changes_since(&before), NOTHING, "{what}");
        assert!(run(&bench, true).unwrap());
        assert_ejected(&bench);
    }
}

/// Of a VM that is off, only the console can tell.
#[test]
fn the_console_of_a_vm_that_is_off_tells() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("console.log");
    let mut bench = Bench::on(host_with_neighbours().local());
    bench.create(&plan(WEB)).unwrap();
    bench.edit_record("web", |record| record["consoleLog"] = log.to_str().unwrap().into());
    bench.host.set_state("web", DomainState::ShutOff);
    bench.start = Some(bench.host.fingerprint());
    let begun = "cloud-init[1]: Cloud-init v. 24.4 running 'modules:final' at Fri, 02 Jan 2026\n";
    let ended = "cloud-init[1]: Cloud-init v. 24.4 finished at Fri, 02 Jan 2026. Datasource NoCloud\n";
    std::fs::write(&log, begun).unwrap();
    run(&bench, false).unwrap_err();
    std::fs::write(&log, format!("{begun}x - util.py[WARNING]: Running module scripts_user failed\n{ended}"))
        .unwrap();
    assert!(run(&bench, false).unwrap_err().message().contains("ended with errors"));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING);
    std::fs::write(&log, format!("{begun}{ended}")).unwrap();
    assert!(run(&bench, false).unwrap());
    assert_ejected(&bench);
}

#[test]
fn a_vm_without_a_seed_has_none_to_eject() {
    let bench = Bench::new();
    bench.create(&plan_with(SMALL, &[("name: small", "name: web")])).unwrap();
    assert_eq!(run(&bench, true).unwrap_err().message(), "VM 'web' was made without a cloud-init seed");
}

/// A drive with another medium is its user's; an empty one is the seed's.
#[test]
fn a_drive_with_another_medium_stays() {
    let bench = bench();
    let uuid = bench.host.uuid_of("web").unwrap();
    bench.host.detach_disk(uuid, "sda", Affect::Both).unwrap();
    let other = "<disk type='file' device='cdrom'><source file='/pool/vms/web_1_boot'/><target dev='sda' bus='scsi'/></disk>";
    bench.host.attach_disk(uuid, other, Affect::Both).unwrap();
    // cloud-init is not asked: the guest has no seed.
    bench.host.set_guest("web", Guest::new());
    assert!(run(&bench, false).unwrap());
    assert_ejected(&bench);
    let xml = bench.host.domain_xml(uuid, View::Config).unwrap().unwrap();
    assert!(DomainDescription::read(&xml).unwrap().disk("sda").is_some());
}

#[test]
fn a_seed_that_another_domain_uses_stays_as_a_volume() {
    let bench = bench();
    bench.host.define_domain(&foreign("reader", SEED)).unwrap();
    run(&bench, false).unwrap();
    assert!(bench.host.files().contains(&SEED.to_owned()));
    assert_eq!(drives(&bench.host, View::Config), 0);
    assert!(bench.told.warnings()[0].contains("domain 'reader' uses it too"), "{:?}", bench.told.warnings());
}

#[test]
fn a_guest_that_does_not_let_go_keeps_it() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", done().on_unplug(OnUnplug::Never));
    let error = run(&bench, false).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(whole(&error).contains("foundry seed eject web finishes it"), "{}", whole(&error));
    assert!(bench.host.files().contains(&SEED.to_owned()));
    assert_eq!(drives(&bench.host, View::Config), 1);
}

/// Whoever forced it is told the command that is not refused.
#[test]
fn broken_off_by_force_it_is_finished_by_force() {
    for call in ["detach_disk", "delete_volume", "set_record"] {
        let bench = Bench::with_web();
        bench.host.fail_calls_named(call);
        let told = whole(&run(&bench, true).unwrap_err());
        assert!(told.contains("foundry seed eject web --force finishes it"), "{call}: {told}");
        bench.host.heal();
        run(&bench, true).unwrap();
        assert_ejected(&bench);
    }
}

#[test]
fn broken_off_at_any_call_it_is_finished_by_itself() {
    let before = shape(&Bench::with_web().host);
    let changed = Cell::new(0);
    let judge = |bench: &mut Bench, outcome: Result<bool, Error>, _: Effect, label: &str| {
        bench.next_run("web");
        let is_half = shape(&bench.host) != before;
        changed.set(changed.get() + usize::from(is_half));
        if let Err(error) = &outcome {
            let told = whole(error);
            assert!(!is_half || told.contains("foundry seed eject web finishes it"), "{label}: {told}");
        }
        run(bench, false).unwrap_or_else(|e| panic!("{label}: {}", whole(&e)));
        assert_ejected(bench);
    };
    each_fault(bench, |bench| run(bench, false), judge);
    assert!(changed.get() > 10, "{}", changed.get());
}

/// As `destroy` does it, in place of the same command.
#[test]
fn broken_off_at_any_call_the_vm_can_be_destroyed() {
    let clean = Bench::new().host.fingerprint();
    let judge = |bench: &mut Bench, _: Result<bool, Error>, effect: Effect, label: &str| {
        if effect.breaks_connection() {
            bench.next_run("web");
            bench.destroy("web", GENTLE).unwrap_or_else(|e| panic!("{label}: {e}"));
            assert_eq!(bench.host.changes_since(&clean), NOTHING, "{label}");
        }
    };
    each_fault(bench, |bench| run(bench, false), judge);
}
