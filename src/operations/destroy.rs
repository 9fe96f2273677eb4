//! Takes a VM away: mark, stop, delete what the record names, undefine last.
//!
//! It has two halves. [`survey`] looks and says exactly what would go and what would stay; the user
//! sees that and agrees. [`carry_out`] does it. The definition goes last because it holds the record:
//! killed anywhere, a second `destroy` finds the rest and finishes.

use std::time::Duration;

use super::lookup::{absent, find};
use super::stop::{Patience, stop};
use super::usage::Usage;
use super::{Event, Session, chain, console};
use crate::error::{Error, Kind};
use crate::host::libvirt_xml::{DiskSource, DomainDescription};
use crate::host::{Domain, View, Volume};
use crate::names::VmName;
use crate::record::{Liveness, Owner, Record, RecordedVolume, Role, State};
use crate::units::Bytes;

/// How to destroy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// No graceful shutdown; and domains without foundry's record too.
    pub force: bool,
    /// Boot and data disks stay.
    pub keep_disks: bool,
    /// How long the guest may take to shut down.
    pub timeout: Duration,
}

/// What would go and what would stay.
#[derive(Debug, Clone, PartialEq)]
pub struct Demolition {
    /// The domain.
    pub domain: Domain,
    /// The volumes that go.
    pub volumes: Vec<Doomed>,
    /// The disks that stay because the user wants them.
    pub kept: Vec<Doomed>,
    /// What stays because it is not, or not surely, the VM's: a volume and the reason.
    pub spared: Vec<(String, String)>,
    record: Option<Record>,
    console_log: Option<String>,
    options: Options,
}

/// A volume that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// Its path on the host.
    pub path: String,
    /// What the guest sees of it.
    pub capacity: Bytes,
    /// What it is for; `None` for an overlay that a snapshot made.
    pub role: Option<Role>,
}

/// Looks at a VM and decides what would go with it; changes nothing.
///
/// # Errors
/// [`Kind::Vm`] where there is no such VM, or foundry must not touch it.
pub fn survey(session: &Session<'_>, name: &str, options: Options) -> Result<Demolition, Error> {
    let Some(domain) = find(session, name)? else { return Err(absent(session, name)?) };
    match Owner::of(domain.record.as_deref()) {
        Owner::Foundry(record) => survey_recorded(session, domain, *record, options),
        Owner::FirstFoundry(_) => survey_by_convention(session, domain, options),
        Owner::Foreign | Owner::Unreadable(_) if options.force => survey_by_convention(session, domain, options),
        Owner::Foreign => Err(Error::new(Kind::Vm, format!("domain '{name}' was not made by foundry"))
            .hint(format!("foundry destroy {name} --force deletes it and those of its disks that are named as foundry names them"))
            .outcome("nothing was changed")),
        Owner::Unreadable(reason) => Err(Error::new(Kind::Vm, format!("foundry's record of VM '{name}' cannot be read"))
            .because(reason)
            .outcome("nothing was changed")),
    }
}

fn survey_recorded(
    session: &Session<'_>,
    domain: Domain,
    record: Record,
    options: Options,
) -> Result<Demolition, Error> {
    refuse_if_busy(&domain, &record, options)?;
    let described = DomainDescription::read(&session.host.domain_xml(domain.uuid, View::Current)?)?;
    let mut demolition = Demolition {
        console_log: record.console_log.clone(),
        domain,
        volumes: Vec::new(),
        kept: Vec::new(),
        spared: Vec::new(),
        record: None,
        options,
    };
    let paths: Vec<String> = record.volumes.iter().map(|v| v.path.clone()).collect();
    if described.disks.iter().any(|d| matches!(&d.source, DiskSource::File(p) if !paths.contains(p))) {
        refresh_pools(session, &record.volumes)?;
        let overlays = chain::snapshot_overlays(session, &described, &paths)?;
        overlays.into_iter().for_each(|volume| demolition.sort_in(doomed(volume, None)));
    }
    for recorded in &record.volumes {
        demolition.add_recorded(session, recorded, record.state)?;
    }
    demolition.record = Some(record);
    demolition.spare_shared(session)?;
    Ok(demolition)
}

/// A creation that goes on is left alone; one of another machine is its user's to judge.
fn refuse_if_busy(domain: &Domain, record: &Record, options: Options) -> Result<(), Error> {
    if record.state != State::Creating {
        return Ok(());
    }
    let name = &domain.name;
    match record.maker.liveness() {
        Liveness::Dead => Ok(()),
        Liveness::Elsewhere if options.force => Ok(()),
        Liveness::Elsewhere => {
            Err(Error::new(Kind::Vm, format!("VM '{name}' is being created from another machine"))
                .hint(format!("if that was given up: foundry destroy {name} --force"))
                .outcome("nothing was changed"))
        }
        Liveness::Alive => {
            Err(Error::new(Kind::Vm, format!("VM '{name}' is being created by process {}", record.maker.pid))
                .hint("wait for it, or stop that process; it then removes what it made")
                .outcome("nothing was changed"))
        }
    }
}

/// libvirt does not know the files that snapshots made until it looks again.
fn refresh_pools(session: &Session<'_>, volumes: &[RecordedVolume]) -> Result<(), Error> {
    let mut pools: Vec<&str> = volumes.iter().map(|v| v.pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    pools.into_iter().try_for_each(|pool| session.host.refresh_pool(pool)).map_err(Error::from)
}

/// For a domain without a record that foundry can use: only volumes that its own XML references *and*
/// that are named as foundry names the volumes of a VM of this name.
fn survey_by_convention(
    session: &Session<'_>,
    domain: Domain,
    options: Options,
) -> Result<Demolition, Error> {
    let described = DomainDescription::read(&session.host.domain_xml(domain.uuid, View::Persistent)?)?;
    let name: Option<VmName> = domain.name.parse().ok();
    let mut demolition = Demolition {
        domain,
        volumes: Vec::new(),
        kept: Vec::new(),
        spared: Vec::new(),
        record: None,
        console_log: None,
        options,
    };
    for disk in &described.disks {
        let volume = match &disk.source {
            DiskSource::File(path) | DiskSource::Block(path) => session.host.volume_at(path)?,
            DiskSource::Volume { pool, volume } => session.host.volume(pool, volume)?,
            DiskSource::None | DiskSource::Other(_) => None,
        };
        let Some(volume) = volume else { continue };
        if name.as_ref().is_some_and(|n| n.owns_by_convention(&volume.name)) {
            let role = role_by_name(&volume.name);
            demolition.sort_in(doomed(volume, role));
        } else {
            demolition.spared.push((
                describe(&volume.pool, &volume.name),
                "it is not named as foundry names disks".into(),
            ));
        }
    }
    demolition.spare_shared(session)?;
    Ok(demolition)
}

fn role_by_name(volume: &str) -> Option<Role> {
    let stem = volume.rsplit_once('_').map_or(volume, |(_, end)| end);
    match stem.split('.').next() {
        Some("boot") => Some(Role::Boot),
        Some("cloudinit") => Some(Role::Seed),
        _ => Some(Role::Data),
    }
}

fn doomed(volume: Volume, role: Option<Role>) -> Doomed {
    Doomed { pool: volume.pool, name: volume.name, path: volume.path, capacity: volume.capacity, role }
}

fn describe(pool: &str, name: &str) -> String {
    format!("volume '{name}' in pool '{pool}'")
}

impl Demolition {
    fn sort_in(&mut self, volume: Doomed) {
        let keep = self.options.keep_disks && volume.role != Some(Role::Seed);
        if keep { self.kept.push(volume) } else { self.volumes.push(volume) }
    }

    /// A volume that the record names goes if it is the one that was made: at its path and, while it is
    /// not sure that it was ever made, of the planned form.
    fn add_recorded(
        &mut self,
        session: &Session<'_>,
        recorded: &RecordedVolume,
        state: State,
    ) -> Result<(), Error> {
        let Some(found) = session.host.volume(&recorded.pool, &recorded.name)? else {
            return self.add_hidden(session, recorded);
        };
        let reason = if found.path != recorded.path {
            Some(format!("it is at {} and not at {}", found.path, recorded.path))
        } else if state == State::Creating {
            differs_from_plan(recorded, &found)
        } else {
            None
        };
        match reason {
            Some(reason) => self.spared.push((describe(&found.pool, &found.name), reason)),
            None => self.sort_in(doomed(found, Some(recorded.role))),
        }
        Ok(())
    }

    /// A volume that libvirt does not show is gone, unless its pool is stopped: forgetting it then would
    /// leave a disk that nobody knows of.
    fn add_hidden(&mut self, session: &Session<'_>, recorded: &RecordedVolume) -> Result<(), Error> {
        let RecordedVolume { pool, name, .. } = recorded;
        match session.host.pool(pool)? {
            Some(found) if found.active => Ok(()),
            Some(_) => {
                Err(Error::new(Kind::Storage, format!("pool '{pool}' with volume '{name}' is not started"))
                    .hint(format!("virsh pool-start {pool}"))
                    .outcome("nothing was changed"))
            }
            None => {
                self.spared.push((describe(pool, name), "there is no such pool any more".into()));
                Ok(())
            }
        }
    }

    /// What another domain uses or another volume lies on stays, whatever the record says.
    fn spare_shared(&mut self, session: &Session<'_>) -> Result<(), Error> {
        if self.volumes.is_empty() {
            return Ok(());
        }
        let usage = Usage::look(session, Some(self.domain.uuid))?;
        let going: Vec<_> = self.volumes.iter().map(|v| (v.pool.clone(), v.name.clone())).collect();
        for volume in std::mem::take(&mut self.volumes) {
            match usage.of(&volume.pool, &volume.name, &volume.path).without(&going).reason() {
                Some(reason) => self.spared.push((describe(&volume.pool, &volume.name), reason)),
                None => self.volumes.push(volume),
            }
        }
        Ok(())
    }
}

/// Why a volume may not be the one that an interrupted creation planned.
pub(super) fn differs_from_plan(planned: &RecordedVolume, found: &Volume) -> Option<String> {
    // libvirt looks into a raw volume and calls one with a seed in it an ISO image.
    let same_format = found.format == planned.format || (planned.format == "raw" && found.format == "iso");
    let same = same_format && found.capacity == planned.capacity && found.backing == planned.backing;
    (!same).then(|| {
        format!(
            "it may be another's: {} of {} was planned, it is {} of {}",
            planned.format, planned.capacity, found.format, found.capacity
        )
    })
}

/// Does what a survey said.
///
/// # Errors
/// What failed, and what is left; the record then stays, so that another `destroy` finishes.
pub fn carry_out(session: &Session<'_>, demolition: &Demolition) -> Result<(), Error> {
    let name = &demolition.domain.name;
    session.progress.tell(Event::Begins(format!("Destroying VM '{name}'...")));
    session.cancel.check().map_err(|e| e.outcome("nothing was changed"))?;
    mark(session, demolition)?;
    let unfinished = |error: Error| unfinished(demolition, error);
    let patience =
        if demolition.options.force { Patience::None } else { Patience::For(demolition.options.timeout) };
    stop(session, demolition.domain.uuid, name, patience).map_err(unfinished)?;
    session.done("VM stopped");
    delete_volumes(session, demolition).map_err(unfinished)?;
    if !demolition.volumes.is_empty() {
        session.done("Storage removed");
    }
    // Before the definition: that names the log, and after a kill in between nothing else would.
    let log = remove_log(session, demolition);
    session.host.undefine(demolition.domain.uuid).map_err(|e| unfinished(e.into()))?;
    session.done("Domain undefined");
    for left in log.into_iter().chain(demolition.spared.iter().map(|(what, why)| format!("{what}: {why}"))) {
        session.warn(format!("left: {left}"));
    }
    Ok(())
}

/// Writes what is going on into the record, and only the volumes that go: nothing that happens from here
/// on may delete one that was decided to stay.
fn mark(session: &Session<'_>, demolition: &Demolition) -> Result<(), Error> {
    let Some(record) = &demolition.record else { return Ok(()) };
    let mut marked = record.turned(State::Destroying, &session.clock.timestamp());
    marked
        .volumes
        .retain(|v| demolition.volumes.iter().any(|goes| goes.pool == v.pool && goes.name == v.name));
    let text = marked
        .to_text()
        .map_err(|e| Error::new(Kind::Vm, "cannot write the record").because(e.to_string()))?;
    let name = &demolition.domain.name;
    // A refusal may come after one of the two places was written: the mark is there then, and nothing else.
    session.host.set_record(demolition.domain.uuid, &text).map_err(|refused| {
        Error::from(refused)
            .outcome("nothing was removed")
            .outcome(format!("foundry destroy {name} finishes it"))
    })
}

fn unfinished(demolition: &Demolition, error: Error) -> Error {
    let name = &demolition.domain.name;
    let force = if demolition.record.is_none() && demolition.options.force { " --force" } else { "" };
    error
        .outcome(format!("VM '{name}' is half destroyed; its definition still names what is left"))
        .outcome(format!("foundry destroy {name}{force} finishes it"))
}

/// Goes on after a failure, so that one stubborn volume does not keep the others.
fn delete_volumes(session: &Session<'_>, demolition: &Demolition) -> Result<(), Error> {
    let mut failures: Vec<Error> = Vec::new();
    for volume in &demolition.volumes {
        session.cancel.check()?;
        session.working(format!("Deleting volume {}", volume.name));
        if let Err(failed) = session.host.delete_volume(&volume.pool, &volume.name) {
            let lost = failed.outcome_unknown();
            failures.push(failed.into());
            if lost {
                break;
            }
        }
    }
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        _ => {
            let all: Vec<String> = failures.iter().map(ToString::to_string).collect();
            Err(Error::new(failures[0].kind(), format!("{} volumes cannot be deleted", all.len()))
                .because(all.join("; ")))
        }
    }
}

/// What is left of the console's log, if anything is.
fn remove_log(session: &Session<'_>, demolition: &Demolition) -> Option<String> {
    let log = demolition.console_log.as_deref()?;
    console::remove(session.host, log).err()
}

/// Removes what an interrupted creation left, before its name is used again.
pub(super) fn remove_leftover(session: &Session<'_>, domain: &Domain) -> Result<(), Error> {
    let options = Options { force: true, keep_disks: false, timeout: Duration::ZERO };
    let demolition = survey(session, &domain.name, options)?;
    if demolition.domain.uuid != domain.uuid {
        return Err(Error::new(Kind::Vm, format!("domain '{}' was redefined meanwhile", domain.name))
            .outcome("nothing was changed"));
    }
    if let Some((what, reason)) = demolition.spared.first() {
        return Err(Error::new(
            Kind::Storage,
            format!("an interrupted creation of VM '{}' left {what}", domain.name),
        )
        .because(reason.clone())
        .hint(format!("look at it; foundry destroy {} removes the rest and leaves it", domain.name)));
    }
    let quiet = Session { progress: &(), ..*session };
    carry_out(&quiet, &demolition)
}
