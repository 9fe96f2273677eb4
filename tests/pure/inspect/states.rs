//! States, conditions and addresses of a VM.

use super::{address, addresses, names, see, status};
use crate::support::bench::Bench;
use crate::support::manifests::{SMALL, WEB, plan};
use crate::support::shown::Shown;
use foundry::Kind;
use foundry::host::memory::{Effect, Guest};
use foundry::host::{AddressSource, DomainState, Domains, StateReason, View};
use foundry::manifest::Phase;
use foundry::operations::vm::inspect::{get_vm, list_vms};
use foundry::operations::vm::seed_content::add_secrets;
use foundry::words;

#[test]
fn a_list_is_of_the_running_ones_and_all_on_demand() {
    let bench = Bench::with_web();
    bench.create(&plan(SMALL)).unwrap();
    bench.host.set_state("small", DomainState::Paused);
    assert_eq!(names(&bench, false), ["small", "web"], "a paused one is not off");
    assert_eq!(names(&bench, true), ["other", "small", "web"]);
    bench.host.set_state("small", DomainState::ShutOff);
    assert_eq!(names(&bench, false), ["web"]);
}

#[test]
fn looking_changes_nothing() {
    let bench = Bench::with_web();
    list_vms(&bench.context(), true).unwrap();
    add_secrets(&bench.context(), &mut see(&bench, "web")).unwrap();
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), [] as [String; 0]);
}

/// FACTS 19: foreign domains have numbers too, and are marked.
#[test]
fn a_foreign_domain_is_listed_and_marked() {
    let bench = Bench::new();
    let seen = see(&bench, "other");
    assert!(!status(&seen).managed);
    assert_eq!((seen.domain.vcpus, seen.domain.memory.to_string()), (1, "1 GiB".into()));
    assert_eq!((seen.created_at(), seen.record()), (None, None));
    assert_eq!(serde_json::to_value(&seen.vm.spec).unwrap()["memoryGiB"], 1);
}

#[test]
fn every_state_has_its_phase() {
    for (state, phase, ready) in [
        (DomainState::Running, Phase::Running, "True"),
        (DomainState::Blocked, Phase::Running, "True"),
        (DomainState::Paused, Phase::Stopped, "False"),
        (DomainState::Suspended, Phase::Stopped, "False"),
        (DomainState::ShuttingDown, Phase::Stopped, "False"),
        (DomainState::Crashed, Phase::Failed, "False"),
        (DomainState::ShutOff, Phase::Stopped, "False"),
        (DomainState::Unknown(23), Phase::Unknown, "Unknown"),
    ] {
        let bench = Bench::with_web();
        bench.host.set_state("web", state);
        let seen = see(&bench, "web");
        assert_eq!(status(&seen).phase, phase, "{state:?}");
        assert_eq!(status(&seen).conditions[0].status, ready, "{state:?}");
        assert_eq!(status(&seen).state, state.to_string());
    }
}

#[test]
fn a_guest_stopped_by_an_error_has_failed() {
    let bench = Bench::new();
    bench.host.set_guest("small", Guest::new().stopped_by_error());
    bench.create(&plan(SMALL)).unwrap();
    let seen = see(&bench, "small");
    assert_eq!(
        (status(&seen).phase, status(&seen).conditions[0].reason.as_str()),
        (Phase::Failed, "VMStoppedByError")
    );
}

/// Others change a VM, too: the spec says what was asked for, the status what there is.
#[test]
fn what_a_vm_has_is_told_beside_what_was_asked_for() {
    let bench = Bench::with_web();
    let uuid = bench.host.uuid_of("web").unwrap();
    let told = |bench: &Bench| {
        let vm = serde_json::to_value(&see(bench, "web").vm).unwrap();
        ["/spec/vcpus", "/status/vcpus", "/spec/memoryGiB", "/status/memoryGiB", "/status/autostart"]
            .map(|path| vm.pointer(path).unwrap().to_string())
    };
    assert_eq!(told(&bench), ["2", "2", "4", "4", "true"]);
    bench.host.force_off(uuid).unwrap();
    let xml = bench.host.domain_xml(uuid, View::Config).unwrap().unwrap();
    let changed = xml.replace(">4194304</memory>", ">1572864</memory>").replace(">2</vcpu>", ">1</vcpu>");
    bench.host.define_domain(&changed).unwrap();
    bench.host.set_autostart(uuid, false).unwrap();
    assert_eq!(told(&bench), ["2", "1", "4", "1.5", "false"]);
    let listed = list_vms(&bench.context(), true).unwrap();
    let web = listed.iter().find(|seen| seen.domain.name == "web").unwrap();
    assert_eq!(status(web).vcpus, 1);
}

/// After a kill of QEMU, a save, a refused start libvirt knows why a VM is off, and so does who looks.
#[test]
fn why_a_vm_is_not_up_is_told() {
    let resume = "virsh resume web continues it";
    for (state, why, phase, message) in [
        (DomainState::ShutOff, StateReason::NotSaid, Phase::Stopped, "VM is off; virsh start web starts it"),
        (
            DomainState::ShutOff,
            StateReason::ShutDown,
            Phase::Stopped,
            "VM is off: it shut down; virsh start web starts it",
        ),
        (DomainState::ShutOff, StateReason::Destroyed, Phase::Stopped, "its plug was pulled"),
        (
            DomainState::ShutOff,
            StateReason::Crashed,
            Phase::Failed,
            "its QEMU ended by itself, or was killed",
        ),
        (DomainState::ShutOff, StateReason::NotStarted, Phase::Failed, "it could not be started"),
        (DomainState::ShutOff, StateReason::Migrated, Phase::Stopped, "it went to another host"),
        (DomainState::ShutOff, StateReason::FromSnapshot, Phase::Stopped, "put back to a snapshot"),
        (DomainState::ShutOff, StateReason::GivenUp, Phase::Stopped, "libvirt ended it"),
        (DomainState::Paused, StateReason::ByUser, Phase::Stopped, resume),
        (DomainState::Paused, StateReason::FromSnapshot, Phase::Stopped, resume),
        (
            DomainState::Paused,
            StateReason::Migrating,
            Phase::Stopped,
            "it is paused while it moves to another host",
        ),
        (DomainState::Paused, StateReason::Saving, Phase::Stopped, "it is paused while its memory is saved"),
        (DomainState::Paused, StateReason::IoError, Phase::Failed, "an error of its disk stopped it"),
        (DomainState::Paused, StateReason::Watchdog, Phase::Failed, "its watchdog stopped it"),
        (DomainState::Paused, StateReason::Crashed, Phase::Failed, "its guest crashed"),
        (DomainState::Paused, StateReason::NotSaid, Phase::Failed, "the hypervisor stopped it"),
    ] {
        let bench = Bench::with_web();
        bench.host.set_state_because("web", state, why);
        let seen = see(&bench, "web");
        let told = &status(&seen).conditions[0].message;
        assert_eq!(status(&seen).phase, phase, "{state:?} {why:?}");
        assert!(told.contains(message), "{state:?} {why:?}: {told}");
    }
}

/// The time is of foundry's last act, so that two looks say the same.
#[test]
fn a_condition_has_the_time_of_foundrys_last_act() {
    use foundry::operations::Clock;
    let bench = Bench::with_web();
    let first = status(&see(&bench, "web")).conditions[0].last_transition_time.clone();
    bench.clock.sleep(std::time::Duration::from_secs(99));
    assert_eq!(status(&see(&bench, "web")).conditions[0].last_transition_time, first);
    assert_eq!(first.as_deref(), Some("2026-01-02T03:00:00Z"));
    let seen = see(&bench, "web");
    assert_eq!(seen.vm.metadata.creation_timestamp.as_deref(), Some("2026-01-02T03:00:00Z"));
    assert_eq!(seen.vm.metadata.uid, bench.host.uuid_of("web").map(|u| u.to_string()));
    assert_eq!((seen.vm.metadata.generation, status(&seen).observed_generation), (Some(1), 1));
}

#[test]
fn a_creation_that_was_interrupted_or_goes_on_is_seen_as_such() {
    let mut bench = Bench::new();
    bench.host.fail_calls_named_with("upload", Effect::BrokenBefore);
    bench.create(&plan(WEB)).unwrap_err();
    bench.host.heal();
    let at = |bench: &Bench| {
        let seen = see(bench, "web");
        (
            status(&seen).phase,
            status(&seen).conditions[0].reason.clone(),
            words::with_advice(&status(&seen).conditions[0].message, seen.advice.as_ref()),
        )
    };
    let pid = std::process::id();
    assert_eq!(at(&bench), (Phase::Creating, "VMCreating".into(), format!("process {pid} is creating it")));
    bench.edit_record("web", |record| record["maker"]["host"] = "elsewhere".into());
    assert_eq!(at(&bench).1, "VMCreatingElsewhere");
    bench.edit_record("web", |record| {
        record["maker"] = serde_json::to_value(foundry::host::local::this_process()).unwrap()
    });
    bench.next_run("web");
    let (phase, reason, message) = at(&bench);
    assert_eq!((phase, reason.as_str()), (Phase::Pending, "CreationInterrupted"));
    assert!(
        message.contains("foundry create again replaces it, foundry destroy web removes it"),
        "{message}"
    );
    bench.edit_record("web", |record| record["state"] = "destroying".into());
    assert_eq!((at(&bench).0, at(&bench).1.as_str()), (Phase::Destroying, "VMDestroying"));
    assert_eq!(names(&bench, false), [] as [&str; 0]);
}

#[test]
fn addresses_come_from_the_manifest_then_lease_agent_arp() {
    let bench = Bench::with_web();
    bench.host.set_guest("web", Guest::new().address(AddressSource::Agent, 0, address("10.0.0.77")));
    assert_eq!(addresses(&list_vms(&bench.context(), false).unwrap()[0]), [("10.0.0.1", "manifest")]);
    assert_eq!(addresses(&see(&bench, "web")), [("10.0.0.1", "manifest"), ("10.0.0.77", "agent")]);

    bench.create(&plan(SMALL)).unwrap();
    let guest = Guest::new().address(AddressSource::Arp, 0, address("10.9.0.3"));
    bench.host.set_guest("small", guest.clone());
    assert_eq!(addresses(&see(&bench, "small")), [("10.9.0.3", "arp")]);
    let agent = ["127.0.0.1", "::1", "fe80::1", "169.254.0.9", "10.9.0.2"];
    let guest = agent.iter().fold(guest, |g, a| g.address(AddressSource::Agent, 0, address(a)));
    bench.host.set_guest("small", guest.clone());
    assert_eq!(addresses(&see(&bench, "small")), [("10.9.0.2", "agent")], "nobody reaches it at the others");
    bench.host.set_guest("small", guest.address(AddressSource::Lease, 0, address("10.9.0.1")));
    assert_eq!(addresses(&see(&bench, "small")), [("10.9.0.1", "lease")]);
    bench.host.set_state("small", DomainState::ShutOff);
    assert_eq!(addresses(&see(&bench, "small")), [] as [(&str, &str); 0]);
}

#[test]
fn get_finds_the_manifests_spelling_and_tells_the_nearest() {
    let bench = Bench::with_web();
    assert_eq!(see(&bench, "Web ").domain.name, "web");
    let error = get_vm(&bench.context(), "webb").unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Vm, "there is no VM 'webb'"));
    assert_eq!(error.hint_text().as_deref(), Some("did you mean 'web'?"));
}
