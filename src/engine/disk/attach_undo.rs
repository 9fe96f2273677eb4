//! Rolls back a failed attach.

use std::time::Duration;

use super::attach_plan::Job;
use super::detach::is_let_go;
use super::record_update::{add_disk, insert_volume, read, remove_disk, rewrite, strike_volume};
use crate::Context;
use crate::advice::list_unused;
use crate::vm::lookup::{is_taken_away, or_taken_away};
use foundry_core::error::{Advice, Error, Kind, Outcome, Remainder, Verb};
use foundry_core::plan::DiskFormat;
use foundry_core::record::{Record, RecordedVolume};
use foundry_core::units::GIB;
use foundry_host::{Affect, HostError, View};

/// How long a guest may take to let go of a disk that it was just given.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this run made.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The volume.
    pub(super) volume: bool,
    /// Nobody knows whether it was this run that made the volume that is there.
    pub(super) doubtful: bool,
    /// The disk may be plugged in.
    pub(super) plugged: bool,
}

/// Takes everything away again, newest first. The note stays as long as anything else does: it is what
/// `detach` and `destroy` find it by.
pub(super) fn undo(context: &Context, job: &Job, made: &Made, error: Error) -> Error {
    let error = if context.cancel.is_requested() { error.of_kind(Kind::Interrupted) } else { error };
    let taken_back = take_back(context, job, made);
    let domain = &job.subject.domain;
    let error = or_taken_away(context, domain, error);
    match taken_back {
        Ok(()) => error.outcome(Outcome::RolledBack),
        Err(left) => {
            let next = if is_taken_away(context, domain.uuid) { list_unused() } else { removal(job) };
            error.outcome(Outcome::Left(vec![left])).outcome(next)
        }
    }
}

/// As [`undo`], where not even the note is known to be there: who could not write it has nothing to strike out.
pub(super) fn unnoted(context: &Context, job: &Job, error: Error) -> Error {
    if !matches!(is_noted_by_us(context, job), Ok(false)) {
        return undo(context, job, &Made::default(), error);
    }
    let error = if context.cancel.is_requested() { error.of_kind(Kind::Interrupted) } else { error };
    or_taken_away(context, &job.subject.domain, error).unchanged()
}

/// What to do about what is left.
pub(super) fn removal(job: &Job) -> Advice {
    let (vm, target) = (job.subject.domain.command_name(), job.disk.target.to_string());
    Advice::from(again(job))
        .text(" finishes it, ")
        .run(Verb::DiskDetach { vm, target, keep: false })
        .text(" removes it")
}

/// The command that goes on with this very disk: without its device it would attach a second one where this one turns
/// out to be whole.
fn again(job: &Job) -> Verb {
    let disk = &job.disk;
    Verb::DiskAttach {
        vm: job.subject.domain.command_name(),
        size_gib: disk.size.0 / GIB,
        target: Some(disk.target.to_string()),
        raw: disk.format == DiskFormat::Raw,
        serial: disk.serial.as_ref().map(ToString::to_string),
        at_next_start: job.subject.live.is_some() && !job.live,
    }
}

/// What is left and why, where not all can be taken back.
fn take_back(context: &Context, job: &Job, made: &Made) -> Result<(), Remainder> {
    let volume = format!("volume '{}' in pool '{}'", job.volume.name, job.volume.pool);
    check_insisted(context, &volume)?;
    let told = |e: HostError| Error::from(e).to_string();
    if is_taken_away(context, job.subject.domain.uuid) {
        return clear_after_destroy(context, job, made).map_err(|why| Remainder::new(&volume, why));
    }
    if made.plugged {
        let disk = format!("disk '{}' of VM '{}' with {volume}", job.disk.target, job.subject.name());
        unplug(context, job, made).map_err(|why| Remainder::new(&disk, why))?;
    }
    check_insisted(context, &volume)?;
    if made.doubtful {
        return leave_to_its_maker(context, job);
    }
    if job.volume_is_there {
        return Err(Remainder::new(&volume, "an earlier run made it"));
    }
    if made.volume {
        let deleted = context.host.delete_volume(&job.volume.pool, &job.volume.name);
        deleted.map_err(|e| Remainder::new(&volume, told(e)))?;
    }
    change(context, job, |record| {
        record.volumes.retain(|v| *v != job.volume);
        if made.volume {
            // It may have been a disk of the VM's for a moment.
            strike_volume(record, &job.volume.pool, &job.volume.name);
            remove_disk(&mut record.manifest.spec, job.disk.target.as_str());
        }
    })
}

/// The VM was destroyed meanwhile, and its record is gone. As long as no other VM has its name, nobody else can
/// have made a volume of this name.
fn clear_after_destroy(context: &Context, job: &Job, made: &Made) -> Result<(), String> {
    let told = |e: HostError| Error::from(e).to_string();
    let RecordedVolume { pool, name, .. } = &job.volume;
    if made.volume && context.host.domain(job.subject.name()).map_err(told)?.is_none() {
        return context.host.delete_volume(pool, name).map_err(told);
    }
    match context.host.volume(pool, name).map_err(told)? {
        None => Ok(()),
        Some(_) => Err("the VM was taken away by somebody else meanwhile; it may be another's now".into()),
    }
}

fn check_insisted(context: &Context, volume: &str) -> Result<(), Remainder> {
    if context.cancel.is_insisted() {
        return Err(Remainder::new(volume, "the undoing was interrupted"));
    }
    Ok(())
}

fn change(context: &Context, job: &Job, act: impl Fn(&mut Record)) -> Result<(), Remainder> {
    let RecordedVolume { pool, name, .. } = &job.volume;
    let vm = job.subject.name();
    rewrite(context, &job.subject.domain, act).map(drop).map_err(|e| Remainder {
        object: format!("the note of volume '{name}' in pool '{pool}' in the record of VM '{vm}'"),
        why: e.to_string(),
    })
}

/// Another process may have had the same idea in the same moment and written its own note over this one's.
fn is_noted_by_us(context: &Context, job: &Job) -> Result<bool, String> {
    let record = read(context, &job.subject.domain).map_err(|e| e.to_string())?;
    Ok(record.volumes.contains(&job.volume))
}

/// A volume that may be another process's is not deleted. Where it is a disk of the domain's already, that
/// process has finished, and this one's note may be what stands over its: then that is put right.
fn leave_to_its_maker(context: &Context, job: &Job) -> Result<(), Remainder> {
    let RecordedVolume { pool, name, .. } = &job.volume;
    let left = |why: String| Remainder::new(format!("volume '{name}' in pool '{pool}'"), why);
    let unknown = || Err(left("it may exist".into()));
    let told = |e: HostError| Error::from(e).to_string();
    if !is_plugged(context, job, View::Config).map_err(left)? {
        return unknown();
    }
    let Some(found) = context.host.volume(pool, name).map_err(|e| left(told(e)))? else { return unknown() };
    change(context, job, |record| {
        if record.volumes.contains(&job.volume) {
            let (capacity, format) = (found.capacity, found.format.clone());
            strike_volume(record, pool, name);
            insert_volume(record, RecordedVolume { attaching: None, capacity, format, ..job.volume.clone() });
            add_disk(&mut record.manifest.spec, &job.disk_as(&found));
        }
    })
}

/// Whether the domain has this very disk.
fn is_plugged(context: &Context, job: &Job, view: View) -> Result<bool, String> {
    let described = context.host.describe(job.subject.domain.uuid, view);
    let described = described.map_err(|e| Error::from(e).to_string())?;
    let disk = described.as_ref().and_then(|d| d.disk(job.disk.target.as_str()));
    Ok(disk.and_then(|d| d.source.path()) == Some(&job.volume.path))
}

/// Unplugs the disk wherever it is, and returns when it is nowhere.
fn unplug(context: &Context, job: &Job, made: &Made) -> Result<(), String> {
    if !made.volume && !is_noted_by_us(context, job)? {
        return Ok(());
    }
    let told = |e: HostError| Error::from(e).to_string();
    let (uuid, target) = (job.subject.domain.uuid, job.disk.target.as_str());
    let is_active = context.host.state(uuid).map_err(told)?.is_some_and(|now| now.state.is_active());
    if is_active && is_plugged(context, job, View::Current)? {
        context.host.detach_disk(uuid, target, Affect::Live).map_err(told)?;
        let give_up = || context.cancel.is_insisted();
        if !is_let_go(context, uuid, target, PATIENCE, give_up).map_err(|e| e.to_string())? {
            return Err("the guest does not let go of it".into());
        }
    }
    if is_plugged(context, job, View::Config)? {
        context.host.detach_disk(uuid, target, Affect::Config).map_err(told)?;
    }
    Ok(())
}
