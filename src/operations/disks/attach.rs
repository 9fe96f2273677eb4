//! Attaches a new disk: note its volume, make it, plug it in, write it into the manifest.

use super::detach::is_let_go;
use super::entry::{add_disk, rewrite, strike_volume};
use super::subject::{Subject, refused};
use std::time::Duration;

use crate::domain_xml::{self, DiskSource};
use crate::error::{Error, Kind};
use crate::host::libvirt_xml::{self, DomainDescription};
use crate::host::{HostError, Reach, View};
use crate::names::{DiskSerial, DiskTarget, PoolName, VmName};
use crate::operations::create::{check_path, ensure_pool, volume_xml};
use crate::operations::preflight::report;
use crate::operations::storage_preflight::{self, EMPTY_QCOW2, PoolNeed, ReadyPool};
use crate::operations::survey::differs_from_plan;
use crate::operations::{Event, Session, usage};
use crate::plan::{DataDisk, DiskFormat};
use crate::record::{Liveness, Maker, Record, RecordedVolume, Role};
use crate::text::shell_word;
use crate::units::Bytes;

/// How long a guest may take to let go of a disk that it was just given.
const UNDO_PATIENCE: Duration = Duration::from_secs(10);

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct Request<'a> {
    /// The VM.
    pub vm: &'a str,
    /// What the guest is to see.
    pub size: Bytes,
    /// The guest's name of it; `None` takes the next free one.
    pub device: Option<DiskTarget>,
    /// Its format.
    pub format: DiskFormat,
    /// What the guest calls it, where that is not its target.
    pub serial: Option<DiskSerial>,
    /// A running guest gets it at its next start and not now.
    pub at_next_start: bool,
}

/// A disk that was attached.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// The VM.
    pub vm: String,
    /// The disk.
    pub disk: DataDisk,
    /// Its volume.
    pub volume: RecordedVolume,
    /// Whether a running guest has it already.
    pub live: bool,
}

/// Everything that is decided before the first change.
struct Job {
    subject: Subject,
    disk: DataDisk,
    volume: RecordedVolume,
    pool: ReadyPool,
    /// Whether an earlier run, which was broken off, made the volume.
    volume_is_there: bool,
    /// Where it is still to be plugged in.
    reach: Option<Reach>,
    live: bool,
}

/// What this run made.
#[derive(Default)]
struct Made {
    volume: bool,
    /// Nobody knows whether the volume was made.
    doubtful: bool,
}

/// Makes a volume and attaches it to a VM of foundry's.
///
/// # Errors
/// What stands in the way, before anything is made; else what failed, after everything that was made is
/// removed again, and what is left where that failed too.
pub fn attach(session: &Session<'_>, request: &Request<'_>) -> Result<Attached, Error> {
    let job = prepare(session, request)?;
    let name = job.subject.name();
    session.progress.tell(Event::Begins(format!("Attaching disk '{}' to VM '{name}'...", job.disk.target)));
    session.cancel.check().map_err(|e| e.outcome("nothing was changed"))?;
    if job.pool.need != PoolNeed::Nothing {
        ensure_pool(session, &job.pool)?;
    }
    reserve(session, &job)?;
    let mut made = Made::default();
    build(session, &job, &mut made).map_err(|error| undo(session, &job, &made, error))?;
    Ok(Attached {
        vm: name.to_owned(),
        live: job.live,
        volume: RecordedVolume { attaching: None, ..job.volume.clone() },
        disk: job.disk,
    })
}

/// Decides; changes nothing.
fn prepare(session: &Session<'_>, request: &Request<'_>) -> Result<Job, Error> {
    let subject = Subject::look(session, request.vm)?;
    let pool = ready_pool(session, &subject)?;
    let earlier = earlier_attempt(&subject, request)?;
    let target = match (&earlier, &request.device) {
        (Some((target, _)), _) => target.clone(),
        (None, Some(device)) => free_target(session, &subject, device, &pool)?,
        (None, None) => next_target(session, &subject, &pool)?,
    };
    let volume = match earlier {
        Some((_, volume)) => RecordedVolume { attaching: Some(Maker::current()), ..volume },
        None => planned_volume(&subject, request, &target, &pool)?,
    };
    let found = session.host.volume(&volume.pool, &volume.name)?;
    if let Some(other) = found.as_ref().and_then(|v| differs_from_plan(&volume, v)) {
        return Err(in_the_way(&volume).because(other));
    }
    check_room(session, &pool, request)?;
    let disk = DataDisk {
        volume: volume.name.parse().map_err(|e| refused(format!("volume '{}' {e}", volume.name)))?,
        target,
        size: request.size,
        format: request.format,
        serial: request.serial.clone(),
    };
    let (live, reach) = places(&subject, disk.target.as_str(), request.at_next_start);
    Ok(Job { disk, volume, pool, volume_is_there: found.is_some(), reach, live, subject })
}

/// Whether a running guest has it afterwards, and where it is still to be plugged in.
fn places(subject: &Subject, target: &str, at_next_start: bool) -> (bool, Option<Reach>) {
    let has = |described: &DomainDescription| described.disk(target).is_some();
    let has_live = subject.live.as_ref().is_some_and(has);
    let needs_live = subject.live.is_some() && !has_live && !at_next_start;
    (has_live || needs_live, Reach::of(needs_live, !has(&subject.next)))
}

/// The pool of the VM's other disks.
fn ready_pool(session: &Session<'_>, subject: &Subject) -> Result<ReadyPool, Error> {
    let volumes = &subject.record.volumes;
    let boot = volumes.iter().find(|v| v.role == Role::Boot).or(volumes.first());
    let name = match boot {
        Some(volume) => {
            volume.pool.parse::<PoolName>().map_err(|e| refused(format!("its pool '{}' {e}", volume.pool)))?
        }
        None => session.settings.vm_pool.clone(),
    };
    usage::refresh(session, name.as_str())?;
    let mut findings = Vec::new();
    match storage_preflight::check_pool(session, &name, &mut findings)? {
        Some((pool, _)) => Ok(pool),
        None => Err(report(subject.name(), &findings)),
    }
}

/// An attach of the same disk that was broken off: this one finishes it. Of another disk it is only told.
fn earlier_attempt(
    subject: &Subject,
    request: &Request<'_>,
) -> Result<Option<(DiskTarget, RecordedVolume)>, Error> {
    for volume in &subject.record.volumes {
        let Some(maker) = &volume.attaching else { continue };
        let Some(target) = VmName::target_of_volume(&volume.name) else { continue };
        let is_meant = request.device.as_ref().is_none_or(|d| *d == target);
        let is_same = volume.capacity == request.size && volume.format == request.format.as_str();
        match maker.liveness() {
            Liveness::Dead if is_meant && is_same => return Ok(Some((target, volume.clone()))),
            Liveness::Alive | Liveness::Elsewhere if request.device.as_ref() == Some(&target) => {
                return Err(refused(format!(
                    "disk '{target}' of VM '{}' is being attached by process {}",
                    subject.name(),
                    maker.pid
                )));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// A target that the user named.
fn free_target(
    session: &Session<'_>,
    subject: &Subject,
    device: &DiskTarget,
    pool: &ReadyPool,
) -> Result<DiskTarget, Error> {
    let vm = subject.name();
    let in_record = subject.record.volumes.iter().any(|v| v.target().as_deref() == Some(device.as_str()));
    let described = subject.live.iter().chain([&subject.next]).any(|d| d.disk(device.as_str()).is_some());
    if described {
        return Err(refused(format!("VM '{vm}' has a disk '{device}'"))
            .hint("without --device the next free one is taken"));
    }
    if in_record {
        return Err(super::resize::unfinished(vm, device.as_str()));
    }
    let volume = volume_name(subject, device)?;
    if session.host.volume(&pool.name, &volume)?.is_some() {
        return Err(exists(&pool.name, &volume));
    }
    Ok(device.clone())
}

fn exists(pool: &str, volume: &str) -> Error {
    Error::new(Kind::Storage, format!("volume '{volume}' exists in pool '{pool}'"))
        .hint("it may hold data that somebody kept: choose another --device")
        .outcome("nothing was changed")
}

fn in_the_way(volume: &RecordedVolume) -> Error {
    exists(&volume.pool, &volume.name)
}

/// The first target that neither the domain nor the record has, and whose volume's name is free: disks that
/// were kept keep their names.
fn next_target(session: &Session<'_>, subject: &Subject, pool: &ReadyPool) -> Result<DiskTarget, Error> {
    let taken = subject.targets();
    for target in DiskTarget::all().filter(|t| !taken.iter().any(|taken| taken == t.as_str())) {
        if session.host.volume(&pool.name, &volume_name(subject, &target)?)?.is_none() {
            return Ok(target);
        }
    }
    Err(refused(format!("VM '{}' has no free device: vdb to vdz are taken", subject.name())))
}

/// As a creation would name it.
fn volume_name(subject: &Subject, target: &DiskTarget) -> Result<String, Error> {
    let vm: VmName = subject.name().parse().map_err(|e| {
        refused(format!("VM '{}' has a name that foundry would not give: it {e}", subject.name()))
    })?;
    Ok(vm.data_volume(target).to_string())
}

fn planned_volume(
    subject: &Subject,
    request: &Request<'_>,
    target: &DiskTarget,
    pool: &ReadyPool,
) -> Result<RecordedVolume, Error> {
    let name = volume_name(subject, target)?;
    Ok(RecordedVolume {
        role: Role::Data,
        pool: pool.name.clone(),
        path: storage_preflight::volume_path(&pool.target, &name),
        name,
        format: request.format.as_str().to_owned(),
        capacity: request.size,
        backing: None,
        attaching: Some(Maker::current()),
    })
}

/// Disks are thin: little is needed now, and more is promised than may be there.
fn check_room(session: &Session<'_>, pool: &ReadyPool, request: &Request<'_>) -> Result<(), Error> {
    let Some(found) = session.host.pool(&pool.name)?.filter(|p| p.active) else { return Ok(()) };
    if found.available < EMPTY_QCOW2 {
        return Err(Error::new(
            Kind::Storage,
            format!("pool '{}' has only {} left", pool.name, found.available),
        )
        .outcome("nothing was changed"));
    }
    if found.available < request.size {
        session.warn(format!(
            "the disk can grow to {}, and pool '{}' has {} left",
            request.size, pool.name, found.available
        ));
    }
    Ok(())
}

/// Writes down what is about to be made. Of several processes that want the same target one stands there in
/// the end, and the others leave it to that one.
fn reserve(session: &Session<'_>, job: &Job) -> Result<(), Error> {
    let noted = rewrite(session, &job.subject.domain, |record| note(record, &job.volume))
        .map_err(|error| undo(session, job, &Made::default(), error))?;
    if noted.volumes.contains(&job.volume) {
        return Ok(());
    }
    Err(refused(format!(
        "another process attaches a disk '{}' to VM '{}' at this moment",
        job.disk.target,
        job.subject.name()
    )))
}

/// The steps that change the host, in their order.
fn build(session: &Session<'_>, job: &Job, made: &mut Made) -> Result<(), Error> {
    session.cancel.check()?;
    if !job.volume_is_there {
        make_volume(session, job, made)?;
    }
    session.done(format!("Volume '{}' made", job.volume.name));
    session.cancel.check()?;
    if let Some(reach) = job.reach {
        let xml = domain_xml::data_disk(&job.disk, &DiskSource::File(job.volume.path.clone()))?;
        session.host.attach_disk(job.subject.domain.uuid, &xml, reach).map_err(|e| not_plugged(job, e))?;
    }
    session.done(if job.live { "Disk attached" } else { "Disk attached from the next start on" });
    session.cancel.check()?;
    rewrite(session, &job.subject.domain, |record| settle(record, job)).map(drop)
}

/// A volume that is somebody else's is not one of ours, whoever is faster.
fn make_volume(session: &Session<'_>, job: &Job, made: &mut Made) -> Result<(), Error> {
    let RecordedVolume { pool, name, .. } = &job.volume;
    session.working(format!("Making volume {name}"));
    match session.host.create_volume(pool, &volume_xml(&job.volume, Bytes(0), None)?) {
        Ok(volume) => {
            made.volume = true;
            check_path(&job.volume, &volume)
        }
        Err(failed) => {
            // It may have been made all the same, or be another's that was made since the look.
            let there = session.host.volume(pool, name);
            made.doubtful = failed.outcome_unknown() || !matches!(there, Ok(None));
            Err(failed.into())
        }
    }
}

/// libvirt cannot add a slot to a running guest.
fn not_plugged(job: &Job, error: HostError) -> Error {
    let no_slot = matches!(&error, HostError::Refused { libvirt, .. } if libvirt.contains("PCI slots"));
    let error = Error::from(error);
    if !no_slot {
        return error;
    }
    error.hint(format!(
        "the guest has no free slot for a disk; foundry disk attach {} {} --at-next-start attaches it when it starts next",
        shell_word(job.subject.name()),
        job.disk.size.0 / crate::units::GIB
    ))
}

/// Puts the volume into the record, in place of an attempt whose process ended.
fn note(record: &mut Record, volume: &RecordedVolume) {
    match record.volumes.iter_mut().find(|v| v.pool == volume.pool && v.name == volume.name) {
        Some(noted) => {
            if noted.attaching.as_ref().is_some_and(|maker| maker.liveness() == Liveness::Dead) {
                noted.clone_from(volume);
            }
        }
        None => insert(record, volume.clone()),
    }
}

/// Before the seed, as a creation has it.
fn insert(record: &mut Record, volume: RecordedVolume) {
    let at = record.volumes.iter().position(|v| v.role == Role::Seed).unwrap_or(record.volumes.len());
    record.volumes.insert(at, volume);
}

/// From here on it is a disk of the VM's like any other.
fn settle(record: &mut Record, job: &Job) {
    strike_volume(record, &job.volume.pool, &job.volume.name);
    insert(record, RecordedVolume { attaching: None, ..job.volume.clone() });
    add_disk(&mut record.manifest.spec, &job.disk);
}

/// Takes everything away again, newest first. The note stays as long as anything else does: it is what
/// `detach` and `destroy` find it by.
fn undo(session: &Session<'_>, job: &Job, made: &Made, error: Error) -> Error {
    let error = if session.cancel.is_requested() { error.of_kind(Kind::Interrupted) } else { error };
    let left = match take_back(session, job, made) {
        Ok(()) => return error.outcome("everything that was made is removed again"),
        Err(left) => left,
    };
    let (vm, target) = (shell_word(job.subject.name()), &job.disk.target);
    error
        .outcome(format!("left behind: {left}"))
        .outcome(format!("the same command again finishes it, foundry disk detach {vm} {target} removes it"))
}

fn take_back(session: &Session<'_>, job: &Job, made: &Made) -> Result<(), String> {
    let told = |e: Error| e.to_string();
    let volume = format!("volume '{}' in pool '{}'", job.volume.name, job.volume.pool);
    let may_be_left = made.volume || made.doubtful || job.volume_is_there;
    if !may_be_left && matches!(session.host.state(job.subject.domain.uuid), Ok(None)) {
        return Ok(());
    }
    let insisted = || session.cancel.is_insisted().then(|| format!("{volume} (the undoing was interrupted)"));
    if let Some(left) = insisted() {
        return Err(left);
    }
    unplug(session, job).map_err(|reason| {
        format!("disk '{}' of VM '{}' with {volume} ({reason})", job.disk.target, job.subject.name())
    })?;
    if let Some(left) = insisted() {
        return Err(left);
    }
    if made.doubtful {
        return Err(format!("{volume} (it may exist)"));
    }
    if job.volume_is_there {
        return Err(format!("{volume} (an earlier run made it)"));
    }
    if made.volume {
        let deleted = session.host.delete_volume(&job.volume.pool, &job.volume.name);
        deleted.map_err(|e| format!("{volume} ({})", Error::from(e)))?;
    }
    let strike = |record: &mut Record| record.volumes.retain(|v| *v != job.volume);
    rewrite(session, &job.subject.domain, strike).map(drop).map_err(|e| {
        format!("the note of {volume} in the record of VM '{}' ({})", job.subject.name(), told(e))
    })
}

/// Unplugs the disk wherever it is, and returns when it is nowhere.
fn unplug(session: &Session<'_>, job: &Job) -> Result<(), String> {
    let told = |e: HostError| Error::from(e).to_string();
    let (uuid, target) = (job.subject.domain.uuid, job.disk.target.as_str());
    let Some(now) = session.host.state(uuid).map_err(told)? else {
        return Err("the domain was taken away by somebody else; it may be another's now".into());
    };
    let has = |view| -> Result<bool, String> {
        let described = DomainDescription::read(&session.host.domain_xml(uuid, view).map_err(told)?);
        let path = libvirt_xml::DiskSource::File(job.volume.path.clone());
        Ok(described.map_err(told)?.disk(target).is_some_and(|d| d.source == path))
    };
    if now.state.is_active() && has(View::Current)? {
        session.host.detach_disk(uuid, target, Reach::Live).map_err(told)?;
        let give_up = || session.cancel.is_insisted();
        if !is_let_go(session, uuid, target, UNDO_PATIENCE, give_up).map_err(|e| e.to_string())? {
            return Err("the guest does not let go of it".into());
        }
    }
    if has(View::Persistent)? {
        session.host.detach_disk(uuid, target, Reach::Persistent).map_err(told)?;
    }
    Ok(())
}
