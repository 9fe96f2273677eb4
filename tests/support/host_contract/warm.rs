//! Saved memory in files, and interfaces that come and go.

use foundry::Kind;
use foundry::host::libvirt_xml::{DomainDescription, edit};
use foundry::host::{DomainState, View};
use foundry::record::VolumeRef;
use foundry::saved_memory::{FIXED_LENGTH, SavedMemory};
use uuid::Uuid;

use super::bench::{Bench, cases, refused};

cases! {
    saved_memory_starts_its_domain_again needs Devices, Files, Streams;
    saved_memory_starts_another_domain_by_its_header needs Devices, Files, Streams;
    memory_of_a_domain_that_is_off_is_not_saved needs Devices;
    a_file_that_is_no_memory_is_refused needs Devices, Files;
    an_interface_comes_and_goes_while_the_domain_runs needs Devices, Files;
}

/// Saves the memory of a new domain into a volume, and returns both.
fn save(bench: &Bench<'_>) -> (Uuid, VolumeRef, String) {
    let pool = bench.pool();
    let file = bench.create(&pool, "memory", "raw", 1 << 20).path;
    let uuid = bench.start(&bench.name("a"));
    bench.host().save_memory(uuid, &file, 100_000).unwrap();
    bench.host().refresh_pool(&pool).unwrap();
    (uuid, VolumeRef::new(&pool, "memory"), file)
}

fn saved_memory_starts_its_domain_again(bench: &Bench<'_>) {
    let (uuid, _, file) = save(bench);
    let domain = bench.domain(&bench.name("a"));
    assert_eq!((domain.state, domain.persistent, domain.saved), (DomainState::ShutOff, true, false));
    bench.host().restore_memory(&file).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
    refused(bench.host().restore_memory(&file), Kind::Vm);
    // The definition is the one from before, without the room.
    let definition = bench.host().domain_xml(uuid, View::Config).unwrap().unwrap();
    assert!(!definition.contains("<description>"), "{definition}");
    bench.host().force_off(uuid).unwrap();
    bench.host().restore_memory(&file).unwrap();
    assert_eq!(bench.state(uuid), DomainState::Running);
}

fn saved_memory_starts_another_domain_by_its_header(bench: &Bench<'_>) {
    let (old, volume, file) = save(bench);
    let host = bench.host();
    let mut fixed = Vec::new();
    host.download(&volume, &mut fixed, FIXED_LENGTH as u64).unwrap();
    let header = SavedMemory::read_fixed(&fixed).unwrap();
    let mut data = Vec::new();
    let length = (header.header_length() - FIXED_LENGTH) as u64;
    host.download_span(&volume, &mut data, (FIXED_LENGTH as u64, length)).unwrap();
    let (xml, cookie) = header.split_data(&data).unwrap();
    let uuid = Uuid::new_v4();
    let (from, to) = (bench.name("a"), bench.name("another-with-a-longer-name"));
    let new = xml
        .replace(&"-".repeat(100_000), "")
        .replace(&from, &to)
        .replace(&old.to_string(), &uuid.to_string());
    let bytes = header.with_xml(&new, cookie).unwrap();
    host.upload_all(&volume, &mut &*bytes, bytes.len() as u64).unwrap();
    host.define_domain(&bench.domain_xml(&to, Some(uuid), None, "")).unwrap();
    host.restore_memory(&file).unwrap();
    assert_eq!((bench.state(uuid), bench.state(old)), (DomainState::Running, DomainState::ShutOff));
    assert!(bench.domain(&to).persistent);
}

fn memory_of_a_domain_that_is_off_is_not_saved(bench: &Bench<'_>) {
    let uuid = bench.define(&bench.name("a"));
    refused(bench.host().save_memory(uuid, "/nowhere/memory", 10), Kind::Vm);
}

fn a_file_that_is_no_memory_is_refused(bench: &Bench<'_>) {
    let pool = bench.pool();
    let file = bench.create(&pool, "empty", "raw", 1 << 20).path;
    refused(bench.host().restore_memory(&file), Kind::Vm);
    refused(bench.host().restore_memory(&format!("{file}-absent")), Kind::Vm);
}

/// Of a network, if the host has any that runs. A guest that does not boot releases nothing, so on a real host the
/// interface stays; that it goes is seen with a guest.
fn an_interface_comes_and_goes_while_the_domain_runs(bench: &Bench<'_>) {
    let host = bench.host();
    let networks = host.networks().unwrap();
    let runs = |name: &String| host.network(name).unwrap().is_some_and(|network| network.active);
    let Some(network) = networks.into_iter().find(runs) else {
        return println!("skipped on {}: it has no network that runs", host.uri());
    };
    let mac = "52:54:00:fd:00:03";
    let nic = |network: &str| {
        format!(
            "<interface type='network'><mac address='{mac}'/><source network='{network}'/><model type='virtio'/></interface>"
        )
    };
    // Slots of a PC take devices while it runs only with ACPI.
    let plain = bench.domain_xml(&bench.name("a"), None, None, "");
    let uuid =
        host.define_domain(&plain.replace("<devices>", "<features><acpi/></features><devices>")).unwrap();
    refused(host.attach_interface_now(uuid, &nic(&network)), Kind::Vm);
    host.start(uuid).unwrap();
    refused(host.attach_interface_now(uuid, &nic("foundry-test-absent")), Kind::Vm);
    host.attach_interface_now(uuid, &nic(&network)).unwrap();
    let now = host.domain_xml(uuid, View::Current).unwrap().unwrap();
    assert_eq!(
        DomainDescription::read(&now).unwrap().interfaces[0].source.as_deref(),
        Some(network.as_str())
    );
    assert!(host.describe(uuid, View::Config).unwrap().unwrap().interfaces.is_empty());
    let element = edit::interface_element(&now, mac).unwrap().unwrap();
    host.detach_interface_now(uuid, element).unwrap();
    host.detach_interface_now(uuid, &nic(&network).replace(mac, "52:54:00:fd:00:04")).unwrap();
}
