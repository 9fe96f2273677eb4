//! Domains that are off: names, definitions, records.

use std::time::Duration;

use foundry::Kind;
use foundry::host::libvirt_xml::{DiskSource, DomainDescription, edit};
use foundry::host::{AddressSource, AgentAnswer, DomainState, View};
use foundry::units::Bytes;
use uuid::Uuid;

use super::bench::{Bench, cases, file_disk, refused};

cases! {
    a_host_can_run_its_own_architecture;
    a_host_has_memory_and_a_hypervisor;
    guests_of_another_kind_than_offered_are_refused needs Devices;
    networks_that_are_listed_are_found_and_others_are_none;
    an_absent_domain_is_none;
    an_absent_domain_refuses_what_needs_one;
    a_definition_is_as_asked_and_off;
    a_definition_reserves_its_name;
    a_uuid_keeps_its_name;
    the_same_name_and_uuid_are_a_new_definition;
    a_definition_may_name_disks_that_do_not_exist;
    a_domain_does_not_start_without_its_disks needs Files;
    a_definition_that_makes_no_sense_is_refused;
    a_record_survives_whatever_is_in_it;
    a_record_is_replaced;
    a_record_that_xml_cannot_carry_is_refused;
    what_is_listed_is_what_is_found needs BulkStats;
    autostart_is_set_and_taken_back;
    a_renamed_domain_keeps_the_rest;
    a_changed_definition_keeps_the_domain;
    stopping_and_removing_twice_is_well;
    a_domain_that_is_off_refuses_to_be_shut_down_or_resumed;
    a_domain_that_is_off_has_neither_address_nor_agent;
}

fn a_host_can_run_its_own_architecture(bench: &Bench<'_>) {
    let can = bench.host().capabilities().unwrap();
    assert!(!can.hostname.is_empty() && can.libvirt_version > 1_000_000, "{can:?}");
    assert!(can.guests.get(&can.arch).is_some_and(|types| !types.is_empty()), "{can:?}");
}

fn a_host_has_memory_and_a_hypervisor(bench: &Bench<'_>) {
    let machine = bench.host().machine().unwrap();
    assert!(machine.hypervisor_version > 0 && machine.memory.0 > 0, "{machine:?}");
    assert!(machine.free_memory <= machine.memory, "{machine:?}");
}

fn guests_of_another_kind_than_offered_are_refused(bench: &Bench<'_>) {
    refused(bench.host().guest_machine("x86_64", "q35", "xen"), Kind::Vm);
}

fn networks_that_are_listed_are_found_and_others_are_none(bench: &Bench<'_>) {
    for name in bench.host().networks().unwrap() {
        assert_eq!(bench.host().network(&name).unwrap().unwrap().name, name);
    }
    assert_eq!(bench.host().network(&bench.name("absent")).unwrap(), None);
}

fn an_absent_domain_is_none(bench: &Bench<'_>) {
    assert_eq!(bench.host().domain(&bench.name("absent")).unwrap(), None);
    assert_eq!(bench.host().domain("a/b <&'\" ü").unwrap(), None);
    assert_eq!(bench.host().state(Uuid::new_v4()).unwrap(), None);
}

fn an_absent_domain_refuses_what_needs_one(bench: &Bench<'_>) {
    let (host, absent) = (bench.host(), Uuid::new_v4());
    refused(host.start(absent), Kind::Vm);
    refused(host.request_shutdown(absent), Kind::Vm);
    refused(host.resume(absent), Kind::Vm);
    refused(host.pause(absent), Kind::Vm);
    refused(host.request_reboot(absent), Kind::Vm);
    refused(host.start_without_memory(absent), Kind::Vm);
    refused(host.start_with_new_variables(absent), Kind::Vm);
    refused(host.set_record(absent, "text"), Kind::Vm);
    refused(host.set_autostart(absent, true), Kind::Vm);
    assert_eq!(host.domain_xml(absent, View::Current).unwrap(), None);
    assert_eq!(host.addresses(absent, AddressSource::Lease).unwrap(), []);
    assert_eq!(host.agent(absent, "{}", Duration::from_secs(1)).unwrap(), None);
    let answer = host.ask_agent(absent, "{}", Duration::from_secs(1)).unwrap();
    assert!(matches!(answer, AgentAnswer::Silent(_)), "{answer:?}");
}

fn a_definition_is_as_asked_and_off(bench: &Bench<'_>) {
    let (name, uuid) = (bench.name("a"), Uuid::new_v4());
    let xml = bench.domain_xml(&name, Some(uuid), None, "");
    assert_eq!(bench.host().define_domain(&xml).unwrap(), uuid);
    let domain = bench.domain(&name);
    assert_eq!((domain.uuid, domain.name.as_str()), (uuid, name.as_str()));
    assert_eq!((domain.memory.0, domain.vcpus), (64 << 20, 2));
    assert_eq!((domain.state, domain.stopped_by_error()), (DomainState::ShutOff, false));
    assert_eq!((domain.persistent, domain.autostart, domain.record), (true, false, None));
}

fn a_definition_reserves_its_name(bench: &Bench<'_>) {
    let name = bench.name("a");
    let first = bench.host().define_domain(&bench.domain_xml(&name, None, Some("first"), "")).unwrap();
    let rival = bench.domain_xml(&name, Some(Uuid::new_v4()), Some("second"), "");
    refused(bench.host().define_domain(&rival), Kind::Vm);
    refused(bench.host().define_domain(&bench.domain_xml(&name, None, Some("third"), "")), Kind::Vm);
    let domain = bench.domain(&name);
    assert_eq!((domain.uuid, domain.record.as_deref()), (first, Some("first")));
}

fn a_uuid_keeps_its_name(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    let renamed = bench.domain_xml(&bench.name("b"), Some(uuid), None, "");
    refused(bench.host().define_domain(&renamed), Kind::Vm);
    assert_eq!(bench.domain(&bench.name("a")).uuid, uuid);
    assert_eq!(bench.host().domain(&bench.name("b")).unwrap(), None);
}

fn the_same_name_and_uuid_are_a_new_definition(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.define(&name);
    let again = bench.domain_xml(&name, Some(uuid), Some("new"), "");
    assert_eq!(bench.host().define_domain(&again).unwrap(), uuid);
    assert_eq!(bench.domain(&name).record.as_deref(), Some("new"));
}

fn a_definition_may_name_disks_that_do_not_exist(bench: &Bench<'_>) {
    let (file, pool) = (bench.directory("absent") + "/boot & more", bench.name("absent"));
    let disks = file_disk(&file, "vda")
        + &format!("<disk type='volume' device='disk'><source pool='{pool}' volume='data'/>")
        + "<target dev='vdb' bus='virtio'/></disk>";
    let xml = bench.domain_xml(&bench.name("a"), None, None, &disks);
    let uuid = bench.host().define_domain(&xml).unwrap();
    for view in [View::Current, View::Config] {
        let read = DomainDescription::read(&bench.host().domain_xml(uuid, view).unwrap().unwrap()).unwrap();
        assert_eq!((read.uuid, read.name), (Some(uuid), bench.name("a")));
        assert_eq!(read.disks[0].source, DiskSource::File(file.clone()));
        let volume = DiskSource::Volume { pool: pool.clone(), volume: "data".into() };
        assert_eq!(read.disks[1].source, volume);
    }
}

fn a_domain_does_not_start_without_its_disks(bench: &Bench<'_>) {
    let disk = file_disk(&(bench.directory("absent") + "/boot"), "vda");
    let xml = bench.domain_xml(&bench.name("a"), None, None, &disk);
    let uuid = bench.host().define_domain(&xml).unwrap();
    refused(bench.host().start(uuid), Kind::Vm);
    assert_eq!(bench.state(uuid), DomainState::ShutOff);
}

fn a_definition_that_makes_no_sense_is_refused(bench: &Bench<'_>) {
    let good = bench.domain_xml(&bench.name("a"), None, None, "");
    for bad in [
        String::new(),
        "no XML".into(),
        good.replace("</domain>", ""),
        good.replace("domain", "volume"),
        good.replace(&bench.name("a"), ""),
        good.replace(&bench.name("a"), &bench.name("a/b")),
        good.replace("<memory unit='MiB'>64</memory>", ""),
        good.replace(">64<", ">many<"),
    ] {
        refused(bench.host().define_domain(&bad), Kind::Vm);
    }
    assert_eq!(bench.host().domain(&bench.name("a")).unwrap(), None);
}

/// What a manifest, or somebody who writes one, can bring into a record.
const HOSTILE: [&str; 6] = [
    "a && b <c> \"d\" 'e' ]]> <!-- -- > &amp; &lt;x/>",
    "{\"list\":[1,2],\"text\":\"line\\nline\"}",
    "two\nlines\n\n  and blanks  ",
    "ünïcödé 漢字 \u{1f680}",
    "</vm></metadata></domain>",
    "%s %n $(x) `y`",
];

fn a_record_survives_whatever_is_in_it(bench: &Bench<'_>) {
    for (index, text) in HOSTILE.into_iter().enumerate() {
        let name = bench.name(&format!("d{index}"));
        let uuid = bench.host().define_domain(&bench.domain_xml(&name, None, Some(text), "")).unwrap();
        assert_eq!(bench.domain(&name).record.as_deref(), Some(text), "defined");
        bench.host().set_record(uuid, text).unwrap();
        assert_eq!(bench.domain(&name).record.as_deref(), Some(text), "set");
    }
}

fn a_record_is_replaced(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.define(&name);
    for text in ["first", "second", ""] {
        bench.host().set_record(uuid, text).unwrap();
        assert_eq!(bench.domain(&name).record.as_deref(), Some(text));
        let xml = bench.host().domain_xml(uuid, View::Config).unwrap().unwrap();
        assert_eq!(DomainDescription::read(&xml).unwrap().record.as_deref(), Some(text));
    }
}

fn a_record_that_xml_cannot_carry_is_refused(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.define(&name);
    bench.host().set_record(uuid, "old").unwrap();
    refused(bench.host().set_record(uuid, "a\u{1}b"), Kind::Vm);
    assert_eq!(bench.domain(&name).record.as_deref(), Some("old"));
}

fn what_is_listed_is_what_is_found(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.define(&name);
    bench.host().set_record(uuid, "record").unwrap();
    let listed = |active_only| {
        let all = bench.host().domains(active_only).unwrap();
        all.into_iter().find(|d| d.uuid == uuid)
    };
    assert_eq!(listed(false), Some(bench.domain(&name)));
    assert_eq!(listed(true), None);
}

fn autostart_is_set_and_taken_back(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.define(&name);
    for on in [true, true, false] {
        bench.host().set_autostart(uuid, on).unwrap();
        assert_eq!(bench.domain(&name).autostart, on);
    }
}

fn a_renamed_domain_keeps_the_rest(bench: &Bench<'_>) {
    let (old, new, other) = (bench.name("a"), bench.name("b"), bench.name("other"));
    let host = bench.host();
    let uuid = host.define_domain(&bench.domain_xml(&old, None, Some("record"), "")).unwrap();
    bench.define(&other);
    refused(host.rename_domain(uuid, &other), Kind::Vm);
    refused(host.rename_domain(Uuid::new_v4(), &new), Kind::Vm);
    host.rename_domain(uuid, &new).unwrap();
    let domain = bench.domain(&new);
    assert_eq!((domain.uuid, domain.record.as_deref()), (uuid, Some("record")));
    assert_eq!(host.describe(uuid, View::Config).unwrap().unwrap().name, new);
    assert_eq!(host.domain(&old).unwrap(), None);
    bench.define(&old);
}

fn stopping_and_removing_twice_is_well(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.define(&name);
    bench.host().force_off(uuid).unwrap();
    bench.host().undefine(uuid).unwrap();
    assert_eq!(bench.host().domain(&name).unwrap(), None);
    bench.host().force_off(uuid).unwrap();
    bench.host().undefine(uuid).unwrap();
}

fn a_domain_that_is_off_refuses_to_be_shut_down_or_resumed(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    refused(bench.host().request_shutdown(uuid), Kind::Vm);
    refused(bench.host().resume(uuid), Kind::Vm);
    refused(bench.host().pause(uuid), Kind::Vm);
    refused(bench.host().request_reboot(uuid), Kind::Vm);
    assert_eq!(bench.state(uuid), DomainState::ShutOff);
}

fn a_domain_that_is_off_has_neither_address_nor_agent(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    for source in [AddressSource::Lease, AddressSource::Agent, AddressSource::Arp] {
        assert_eq!(bench.host().addresses(uuid, source).unwrap(), []);
    }
    let ping = "{\"execute\":\"guest-ping\"}";
    assert_eq!(bench.host().agent(uuid, ping, Duration::from_secs(1)).unwrap(), None);
}

fn a_changed_definition_keeps_the_domain(bench: &Bench<'_>) {
    let name = bench.name("a");
    let uuid = bench.host().define_domain(&bench.domain_xml(&name, None, Some("record"), "")).unwrap();
    bench.host().set_autostart(uuid, true).unwrap();
    let full = bench.host().full_definition(uuid).unwrap().unwrap();
    let changed = edit::set_memory(&full, Bytes(96 << 20), Bytes(128 << 20)).unwrap();
    let changed = edit::set_vcpus(&changed, 3, 4).unwrap();
    assert_eq!(bench.host().define_domain(&changed).unwrap(), uuid);
    let described = bench.host().describe(uuid, View::Config).unwrap().unwrap();
    assert_eq!((described.vcpus, described.max_vcpus), (3, 4));
    assert_eq!((described.current_memory, described.memory), (Bytes(96 << 20), Bytes(128 << 20)));
    let domain = bench.domain(&name);
    assert_eq!((domain.autostart, domain.record.as_deref()), (true, Some("record")));
    assert_eq!(bench.host().full_definition(Uuid::new_v4()).unwrap(), None);
}
