//! Domains that run.

use std::path::Path;
use std::time::Duration;

use foundry::Kind;
use foundry::host::libvirt_xml::{DomainDescription, edit};
use foundry::host::{AddressSource, AgentAnswer, DomainState, View};
use foundry::record::VolumeRef;
use foundry::units::Bytes;

use super::bench::{Bench, cases, file_disk, refused, volume_xml};

cases! {
    a_start_and_a_stop;
    a_pause_and_a_resume;
    a_reboot_leaves_the_domain_running;
    a_start_without_memory_starts needs Firmware;
    a_start_with_new_variables_starts needs Firmware;
    a_running_domain_refuses_what_needs_one_that_is_off;
    a_running_domain_is_listed_among_the_active needs BulkStats;
    a_running_domain_is_sampled needs BulkStats;
    a_record_set_while_it_runs_is_in_both_definitions;
    undefining_a_running_domain_leaves_it_running;
    a_running_domain_goes_on_while_its_definition_changes needs Devices;
    memory_of_a_running_domain_has_a_maximum needs Devices;
    cpus_of_a_running_domain_have_a_maximum needs Devices;
    an_interface_of_a_running_domain_moves needs Devices, Files;
    a_domain_without_definition_refuses_what_needs_one needs Transience;
    a_running_domain_shows_its_backing_chain needs Files;
    a_volume_in_use_can_be_deleted needs Files;
    a_guest_without_network_and_agent_says_nothing;
    undefining_takes_the_firmwares_variables_along needs Firmware;
}

fn a_start_and_a_stop(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.start(&name);
    assert_eq!(bench.state(uuid), DomainState::Running);
    let domain = bench.domain(&name);
    assert_eq!((domain.state, domain.stopped_by_error()), (DomainState::Running, false));
    bench.host().force_off(uuid).unwrap();
    assert_eq!(bench.state(uuid), DomainState::ShutOff);
    assert!(bench.domain(&name).persistent);
    bench.host().start(uuid).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
}

fn a_running_domain_is_sampled(bench: &Bench<'_>) {
    let name = bench.name("a");
    let sample = || bench.host().sample_domains().unwrap().into_iter().find(|sample| sample.name == name);
    let uuid = bench.define(&name);
    assert_eq!(sample(), None, "it is off");
    bench.host().start(uuid).unwrap();
    let seen = sample().unwrap();
    assert_eq!((seen.uuid, seen.vcpus), (uuid, bench.domain(&name).vcpus));
    assert!(seen.memory.0 > 0, "{seen:?}");
}

fn a_pause_and_a_resume(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    bench.host().pause(uuid).unwrap();
    let now = bench.host().state(uuid).unwrap().unwrap();
    assert_eq!((now.state, now.stopped_by_error()), (DomainState::Paused, false));
    bench.host().resume(uuid).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
}

fn a_reboot_leaves_the_domain_running(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    bench.host().request_reboot(uuid).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
}

fn a_start_without_memory_starts(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    bench.host().start_without_memory(uuid).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
    refused(bench.host().start_without_memory(uuid), Kind::Vm);
}

fn a_start_with_new_variables_starts(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    bench.host().start_with_new_variables(uuid).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
    refused(bench.host().start_with_new_variables(uuid), Kind::Vm);
}

fn a_running_domain_refuses_what_needs_one_that_is_off(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    refused(bench.host().start(uuid), Kind::Vm);
    assert_eq!(bench.state(uuid), DomainState::Running);
}

fn a_running_domain_is_listed_among_the_active(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    bench.host().set_record(uuid, "record").unwrap();
    let active = bench.host().domains(true).unwrap();
    let listed = active.into_iter().find(|d| d.uuid == uuid);
    assert_eq!(listed, Some(bench.domain(&bench.name("a"))));
}

fn a_record_set_while_it_runs_is_in_both_definitions(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.host().define_domain(&bench.domain_xml(&name, None, Some("old"), "")).unwrap();
    bench.host().start(uuid).unwrap();
    bench.host().set_record(uuid, "new <&>").unwrap();
    for view in [View::Current, View::Config] {
        let read = DomainDescription::read(&bench.host().domain_xml(uuid, view).unwrap().unwrap()).unwrap();
        assert_eq!(read.record.as_deref(), Some("new <&>"), "{view:?}");
    }
    bench.host().force_off(uuid).unwrap();
    assert_eq!(bench.domain(&name).record.as_deref(), Some("new <&>"));
}

fn undefining_a_running_domain_leaves_it_running(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.start(&name);
    bench.host().undefine(uuid).unwrap();
    let domain = bench.domain(&name);
    assert_eq!((domain.uuid, domain.state, domain.persistent), (uuid, DomainState::Running, false));
    bench.host().force_off(uuid).unwrap();
    assert_eq!(bench.host().state(uuid).unwrap(), None);
    assert_eq!(bench.host().domain(&name).unwrap(), None);
}

fn a_domain_without_definition_refuses_what_needs_one(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    bench.host().undefine(uuid).unwrap();
    refused(bench.host().set_autostart(uuid, true), Kind::Vm);
    // Its record is with what runs.
    bench.host().set_record(uuid, "text").unwrap();
    assert_eq!(bench.domain(&bench.name("a")).record.as_deref(), Some("text"));
    let shown = bench.host().domain_xml(uuid, View::Config).unwrap().unwrap();
    assert_eq!(DomainDescription::read(&shown).unwrap().uuid, Some(uuid));
}

/// Two volumes, one on the other, and a domain that runs from the upper.
fn start_on_overlay(bench: &Bench<'_>, pool: &str) -> (uuid::Uuid, String, String) {
    let base = bench.create(pool, "base", "qcow2", 1 << 20).path;
    let overlay = volume_xml("top", "qcow2", 2 << 20, Some((&base, "qcow2")));
    let top = bench.host().create_volume(pool, &overlay).unwrap().path;
    let disk = file_disk(&top, "vda").replace("<source", "<driver name='qemu' type='qcow2'/><source");
    let uuid = bench.host().define_domain(&bench.domain_xml(&bench.name("a"), None, None, &disk)).unwrap();
    bench.host().start(uuid).unwrap();
    (uuid, top, base)
}

fn a_running_domain_shows_its_backing_chain(bench: &Bench<'_>) {
    let pool = bench.pool();
    let (uuid, top, base) = start_on_overlay(bench, &pool);
    let read =
        DomainDescription::read(&bench.host().domain_xml(uuid, View::Current).unwrap().unwrap()).unwrap();
    let files: Vec<_> = read.disks[0].files().collect();
    assert_eq!(files, [Path::new(&top), Path::new(&base)]);
}

/// libvirt does not look whether somebody uses a volume: that is foundry's duty.
fn a_volume_in_use_can_be_deleted(bench: &Bench<'_>) {
    let pool = bench.pool();
    let (uuid, ..) = start_on_overlay(bench, &pool);
    bench.host().delete_volume(&VolumeRef::new(&pool, "base")).unwrap();
    bench.host().delete_volume(&VolumeRef::new(&pool, "top")).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
    bench.host().force_off(uuid).unwrap();
    refused(bench.host().start(uuid), Kind::Vm);
}

fn a_guest_without_network_and_agent_says_nothing(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    for source in [AddressSource::Lease, AddressSource::Agent, AddressSource::Arp] {
        assert_eq!(bench.host().addresses(uuid, source).unwrap(), [], "{source:?}");
    }
    let ping = "{\"execute\":\"guest-ping\"}";
    assert_eq!(bench.host().agent(uuid, ping, Duration::from_secs(1)).unwrap(), None);
    let answer = bench.host().ask_agent(uuid, ping, Duration::from_secs(1)).unwrap();
    assert!(matches!(answer, AgentAnswer::Silent(_)), "{answer:?}");
}

fn undefining_takes_the_firmwares_variables_along(bench: &Bench<'_>) {
    let name = bench.name("a");
    let xml = bench.domain_xml(&name, None, None, "");
    let efi = xml
        .replace("<os>", "<os firmware='efi'>")
        .replace("<devices>", "<features><acpi/></features><devices>");
    let uuid = bench.host().define_domain(&efi).unwrap();
    bench.host().start(uuid).unwrap();
    let shown = bench.host().domain_xml(uuid, View::Current).unwrap().unwrap();
    let variables = DomainDescription::read(&shown).unwrap().nvram;
    bench.host().force_off(uuid).unwrap();
    let there = || bench.on_disk() && variables.as_deref().is_some_and(|path| Path::new(path).exists());
    assert_eq!(there(), bench.on_disk(), "{variables:?}");
    bench.host().undefine(uuid).unwrap();
    assert_eq!(bench.host().domain(&name).unwrap(), None);
    assert!(!there(), "{variables:?} stayed");
}

fn described(bench: &Bench<'_>, uuid: uuid::Uuid, view: View) -> DomainDescription {
    bench.host().describe(uuid, view).unwrap().unwrap()
}

fn a_running_domain_goes_on_while_its_definition_changes(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    let full = bench.host().full_definition(uuid).unwrap().unwrap();
    bench.host().define_domain(&edit::set_vcpus(&full, 1, 1).unwrap()).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
    assert_eq!(described(bench, uuid, View::Current).vcpus, 2);
    assert_eq!(described(bench, uuid, View::Config).vcpus, 1);
    bench.host().force_off(uuid).unwrap();
    bench.host().start(uuid).unwrap();
    assert_eq!(described(bench, uuid, View::Current).vcpus, 1);
}

fn memory_of_a_running_domain_has_a_maximum(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    bench.host().set_memory_now(uuid, Bytes(48 << 20)).unwrap();
    refused(bench.host().set_memory_now(uuid, Bytes(65 << 20)), Kind::Vm);
    assert_eq!(described(bench, uuid, View::Current).memory, Bytes(64 << 20));
    assert_eq!(described(bench, uuid, View::Config).current_memory, Bytes(64 << 20));
    bench.host().force_off(uuid).unwrap();
    refused(bench.host().set_memory_now(uuid, Bytes(48 << 20)), Kind::Vm);
}

fn cpus_of_a_running_domain_have_a_maximum(bench: &Bench<'_>) {
    let uuid = bench.start(&bench.name("a"));
    refused(bench.host().set_vcpus_now(uuid, 3), Kind::Vm);
    bench.host().set_vcpus_now(uuid, 2).unwrap();
    assert_eq!(described(bench, uuid, View::Config).vcpus, 2);
    bench.host().force_off(uuid).unwrap();
    refused(bench.host().set_vcpus_now(uuid, 1), Kind::Vm);
}

/// Between two networks, if the host has any that runs; otherwise from it to itself, and to none.
fn an_interface_of_a_running_domain_moves(bench: &Bench<'_>) {
    let host = bench.host();
    let networks = host.networks().unwrap();
    let runs = |name: &String| host.network(name).unwrap().is_some_and(|network| network.active);
    let Some(network) = networks.into_iter().find(runs) else {
        return println!("skipped on {}: it has no network that runs", host.uri());
    };
    let mac = "52:54:00:fd:00:01";
    let nic = format!(
        "<interface type='network'><mac address='{mac}'/><source network='{network}'/><model type='virtio'/></interface>"
    );
    let uuid = host.define_domain(&bench.domain_xml(&bench.name("a"), None, None, &nic)).unwrap();
    host.start(uuid).unwrap();
    let xml = host.domain_xml(uuid, View::Current).unwrap().unwrap();
    let same = edit::set_interface_link(&xml, mac, edit::InterfaceLink::Network(&network)).unwrap();
    host.update_interface_now(uuid, edit::interface_element(&same, mac).unwrap().unwrap()).unwrap();
    let gone =
        edit::set_interface_link(&xml, mac, edit::InterfaceLink::Network("foundry-test-absent")).unwrap();
    let gone = edit::interface_element(&gone, mac).unwrap().unwrap();
    refused(host.update_interface_now(uuid, gone), Kind::Vm);
    let other = gone.replace(mac, "52:54:00:fd:00:02");
    refused(host.update_interface_now(uuid, &other), Kind::Vm);
    assert_eq!(described(bench, uuid, View::Current).interfaces[0].source.as_deref(), Some(network.as_str()));
}
