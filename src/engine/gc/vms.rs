//! Finds half-made and half-destroyed VMs, their half-attached and half-detached disks, and their half-made, half-restored
//! and half-deleted snapshots.

use super::{CleanupStep, Leftover, LeftoverKind, reason_if_busy};
use crate::snapshot::{self, SnapshotWork};
use crate::storage::usage::Usage;
use crate::vm::destroy::{self, DestroyOptions};
use crate::vm::repave;
use crate::{Context, disk};
use foundry_core::error::{Advice, Error, Kind, Verb};
use foundry_core::record::{Record, RecordState, RecordedVolume, RepaveStage, VolumeRole};
use foundry_host::{Domain, DomainState};

use std::time::Duration;

/// The defaults of `destroy`: if the user names a VM that still runs, the guest is asked to shut down first.
const OPTIONS: DestroyOptions =
    DestroyOptions { force: false, keep_disks: false, timeout: Duration::from_secs(5) };

pub(super) fn find_vms(context: &Context, domains: &[Domain], usage: &Usage) -> Result<Vec<Leftover>, Error> {
    let mut found = Vec::new();
    for domain in domains {
        let Some(record) = domain.own_record() else { continue };
        match record.state {
            RecordState::Created => found.extend(half_disks(context, domain, &record, usage)?),
            RecordState::Creating | RecordState::Destroying => {
                found.push(half_made_vm(context, domain, &record)?)
            }
        }
    }
    Ok(found)
}

/// Why a half-made VM is left alone, if its process may still be working on it.
pub(super) fn reason_if_vm_busy(record: &Record) -> Option<String> {
    reason_if_busy(
        &record.maker,
        if record.state == RecordState::Creating { "creates it" } else { "destroys it" },
    )
}

fn half_made_vm(context: &Context, domain: &Domain, record: &Record) -> Result<Leftover, Error> {
    let what = if record.state == RecordState::Creating { "creation" } else { "destruction" };
    let leftover = |reason: String| {
        Leftover::new(LeftoverKind::Vm, domain.name.clone(), reason)
            .with_time(Some(record.changed_at.clone()))
    };
    let by_hand = Verb::Destroy { vm: domain.command_name(), force: record.state == RecordState::Creating };
    if let Some(busy) = reason_if_vm_busy(record) {
        return Ok(leftover(busy).with_advice(by_hand));
    }
    // A VM that is made from memory, or for it, may run before it is complete; nobody uses it yet.
    let is_unused = record.has_memory() && record.state == RecordState::Creating;
    let options = DestroyOptions { force: is_unused, ..OPTIONS };
    match destroy::plan_destroy(context, &domain.name, options) {
        Err(lost) if lost.kind() == Kind::Connection => Err(lost),
        Err(refused) => {
            let advice = refused.advice().cloned().unwrap_or_else(|| by_hand.into());
            Ok(leftover(format!("its {what} was interrupted, and {refused}")).with_advice(advice))
        }
        Ok(plan) => {
            let volumes = plan.named_volumes();
            let stays = plan.kept_back.iter().map(|(what, why)| format!("; {what} is kept: {why}"));
            let stays: String = stays.collect();
            // A running guest is only stopped if the user names it, because somebody may be using it.
            let domain = &plan.domain;
            let state = match (domain.state.is_active(), domain.saved) {
                (true, _) => ", and it is running",
                (false, true) => ", and its memory is saved",
                (false, false) => "",
            };
            let reason = format!("its {what} was interrupted{state}{stays}");
            let leftover = Leftover { volumes, ..leftover(reason) };
            let work = CleanupStep::Destroy(Box::new(plan));
            Ok(if !state.is_empty() && !is_unused {
                leftover.when_named_by(work)
            } else {
                leftover.cleaned_up_by(work)
            })
        }
    }
}

/// Finds disks that the record names but the domain does not have, or may not have.
fn half_disks(
    context: &Context,
    domain: &Domain,
    record: &Record,
    usage: &Usage,
) -> Result<Vec<Leftover>, Error> {
    let mut found = Vec::new();
    for volume in &record.volumes {
        match &volume.attaching {
            Some(_) => found.push(half_attached(context, domain, volume)?),
            // An overlay is a file of a disk, not the disk: to detach that would delete what the VM has.
            None if volume.overlay_of.is_some() => {}
            None if !usage.domain_has(&domain.name, volume) => found.push(half_detached(domain, volume)),
            None => {}
        }
    }
    found.extend(half_repaved(domain, record));
    found.extend(half_done_snapshots(context, domain, record)?);
    Ok(found.into_iter().map(|leftover| leftover.with_time(Some(record.changed_at.clone()))).collect())
}

fn half_done_snapshots(context: &Context, domain: &Domain, record: &Record) -> Result<Vec<Leftover>, Error> {
    let interrupted = snapshot::find_interrupted_snapshots(context, domain, record)?;
    let leftovers = interrupted.into_iter().map(|(name, work)| {
        let name = format!("{}/{name}", domain.name);
        let leftover = Leftover::new(LeftoverKind::Snapshot, name, work.reason());
        let finish = || CleanupStep::FinishSnapshots(Box::new(domain.clone()));
        match work {
            SnapshotWork::Settle { unused, .. } => {
                let volumes = unused.iter().map(|volume| volume.reference().to_argument()).collect();
                Leftover { volumes, ..leftover }.cleaned_up_by(finish())
            }
            SnapshotWork::FinishRestore => leftover.cleaned_up_by(finish()),
            other => Leftover { advice: other.advice(), ..leftover },
        }
    });
    Ok(leftovers.collect())
}

/// A repave whose process ended. Which boot disk stays is the user's decision, unless it was taken.
fn half_repaved(domain: &Domain, record: &Record) -> Option<Leftover> {
    let note = record.repave.as_ref().filter(|note| note.stage != RepaveStage::Kept)?;
    let name = format!("{}/repave", domain.name);
    let leftover = |reason: String| Leftover::new(LeftoverKind::Disk, name.clone(), reason);
    if let Some(busy) = reason_if_busy(&note.maker, "repaves it") {
        return Some(leftover(busy));
    }
    let volumes = note.spare.iter().map(|volume| volume.reference().to_argument()).collect();
    if repave::has_work_to_finish(record) {
        let reason = match note.stage {
            RepaveStage::Accepted => "the VM was repaved, and the previous volumes were being deleted",
            _ if note.ran && domain.state == DomainState::ShutOff => {
                "a repave was interrupted, and the VM has its previous volumes: it will be started again"
            }
            _ => "a repave was interrupted, and the VM has its previous volumes",
        };
        let work = CleanupStep::FinishRepave(Box::new(domain.clone()));
        return Some(Leftover { volumes, ..leftover(reason.into()) }.cleaned_up_by(work));
    }
    let reason = "a repave was interrupted while the new boot disk was tried".to_owned();
    Some(leftover(reason).with_advice(repave::next_advice(domain, note.stage)))
}

fn half_attached(context: &Context, domain: &Domain, volume: &RecordedVolume) -> Result<Leftover, Error> {
    let busy = volume.attaching.as_ref().and_then(|maker| reason_if_busy(maker, "attaches it"));
    if let Some(busy) = busy {
        return Ok(disk_leftover(domain, volume, busy));
    }
    match disk::find_interrupted_attach(context, domain, volume) {
        Err(lost) if lost.kind() == Kind::Connection => Err(lost),
        Err(refused) => {
            Ok(disk_leftover(domain, volume, format!("its attach was interrupted, and {refused}")))
        }
        Ok(attempt) => {
            let (reason, volumes) = if attempt.is_plugged() {
                ("its attach was interrupted after the VM got it: it will be recorded", Vec::new())
            } else {
                let named = |v: &destroy::VolumeToDelete| format!("{}/{}", v.pool, v.name);
                ("its attach was interrupted", attempt.volume_to_delete().iter().map(|v| named(v)).collect())
            };
            let leftover = Leftover { volumes, ..disk_leftover(domain, volume, reason.into()) };
            Ok(Leftover { advice: None, ..leftover }
                .cleaned_up_by(CleanupStep::FinishAttach(Box::new(attempt))))
        }
    }
}

/// A disk that the domain does not have: a detach was interrupted or is running, or the user detached it with another
/// tool and may want it back. These cases cannot be distinguished.
fn half_detached(domain: &Domain, volume: &RecordedVolume) -> Leftover {
    disk_leftover(domain, volume, "its record names it, but the VM does not have it".into())
}

fn disk_leftover(domain: &Domain, volume: &RecordedVolume, reason: String) -> Leftover {
    let target = volume.disk_target().unwrap_or_else(|| volume.name.clone());
    let leftover = Leftover::new(LeftoverKind::Disk, format!("{}/{target}", domain.name), reason);
    let vm = domain.command_name();
    let remove = match volume.role {
        VolumeRole::Boot | VolumeRole::Memory => return leftover,
        VolumeRole::Seed => Verb::SeedEject { vm, force: false },
        VolumeRole::Data => Verb::DiskDetach { vm, target, keep: false },
    };
    leftover.with_advice(Advice::from(remove).text(" removes it"))
}
