//! Attaches a new disk: note its volume, create it, plug it in, add it to the manifest.

use super::attach_plan::{Job, Request, prepare, rivalled};
use super::attach_undo::{Made, removal, undo, unnoted};
use super::record_update::{add_disk, insert_volume, rewrite, strike_volume};
use crate::diagnose::Witness;
use crate::preflight::storage::PoolNeed;
use crate::storage::volumes::{check_path, volume_xml};
use crate::vm::create::ensure_pool;
use crate::vm::lookup::or_taken_away;
use crate::{Context, Event};
use foundry_core::domain_xml;
use foundry_core::error::{Advice, Error, Verb};
use foundry_core::plan::DataDiskPlan;
use foundry_core::record::{Liveness, Record, RecordedVolume};
use foundry_core::units::GIB;
use foundry_host::diagnosis::Asked;
use foundry_host::libvirt_xml::has_free_port;
use foundry_host::{HostError, View};

/// A disk that was attached.
#[derive(Debug, Clone, PartialEq)]
pub struct Attached {
    /// The VM.
    pub vm: String,
    /// The disk.
    pub disk: DataDiskPlan,
    /// Its volume.
    pub volume: RecordedVolume,
    /// Whether a running guest has it already.
    pub live: bool,
}

/// Makes a volume and attaches it to a foundry VM.
///
/// # Errors
/// What stands in the way, before anything is made; else what failed, after everything that was made is
/// removed again, and what is left where that failed too.
pub fn attach(context: &Context, request: &Request<'_>) -> Result<Attached, Error> {
    let job = reserved(context, request)?;
    let volume = format!("volume '{}' in pool '{}'", job.volume.name, job.volume.pool);
    let _leaves =
        context.cancel.leaves([format!("may be left behind: {volume}").into(), removal(&job).into()]);
    let mut made = Made::default();
    build(context, &job, &mut made).map_err(|error| undo(context, &job, &made, error))?;
    Ok(Attached {
        vm: job.subject.name().to_owned(),
        live: job.live,
        volume: RecordedVolume { attaching: None, ..job.volume.clone() },
        disk: job.disk,
    })
}

/// Decides what is to be made and writes that down. Where another process took the same target at the same
/// moment, the next one is taken, unless the user named it.
fn reserved(context: &Context, request: &Request<'_>) -> Result<Job, Error> {
    let mut job = prepare(context, request)?;
    warn_of_snapshots(context, &job)?;
    let name = job.subject.name();
    context.progress.tell(Event::Begins(format!("Attaching a disk of {} to VM '{name}'...", request.size)));
    while !reserve(context, &job)? {
        if request.device.is_some() {
            return Err(rivalled(job.subject.name(), &job.disk.target));
        }
        job = prepare(context, request)?;
    }
    Ok(job)
}

/// A snapshot brings back the VM without the disk, whose volume then is nobody's.
fn warn_of_snapshots(context: &Context, job: &Job) -> Result<(), Error> {
    let domain = &job.subject.domain;
    let listed = context.host.snapshots(domain.uuid);
    let snapshots = listed.map_err(|e| or_taken_away(context, domain, e.into()))?;
    if !snapshots.is_empty() {
        context.warn(format!(
            "VM '{}' has snapshots: {}; to go back to one takes the disk away and leaves its volume '{}'",
            job.subject.name(),
            snapshots.join(", "),
            job.volume.name
        ));
    }
    Ok(())
}

/// Writes down what is about to be made. Of several processes that want the same target one stands there in
/// the end; whether it is this one.
fn reserve(context: &Context, job: &Job) -> Result<bool, Error> {
    context.cancel.check_unchanged()?;
    if job.pool.need != PoolNeed::Nothing {
        ensure_pool(context, &job.pool)?;
    }
    let noted = rewrite(context, &job.subject.domain, |record| note(record, &job.volume))
        .map_err(|error| unnoted(context, job, error))?;
    Ok(noted.volumes.contains(&job.volume))
}

/// The steps that change the host, in their order.
fn build(context: &Context, job: &Job, made: &mut Made) -> Result<(), Error> {
    context.cancel.check()?;
    if !job.volume_is_there {
        make_volume(context, job, made)?;
    }
    context.done(format!("Volume '{}' made", job.volume.name));
    context.cancel.check()?;
    if let Some(reach) = job.reach {
        let xml = domain_xml::render_data_disk(&job.disk, &job.source)?;
        made.plugged = true;
        let domain = &job.subject.domain;
        let asked = Asked { vm: domain.name.clone(), uuid: domain.uuid.to_string(), ..Asked::default() };
        let witness = Witness::new(context, asked);
        let plugged = context.host.attach_disk(domain.uuid, &xml, reach);
        plugged.map_err(|refused| not_plugged(context, witness, job, refused))?;
    }
    context.done(if job.live { "Disk attached" } else { "Disk attached from the next start on" });
    context.cancel.check()?;
    rewrite(context, &job.subject.domain, |record| settle(record, job)).map(drop)
}

/// A volume that is somebody else's is not one of ours, whoever is faster.
fn make_volume(context: &Context, job: &Job, made: &mut Made) -> Result<(), Error> {
    let RecordedVolume { pool, name, .. } = &job.volume;
    context.working(format!("Making volume {name}"));
    match context.host.create_volume(pool, &volume_xml(&job.volume, job.allocation, None)?) {
        Ok(volume) => {
            made.volume = true;
            check_path(&job.volume, &volume)
        }
        Err(failed) => {
            // It may have been made anyway, or be another's that was made since the look.
            let there = context.host.volume(pool, name);
            made.doubtful = failed.outcome_unknown() || !matches!(there, Ok(None));
            Err(failed.into())
        }
    }
}

/// As the running guest's description says: libvirtd's words may be of any language.
fn has_no_port(context: &Context, job: &Job) -> bool {
    let xml = context.host.domain_xml(job.subject.domain.uuid, View::Current).ok().flatten();
    xml.is_some_and(|xml| has_free_port(&xml) == Some(false))
}

/// libvirt cannot add a slot to a running guest.
fn not_plugged(context: &Context, witness: Witness, job: &Job, error: HostError) -> Error {
    let no_slot = matches!(&error, HostError::Refused { libvirt, .. } if libvirt.contains("PCI slots"))
        || (matches!(&error, HostError::Refused { .. }) && has_no_port(context, job));
    let error = witness.explain(context, error);
    if !no_slot {
        return error;
    }
    let attach = Verb::DiskAttach {
        vm: job.subject.domain.command_name(),
        size_gib: job.disk.size.0 / GIB,
        target: None,
        raw: false,
        serial: None,
        at_next_start: true,
    };
    error.hint(
        Advice::from("the guest has no free slot for a disk; ")
            .run(attach)
            .text(" attaches it when it starts next"),
    )
}

/// Puts the volume into the record, in place of an attempt whose process ended.
fn note(record: &mut Record, volume: &RecordedVolume) {
    match record.volumes.iter_mut().find(|v| v.pool == volume.pool && v.name == volume.name) {
        Some(noted) => {
            if noted.attaching.as_ref().is_some_and(|maker| maker.check_liveness() == Liveness::Dead) {
                noted.clone_from(volume);
            }
        }
        None => insert_volume(record, volume.clone()),
    }
}

/// From here on it is a disk of the VM's like any other.
fn settle(record: &mut Record, job: &Job) {
    strike_volume(record, &job.volume.pool, &job.volume.name);
    insert_volume(record, RecordedVolume { attaching: None, ..job.volume.clone() });
    add_disk(&mut record.manifest.spec, &job.disk);
}
