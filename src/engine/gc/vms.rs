//! Finds half-made and half-destroyed VMs, and half-attached and half-detached disks.

use super::{Remains, Sort, Work, at_work};
use crate::storage::usage::Usage;
use crate::vm::destroy::{self, Options};
use crate::{Context, disk};
use foundry_core::error::{Advice, Error, Kind, Verb};
use foundry_core::record::{Record, RecordState, RecordedVolume, VolumeRole};
use foundry_host::Domain;

use std::time::Duration;

/// As `destroy` does it: a guest that still runs, and was named, is asked first.
const OPTIONS: Options = Options { force: false, keep_disks: false, timeout: Duration::from_secs(5) };

pub(super) fn survey(context: &Context, domains: &[Domain], usage: &Usage) -> Result<Vec<Remains>, Error> {
    let mut found = Vec::new();
    for domain in domains {
        let Some(record) = domain.own_record() else { continue };
        match record.state {
            RecordState::Created => found.extend(half_disks(context, domain, &record, usage)?),
            RecordState::Creating | RecordState::Destroying => found.push(half_vm(context, domain, &record)?),
        }
    }
    Ok(found)
}

/// Why only its maker may touch a half-made VM.
pub(super) fn busy(record: &Record) -> Option<String> {
    at_work(&record.maker, if record.state == RecordState::Creating { "creates it" } else { "destroys it" })
}

fn half_vm(context: &Context, domain: &Domain, record: &Record) -> Result<Remains, Error> {
    let what = if record.state == RecordState::Creating { "creation" } else { "destruction" };
    let remains = |reason: String| {
        Remains::new(Sort::Vm, domain.name.clone(), reason).since(Some(record.changed_at.clone()))
    };
    let by_hand = Verb::Destroy { vm: domain.command_name(), force: record.state == RecordState::Creating };
    if let Some(busy) = busy(record) {
        return Ok(remains(busy).hint(by_hand));
    }
    match destroy::survey(context, &domain.name, OPTIONS) {
        Err(lost) if lost.kind() == Kind::Connection => Err(lost),
        Err(refused) => {
            let advice = refused.advice().cloned().unwrap_or_else(|| by_hand.into());
            Ok(remains(format!("its {what} was interrupted, and {refused}")).hint(advice))
        }
        Ok(demolition) => {
            let volumes = demolition.named_volumes();
            let stays = demolition.spared.iter().map(|(what, why)| format!("; {what} stays: {why}"));
            let stays: String = stays.collect();
            // Nothing stops a guest without being told to by name: somebody may work in it.
            let domain = &demolition.domain;
            let state = match (domain.state.is_active(), domain.saved) {
                (true, _) => ", and it runs",
                (false, true) => ", and its memory is saved",
                (false, false) => "",
            };
            let reason = format!("its {what} was interrupted{state}{stays}");
            let remains = Remains { volumes, ..remains(reason) };
            let work = Work::Destroy(Box::new(demolition));
            Ok(if !state.is_empty() { remains.when_named(work) } else { remains.goes(work) })
        }
    }
}

/// Disks that the record names and the domain does not have, or not surely.
fn half_disks(
    context: &Context,
    domain: &Domain,
    record: &Record,
    usage: &Usage,
) -> Result<Vec<Remains>, Error> {
    let mut found = Vec::new();
    for volume in &record.volumes {
        match &volume.attaching {
            Some(_) => found.push(half_attached(context, domain, volume)?),
            None if !usage.has(&domain.name, volume) => found.push(half_detached(domain, volume)),
            None => {}
        }
    }
    Ok(found.into_iter().map(|remains| remains.since(Some(record.changed_at.clone()))).collect())
}

fn half_attached(context: &Context, domain: &Domain, volume: &RecordedVolume) -> Result<Remains, Error> {
    let busy = volume.attaching.as_ref().and_then(|maker| at_work(maker, "attaches it"));
    if let Some(busy) = busy {
        return Ok(disk(domain, volume, busy));
    }
    match disk::broken_attach(context, domain, volume) {
        Err(lost) if lost.kind() == Kind::Connection => Err(lost),
        Err(refused) => Ok(disk(domain, volume, format!("its attaching was interrupted, and {refused}"))),
        Ok(attempt) => {
            let (reason, volumes) = if attempt.is_plugged() {
                ("its attaching was interrupted when the VM had it: it is written down", Vec::new())
            } else {
                let named = |v: &destroy::Doomed| format!("{}/{}", v.pool, v.name);
                ("its attaching was interrupted", attempt.volume().iter().map(|v| named(v)).collect())
            };
            let remains = Remains { volumes, ..disk(domain, volume, reason.into()) };
            Ok(Remains { advice: None, ..remains }.goes(Work::FinishAttach(Box::new(attempt))))
        }
    }
}

/// Nothing tells whether a detach was broken off, still goes on, or the user unplugged it and wants it back.
fn half_detached(domain: &Domain, volume: &RecordedVolume) -> Remains {
    disk(domain, volume, "the VM does not have it, and its record names it".into())
}

fn disk(domain: &Domain, volume: &RecordedVolume, reason: String) -> Remains {
    let target = volume.disk_target().unwrap_or_else(|| volume.name.clone());
    let remains = Remains::new(Sort::Disk, format!("{}/{target}", domain.name), reason);
    let vm = domain.command_name();
    let remove = match volume.role {
        VolumeRole::Boot => return remains,
        VolumeRole::Seed => Verb::SeedEject { vm, force: false },
        VolumeRole::Data => Verb::DiskDetach { vm, target, keep: false },
    };
    remains.hint(Advice::from(remove).text(" removes it"))
}
