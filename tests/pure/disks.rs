//! `disk list`, `resize`, `attach` and `detach` on a host in memory: what they do, and what they refuse.

mod attach;
mod detach;
mod existing;
mod list;
mod resize;
mod rivals;

use std::time::Duration;

use crate::support::bench::{Bench, GIB, disk_request, whole};
use foundry::host::libvirt_xml::DomainDescription;
use foundry::host::{DomainState, Domains, View, Volumes};
use foundry::operations::disk::{self as operations, AttachRequest, Attached, DiskView, Resized};
use foundry::operations::vm::inspect::get_vm;
use foundry::record::VolumeRef;
use foundry::{Error, Kind, manifest};

const NOTHING: [&str; 0] = [];

fn attach_one(bench: &Bench, gib: u64) -> Result<Attached, Error> {
    operations::attach(&bench.context(), &disk_request("web", gib))
}

fn attach_as(bench: &Bench, gib: u64, device: &str) -> Result<Attached, Error> {
    let device = Some(device.parse().unwrap());
    operations::attach(&bench.context(), &AttachRequest { device, ..disk_request("web", gib) })
}

fn grow(bench: &Bench, disk: &str, size: &str) -> Result<Resized, Error> {
    operations::resize(&bench.context(), "web", disk, size.parse().unwrap())
}

fn detach_one(bench: &Bench, disk: &str, keep: bool) -> Result<(), Error> {
    let found = operations::plan_detach(&bench.context(), "web", disk, keep)?;
    operations::detach(&bench.context(), &found, Duration::from_secs(30))
}

fn off(bench: &Bench) {
    bench.host.set_state("web", DomainState::ShutOff);
}

fn disks(bench: &Bench) -> Vec<DiskView> {
    operations::list_disks(&bench.context(), Some("web")).unwrap()
}

fn disk(bench: &Bench, device: &str) -> DiskView {
    disks(bench).into_iter().find(|d| d.device == device).unwrap_or_else(|| panic!("no {device}"))
}

/// Targets as it runs, and as it starts next.
fn targets(bench: &Bench) -> [Vec<String>; 2] {
    let uuid = bench.host.uuid_of("web").unwrap();
    [View::Current, View::Config].map(|view| {
        let read = DomainDescription::read(&bench.host.domain_xml(uuid, view).unwrap().unwrap()).unwrap();
        read.disks.into_iter().map(|d| d.target).collect()
    })
}

fn capacity(bench: &Bench, volume: &str) -> u64 {
    bench.host.volume(&VolumeRef::new("foundry-vms", volume)).unwrap().unwrap().capacity.0 / GIB
}

fn recorded(bench: &Bench) -> Vec<String> {
    bench.record("web").volumes.into_iter().map(|v| v.name).collect()
}

/// The data disks of the manifest that `get` shows, as device and size.
fn data_disks(bench: &Bench) -> Vec<(String, String)> {
    let spec = get_vm(&bench.context(), "web").unwrap().vm.spec;
    let told = |d: manifest::DataDisk| (d.device.unwrap(), d.size_gb.unwrap().to_string());
    spec.data_disks.into_iter().map(told).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[track_caller]
fn assert_refused<T>(bench: &Bench, outcome: Result<T, Error>, kind: Kind, told: &str) {
    let error = outcome.map(drop).unwrap_err();
    assert_eq!(error.kind(), kind, "{}", whole(&error));
    assert!(whole(&error).contains(told), "{told:?} is not in\n{}", whole(&error));
    assert!(whole(&error).contains("nothing was changed"), "{}", whole(&error));
    assert_eq!(bench.host.changes_since(bench.start.as_ref().unwrap()), NOTHING, "{}", whole(&error));
}
