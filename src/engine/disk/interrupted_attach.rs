//! Completes an interrupted attach on behalf of `gc`: if the VM already has the disk, record it (it may hold data);
//! otherwise delete it.

use std::time::Duration;

use uuid::Uuid;

use super::detach::{self, Detachment};
use super::handle::{Found, Subject, refused};
use super::record_update::{add_disk, insert_volume, rewrite, strike_volume};
use crate::Context;
use crate::vm::destroy::Doomed;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::DiskTarget;
use foundry_core::plan::{DataDiskPlan, DiskFormat};
use foundry_core::record::{Liveness, RecordedVolume};
use foundry_host::{Domain, Volume};

/// An attach whose process ended.
#[derive(Debug)]
pub(crate) struct Attempt {
    domain: Uuid,
    vm: String,
    noted: RecordedVolume,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// The VM has the disk.
    Plugged(Box<Plugged>),
    /// It does not.
    Apart(Box<Detachment>),
}

/// A disk that only has to be written down.
#[derive(Debug)]
struct Plugged {
    domain: Domain,
    disk: DataDiskPlan,
    volume: RecordedVolume,
}

impl Attempt {
    /// Whether the VM has the disk.
    pub(crate) fn is_plugged(&self) -> bool {
        matches!(self.outcome, Outcome::Plugged(_))
    }

    /// The volume that goes.
    pub(crate) fn volume(&self) -> Option<&Doomed> {
        match &self.outcome {
            Outcome::Plugged(_) => None,
            Outcome::Apart(detachment) => detachment.volume.as_ref(),
        }
    }
}

/// Looks how far an attach came; changes nothing.
///
/// # Errors
/// Where it cannot be finished without its user, and the host's.
pub(crate) fn broken_attach(
    context: &Context,
    domain: &Domain,
    noted: &RecordedVolume,
) -> Result<Attempt, Error> {
    let subject = Subject::look(context, &domain.name)?;
    let vm = subject.name().to_owned();
    let is_dead = |v: &RecordedVolume| {
        is_same(v, noted)
            && v.attaching.as_ref().is_some_and(|maker| maker.check_liveness() == Liveness::Dead)
    };
    if subject.domain.uuid != domain.uuid || !subject.record.volumes.iter().any(is_dead) {
        return Err(refused(Code::ChangedMeanwhile, format!("VM '{vm}' has changed since it was looked at")));
    }
    let target = noted
        .disk_target()
        .ok_or_else(|| refused(Code::DiskNotOwn, format!("volume '{}' is no disk's", noted.name)))?;
    let found = subject.disk(&target)?;
    let outcome = match found.described() {
        None => Outcome::Apart(Box::new(detach::survey(context, &vm, &target, false)?)),
        Some(_) => plugged(context, &subject, &found, noted)?,
    };
    Ok(Attempt { domain: domain.uuid, vm, noted: noted.clone(), outcome })
}

fn plugged(
    context: &Context,
    subject: &Subject,
    found: &Found,
    noted: &RecordedVolume,
) -> Result<Outcome, Error> {
    let (vm, target) = (subject.name(), &found.target);
    found.own_volume(context, subject)?;
    let by_hand = |what: &str| {
        let detach =
            Verb::DiskDetach { vm: subject.domain.command_name(), target: target.clone(), keep: false };
        refused(Code::DiskHalfThere, format!("disk '{target}' of VM '{vm}' {what}"))
            .hint(Advice::from(detach).text(" removes it"))
    };
    let Some(next) = &found.next else { return Err(by_hand("is there until the VM stops only")) };
    let Some(volume) = context.host.volume(&noted.pool, &noted.name)? else {
        return Err(by_hand("is on a volume that cannot be seen"));
    };
    let settled = RecordedVolume {
        attaching: None,
        capacity: volume.capacity,
        format: volume.format.clone(),
        ..noted.clone()
    };
    let disk = disk(target, &volume, next.serial.as_deref()).map_err(|e| by_hand(&e))?;
    Ok(Outcome::Plugged(Box::new(Plugged { domain: subject.domain.clone(), disk, volume: settled })))
}

/// The disk as its user would have written it.
fn disk(target: &str, volume: &Volume, serial: Option<&str>) -> Result<DataDiskPlan, String> {
    let unfit = |e: foundry_core::names::NameError| format!("has a name that foundry would not give: it {e}");
    let target: DiskTarget = target.parse().map_err(unfit)?;
    let serial = serial.filter(|serial| *serial != target.as_str());
    Ok(DataDiskPlan {
        volume: volume.name.parse().map_err(unfit)?,
        size: volume.capacity,
        format: DiskFormat::ALL.into_iter().find(|f| f.as_str() == volume.format).unwrap_or(DiskFormat::Raw),
        serial: serial.map(str::parse).transpose().map_err(unfit)?,
        target,
    })
}

/// Whether that is the same attempt; its path is another one where the pool was moved.
fn is_same(one: &RecordedVolume, other: &RecordedVolume) -> bool {
    (&one.pool, &one.name, &one.attaching) == (&other.pool, &other.name, &other.attaching)
}

/// Finishes it, after another look; what is to be told of it.
///
/// # Errors
/// What failed; another run finishes it.
pub(crate) fn finish_attach(context: &Context, attempt: &Attempt) -> Result<Option<String>, Error> {
    let Attempt { domain, vm, noted, outcome } = attempt;
    let now = Subject::look(context, vm)?;
    if now.domain.uuid != *domain || !now.record.volumes.iter().any(|v| is_same(v, noted)) {
        return Err(refused(Code::ChangedMeanwhile, format!("VM '{vm}' has changed since it was looked at")));
    }
    let Plugged { domain, disk, volume } = match outcome {
        // The guest does not have it, so that there is nothing to wait for.
        Outcome::Apart(detachment) => {
            return detach::detach(context, detachment, Duration::ZERO).map(|()| None);
        }
        Outcome::Plugged(plugged) => &**plugged,
    };
    rewrite(context, domain, |record| {
        if record.volumes.iter().any(|v| is_same(v, noted)) {
            strike_volume(record, &volume.pool, &volume.name);
            insert_volume(record, volume.clone());
            add_disk(&mut record.manifest.spec, disk);
        }
    })?;
    Ok(Some(format!("Disk '{}' of VM '{vm}' written down", disk.target)))
}
