//! Ejects the cloud-init seed of a VM: [`survey`] checks whether cloud-init is done with it, [`eject`] deletes it.
//!
//! ```text
//!   unplug the CD-ROM ▸ delete the volume ▸ out of the record
//! ```
//!
//! The record names the volume until it is deleted, so that what was killed on the way is finished by the same command
//! again, or by `destroy`. What the seed held, only the guest has from then on; the record keeps the digests.

use std::time::Duration;

use super::destroy::Doomed;
use super::lookup::or_taken_away;
use super::wait;
use crate::disk::own_disk::{is_on, is_same_file};
use crate::disk::{Subject, refused};
use crate::storage::usage::Usage;
use crate::{Context, Event, disk};
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::record::{RecordedVolume, VolumeRole};
use foundry_host::libvirt_xml::{DiskDescription, DiskDevice, DiskSource, DomainDescription};
use foundry_host::{Affect, Volume};

/// How long a guest may take to let go of a CD-ROM. On SCSI it is not asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// What would be ejected.
#[derive(Debug, Clone, PartialEq)]
pub struct Ejection {
    /// The VM.
    pub vm: String,
    /// Whether a running guest has the seed.
    pub live: bool,
    /// The volume that goes.
    pub volume: Option<Doomed>,
    /// What stays, and why.
    pub kept: Option<(String, String)>,
    subject: Subject,
    seed: RecordedVolume,
    force: bool,
}

/// Looks whether the seed of a VM can go; `None` where it is gone already. Changes nothing. With `force` it goes though
/// it is unknown whether cloud-init is done.
///
/// # Errors
/// [`Kind::Vm`] where there is no such VM, it was made without a seed, or cloud-init is not known to be done.
pub fn survey(context: &Context, vm: &str, force: bool) -> Result<Option<Ejection>, Error> {
    let subject = Subject::look(context, vm)?;
    let vm = subject.domain.name.clone();
    let Some(seed) = subject.record.volumes.iter().find(|v| v.role == VolumeRole::Seed).cloned() else {
        return match subject.record.instance_id {
            Some(_) => Ok(None),
            None => Err(refused(Code::SeedMissing, format!("VM '{vm}' was made without a cloud-init seed"))),
        };
    };
    let live = subject.live.as_ref().is_some_and(|d| drive(d, &seed).is_some());
    // An ejection that was broken off behind this point has seen that it is done.
    if !force && (live || drive(&subject.next, &seed).is_some()) {
        check_done(context, &subject).map_err(|e| or_taken_away(context, &subject.domain, e))?;
    }
    disk::check_snapshots(context, &subject, "to go back to one would want the seed again")
        .map_err(|e| or_taken_away(context, &subject.domain, e))?;
    if !force {
        subject.check_held(context, &seed).map_err(|e| e.hint(by_force(&subject)))?;
    }
    let mut ejection = Ejection { vm, live, volume: None, kept: None, subject, seed, force };
    ejection.decide(context)?;
    Ok(Some(ejection))
}

/// The CD-ROM drive with the seed, or the empty one that it was in.
fn drive<'a>(described: &'a DomainDescription, seed: &RecordedVolume) -> Option<&'a DiskDescription> {
    let target = seed.disk_target()?;
    let has_it = |d: &&DiskDescription| {
        let is_empty = d.target == target && d.device == DiskDevice::Cdrom && d.source == DiskSource::None;
        is_empty || is_on(d, seed)
    };
    described.disks.iter().find(has_it)
}

fn by_force(subject: &Subject) -> Advice {
    Advice::from(Verb::SeedEject { vm: subject.domain.command_name(), force: true })
        .text(" ejects it all the same")
}

fn check_done(context: &Context, subject: &Subject) -> Result<(), Error> {
    let (vm, by_force) = (&subject.domain.name, by_force(subject));
    let is_done = wait::is_cloud_init_done(context, &subject.domain, &subject.record)
        .map_err(|e| if e.kind() == Kind::Vm { e.hint(by_force.clone()) } else { e })?;
    if is_done {
        return Ok(());
    }
    Err(refused(Code::CloudInitUndone, format!("cloud-init in VM '{vm}' is not known to be done"))
        .because("neither its guest agent nor its console says so")
        .hint(Advice::from("wait for it").and_then("; if you know that it is done: ", by_force)))
}

impl Ejection {
    /// The volume goes if it is the very one, and nobody else uses it.
    fn decide(&mut self, context: &Context) -> Result<(), Error> {
        let RecordedVolume { pool, name, path, .. } = &self.seed;
        let Some(found) = context.host.volume(pool, name)? else { return self.missing(context) };
        let reason = if !is_same_file(context, &found.path, path) {
            Some(format!("it is at {} and not at {path}", found.path))
        } else if let Some(doubt) = self.subject.ownership().doubt(&self.seed, &found) {
            Some(doubt)
        } else {
            Usage::look(context, Some(self.subject.domain.uuid))?.reason_to_stay((pool, name, path), &[])
        };
        match reason {
            Some(reason) => self.kept = Some((format!("volume '{name}' in pool '{pool}'"), reason)),
            None => self.volume = Some(doomed(found)),
        }
        Ok(())
    }

    /// A volume that libvirt does not show is gone, unless its pool is stopped.
    fn missing(&self, context: &Context) -> Result<(), Error> {
        let RecordedVolume { pool, name, .. } = &self.seed;
        match context.host.pool(pool)? {
            Some(found) if !found.active => Err(Error::new(
                Code::PoolInactive,
                format!("pool '{pool}' with volume '{name}' is not started"),
            )
            .hint(Verb::PoolStart { pool: pool.clone() })
            .unchanged()),
            _ => Ok(()),
        }
    }
}

fn doomed(volume: Volume) -> Doomed {
    let Volume { pool, name, path, capacity, .. } = volume;
    Doomed { pool, name, path, capacity, role: Some(VolumeRole::Seed) }
}

/// Does what a survey said.
///
/// # Errors
/// What failed; the same command again finishes it.
pub fn eject(context: &Context, ejection: &Ejection) -> Result<(), Error> {
    let vm = &ejection.vm;
    context.progress.tell(Event::Begins(format!("Ejecting the seed of VM '{vm}'...")));
    context.cancel.check_unchanged()?;
    // Nobody knows better than before whether cloud-init is done, and the drive may still be there.
    let again = Verb::SeedEject { vm: ejection.subject.domain.command_name(), force: ejection.force };
    let finishing = Advice::from(again).text(" finishes it");
    let unfinished =
        |error: Error| or_taken_away(context, &ejection.subject.domain, error.outcome(finishing.clone()));
    unplug(context, ejection).map_err(unfinished)?;
    context.done("CD-ROM detached");
    delete_volume(context, ejection).map_err(unfinished)?;
    let RecordedVolume { pool, name, .. } = &ejection.seed;
    disk::strike_out(context, &ejection.subject.domain, pool, name).map_err(unfinished)?;
    if let Some((what, why)) = &ejection.kept {
        context.warn(format!("left: {what}: {why}"));
    }
    Ok(())
}

/// Where the drive is gone already, or has another medium by now, there is nothing to do.
fn unplug(context: &Context, ejection: &Ejection) -> Result<(), Error> {
    let Ejection { vm, subject, seed, .. } = ejection;
    let uuid = subject.domain.uuid;
    let target = |described: Option<&DomainDescription>| {
        described.and_then(|d| drive(d, seed)).map(|d| d.target.clone())
    };
    if let Some(target) = target(subject.live.as_ref()) {
        context.host.detach_disk(uuid, &target, Affect::Live)?;
        if !disk::is_let_go(context, uuid, &target, PATIENCE, || context.cancel.is_requested())? {
            context.cancel.check()?;
            let message = format!("the guest of VM '{vm}' does not let go of its CD-ROM '{target}'");
            return Err(Error::new(Code::DiskHeld, message));
        }
    }
    if let Some(target) = target(Some(&subject.next)) {
        context.cancel.check()?;
        context.host.detach_disk(uuid, &target, Affect::Config)?;
    }
    Ok(())
}

fn delete_volume(context: &Context, ejection: &Ejection) -> Result<(), Error> {
    let Some(volume) = &ejection.volume else { return Ok(()) };
    let what = format!("the seed of VM '{}' was ejected", ejection.vm);
    // The path may be another one, where the pool was moved.
    let is_seed = |v: &RecordedVolume| (&v.pool, &v.name) == (&ejection.seed.pool, &ejection.seed.name);
    disk::delete_unplugged(context, &ejection.subject.domain, volume, |v| is_seed(v), &what)
}
