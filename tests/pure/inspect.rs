//! What `list` and `get` see: states, addresses, whose a VM is, and a manifest that `create` takes again.

use std::net::IpAddr;

use crate::support::bench::{Bench, foreign, host_with_neighbours, whole};
use crate::support::manifests::{HASH, KEY, SMALL, WEB, plan, plan_with};
use crate::support::shown::Shown;
use foundry::host::memory::{Effect, Guest};
use foundry::host::{
    AddressSource, DomainState, Domains, GuestAddress, StateReason, Transfers, View, Volumes,
};
use foundry::manifest::{self, Phase, Status};
use foundry::operations::Settings;
use foundry::operations::vm::inspect::{VmView, add_secrets, get_vm, list_vms};
use foundry::plan::VmPlan;
use foundry::record::{METADATA_NAMESPACE, VolumeRef};
use foundry::words;
use foundry::{Kind, cloud_init, yaml};

fn status(seen: &VmView) -> &Status {
    seen.vm.status.as_ref().unwrap()
}

fn see(bench: &Bench, name: &str) -> VmView {
    get_vm(&bench.context(), name).unwrap()
}

fn addresses(seen: &VmView) -> Vec<(&str, &str)> {
    status(seen).addresses.iter().map(|a| (a.address.as_str(), a.source.as_str())).collect()
}

fn address(ip: &str) -> GuestAddress {
    GuestAddress { mac: "52:54:00:00:00:01".into(), ip: ip.parse::<IpAddr>().unwrap(), prefix: 24 }
}

fn names(bench: &Bench, all: bool) -> Vec<String> {
    list_vms(&bench.context(), all).unwrap().into_iter().map(|s| s.domain.name).collect()
}

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

/// What `get -o yaml --with-secrets` prints, `create` takes: the same VM comes of it, secrets included.
#[test]
fn what_get_prints_can_be_created_again() {
    let raw = "rawUserData: \"#cloud-config\\nruncmd: [\\\"echo token-of-the-user\\\"]\\n\"";
    // What a carriage return, a tab, a form feed and an escape are in YAML: all but one must be written as escapes.
    let odd = r##"rawUserData: "#!/bin/sh\r\n\techo token-of-the-user\f\e[0m\x08\x7f \n""##;
    let network = "networkConfig: {network: {version: 2, wifis: {w: {access-points: {home: {password: token-of-the-user}}}}}}";
    let text = r##"networkConfig: "# mine\r\nversion:   1\r\nconfig: [{type: loopback, name: 'token-of-the-user'}]\n""##;
    for vm in [plan(WEB), raw_plan(raw), raw_plan(odd), raw_plan(network), raw_plan(text), plan(SMALL)] {
        let bench = Bench::new();
        bench.create(&vm).unwrap();
        let mut seen = see(&bench, vm.name.as_str());
        let shown = yaml::write(&seen.vm).unwrap();
        assert!(!shown.contains(HASH) && !shown.contains("token-of-the-user"), "{shown}");
        assert_eq!(shown.contains("secretsLeftOut"), vm.name.as_str() == "web");
        add_secrets(&bench.context(), &mut seen).unwrap();
        let text = yaml::write(&seen.vm).unwrap();
        let again = &manifest::load_text(&text, "get.yaml").unwrap()[0];
        let again = VmPlan::from_manifest(again, &Settings::default().defaults(None)).unwrap();
        let documents =
            |plan: &VmPlan| plan.seed.as_ref().map(|s| cloud_init::build_seed_files(plan, s, "id").unwrap());
        assert_eq!(documents(&again), documents(&vm), "{text}");
        assert!(status(&seen).secrets_left_out.is_empty(), "{text}");
        let hardware = |plan: &VmPlan| {
            let VmPlan { vcpus, memory, boot_disk, data_disks, interfaces, .. } = plan.clone();
            (vcpus, memory, boot_disk, data_disks, interfaces)
        };
        assert_eq!(hardware(&again), hardware(&vm));
    }
}

fn raw_plan(raw: &str) -> VmPlan {
    let old = "sshAuthorizedKeys: [KEY]\n    passwordHash: HASH\n    userData: {runcmd: [\"echo token-of-the-user\"]}";
    let text = WEB.replace(old, raw);
    assert_ne!(text, WEB);
    plan_with(&text, &[])
}

#[test]
fn secrets_that_cannot_be_read_are_an_error_and_not_left_out() {
    type Spoil = fn(&Bench);
    let cases: [(&str, Spoil); 3] = [
        ("is gone", |bench| {
            bench.host.delete_volume(&VolumeRef::new("foundry-vms", "web_cloudinit")).unwrap()
        }),
        ("", |bench| {
            let mut junk: &[u8] = &[b'x'; 40_000];
            bench
                .host
                .upload_all(&VolumeRef::new("foundry-vms", "web_cloudinit"), &mut junk, 40_000)
                .unwrap();
        }),
        ("more than a seed can have", |bench| {
            bench
                .host
                .resize_volume(
                    &VolumeRef::new("foundry-vms", "web_cloudinit"),
                    foundry::units::Bytes(1 << 30),
                )
                .unwrap();
        }),
    ];
    for (cause, spoil) in cases {
        let bench = Bench::with_web();
        spoil(&bench);
        let error = add_secrets(&bench.context(), &mut see(&bench, "web")).unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::Storage, "the seed of VM 'web' cannot be read"));
        assert!(error.cause().unwrap().contains(cause), "{}", whole(&error));
    }
}

#[test]
fn a_vm_of_the_first_foundry_is_managed_and_its_secrets_are_shown_on_demand_only() {
    let yaml = WEB.replace("KEY", KEY).replace("HASH", HASH).replace("name: web,", "name: old,");
    let yaml = yaml.replace('&', "&amp;").replace('<', "&lt;");
    let record =
        format!("<metadata><f:metadata xmlns:f='{METADATA_NAMESPACE}'>{yaml}</f:metadata></metadata><memory");
    let xml = foreign("old", "/pool/vms/old_boot.qcow2").replace("<memory", &record);
    let bench = Bench::on(host_with_neighbours().with_foreign_domain(&xml));
    let mut seen = see(&bench, "old");
    assert!(status(&seen).managed);
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.passwordHash", "spec.cloudInit.userData"]);
    assert!(!yaml::write(&seen.vm).unwrap().contains(HASH));
    assert_eq!(addresses(&seen), [("10.0.0.1", "manifest")]);
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(seen.vm.spec.cloud_init.as_ref().unwrap().password_hash.as_deref(), Some(HASH));
    assert!(status(&seen).secrets_left_out.is_empty());
}

#[test]
fn a_record_that_cannot_be_read_is_managed_all_the_same() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["version"] = 99.into());
    let seen = see(&bench, "web");
    assert!(status(&seen).managed, "it is foundry's, of whichever version");
    assert_eq!(seen.domain.vcpus, 2);
    assert_eq!((seen.record(), seen.managed_word()), (None, "unreadable"));
    let listed =
        list_vms(&bench.context(), true).unwrap().into_iter().find(|s| s.domain.name == "web").unwrap();
    for seen in [&seen, &listed] {
        let condition = &status(seen).conditions[1];
        assert_eq!((condition.kind.as_str(), condition.status.as_str()), ("Recorded", "False"));
        assert_eq!(condition.reason, "RecordUnreadable");
        assert!(condition.message.contains("newer foundry"), "{}", condition.message);
    }
}

/// A hash beside raw user-data reaches no seed: it cannot come back, and that is said.
#[test]
fn a_secret_that_does_not_come_back_stays_left_out() {
    let raw = "passwordHash: HASH\n    rawUserData: \"#cloud-config\\nruncmd: [\\\"echo token\\\"]\\n\"";
    let bench = Bench::new();
    bench.create(&raw_plan(raw)).unwrap();
    let mut seen = see(&bench, "web");
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.passwordHash"]);
    let cloud_init = seen.vm.spec.cloud_init.as_ref().unwrap();
    assert!(cloud_init.raw_user_data.as_ref().unwrap().contains("echo token"));
    assert_eq!(cloud_init.password_hash, None);
}

/// It is known in the seed by its digest, which is of what the seed has: without the `network` around it.
#[test]
fn a_network_config_comes_back_as_the_seed_has_it_or_not_at_all() {
    let own = "networkConfig: {network: {version: 2, ethernets: {a: {dhcp4: on}}}}";
    let bench = Bench::new();
    bench.create(&raw_plan(own)).unwrap();
    let mut seen = see(&bench, "web");
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.networkConfig"]);
    assert_eq!(seen.vm.spec.cloud_init.as_ref().unwrap().network_config, None);
    add_secrets(&bench.context(), &mut seen).unwrap();
    let found = seen.vm.spec.cloud_init.as_ref().unwrap().network_config.clone();
    assert_eq!(found.as_deref(), Some("version: 2\nethernets:\n  a:\n    dhcp4: on\n"));
    bench.edit_record("web", |record| record["secrets"]["spec.cloudInit.networkConfig"] = "sha256:0".into());
    let mut seen = see(&bench, "web");
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.networkConfig"]);
}

/// Somebody wrote another seed meanwhile: what is in it is not what was given.
#[test]
fn another_secret_than_the_recorded_is_left_out() {
    let bench = Bench::with_web();
    bench.edit_record("web", |record| record["secrets"]["spec.cloudInit.passwordHash"] = "sha256:0".into());
    let mut seen = see(&bench, "web");
    add_secrets(&bench.context(), &mut seen).unwrap();
    assert_eq!(status(&seen).secrets_left_out, ["spec.cloudInit.passwordHash"]);
}

/// The metadata is for everybody who may look: of two equal VMs the digests differ, and neither is one that could be made of
/// a guess. What is in the seed is still known by them, and by an older record's without a salt.
#[test]
fn digests_of_the_record_do_not_let_a_reader_try_guesses() {
    let pin = "#cloud-config\npassword: 1234\n";
    let raw = "rawUserData: \"#cloud-config\\npassword: 1234\\n\"";
    let recorded =
        |bench: &Bench| see(bench, "web").record().unwrap().secrets["spec.cloudInit.rawUserData"].clone();
    let benches = [Bench::new(), Bench::new()];
    for bench in &benches {
        bench.create(&raw_plan(raw)).unwrap();
        let mut seen = see(bench, "web");
        let text = format!("{:?} {}", seen.record(), seen.domain.record.as_ref().unwrap());
        assert!(!text.contains(&foundry::record::digest_of(pin)) && !text.contains("salt: "), "{text}");
        add_secrets(&bench.context(), &mut seen).unwrap();
        assert!(status(&seen).secrets_left_out.is_empty());
        assert_eq!(seen.vm.spec.cloud_init.as_ref().unwrap().raw_user_data.as_deref(), Some(pin));
    }
    let [one, two] = benches;
    assert_ne!(recorded(&one), recorded(&two));
    let old = foundry::record::digest_of(pin);
    one.edit_record("web", |record| record["secrets"]["spec.cloudInit.rawUserData"] = old.clone().into());
    let mut seen = see(&one, "web");
    add_secrets(&one.context(), &mut seen).unwrap();
    assert!(status(&seen).secrets_left_out.is_empty(), "as an older foundry recorded it");
}
