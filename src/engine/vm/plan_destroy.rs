//! Plans a destroy: what would be deleted with a VM, and what would be kept.

use foundry_core::record::VolumeRef;
use std::path::Path;

use super::console;
use super::destroy::{DestroyOptions, DestroyPlan, LeftBehind, VolumeToDelete, refuse_locked};
use super::lookup::{find_vm, vm_not_found};
use super::record_pair::{self, RecordPair};
use crate::Context;
use crate::advice::destroy_command;
use crate::disk::backing_chain;
use crate::disk::own_disk::{follow_moves, is_on, is_same_file};
use crate::disk::ownership::Ownership;
use crate::storage::pending_volumes::wait_for_volumes;
use crate::storage::usage;
use crate::storage::usage::Usage;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::VmName;
use foundry_core::record::{Liveness, Maker, Owner, Record, RecordState, RecordedVolume, VolumeRole};
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};
use foundry_host::local::check_liveness;
use foundry_host::{Domain, KeptOnUndefine, View, Volume};

/// Looks at a VM and decides what would go with it; changes nothing.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] where there is no such VM, or foundry must not touch it.
pub fn plan_destroy(context: &Context, name: &str, options: DestroyOptions) -> Result<DestroyPlan, Error> {
    let Some(domain) = find_vm(context, name)? else { return Err(vm_not_found(context, name)?) };
    let refused = |code, message: String| Error::new(code, message).unchanged();
    let by_force = Advice::from(destroy_command(&domain, true))
        .text(" deletes it and those of its disks that are named as foundry names them");
    match domain.owner() {
        Owner::Foundry(record) => plan_by_record(context, domain, *record, options),
        Owner::FirstFoundry(_) => plan_by_names(context, domain, options),
        Owner::Newer(version) => {
            Err(refused(Code::RecordUnreadable, format!("VM '{name}' was made by a newer foundry"))
                .because(format!("its record has version {version}"))
                .hint("use that foundry"))
        }
        Owner::Foreign | Owner::Unreadable(_) if options.force => plan_by_names(context, domain, options),
        Owner::Foreign => {
            Err(refused(Code::NotFoundrys, format!("domain '{name}' was not made by foundry")).hint(by_force))
        }
        Owner::Unreadable(reason) => {
            Err(refused(Code::RecordUnreadable, format!("foundry's record of VM '{name}' cannot be read"))
                .because(reason)
                .hint(by_force))
        }
    }
}

fn plan_by_record(
    context: &Context,
    domain: Domain,
    record: Record,
    options: DestroyOptions,
) -> Result<DestroyPlan, Error> {
    refuse_if_busy(&domain, &record, options)?;
    let described = describe_domain(context, &domain, View::Current)?;
    let next = record_pair::next_definition(context, &domain)?;
    let pair = RecordPair::of(&domain, record, next.as_ref());
    refuse_if_busy(&domain, &pair.newest, options)?;
    let mut record = pair.newest;
    wait_for_volumes(context, &record)?;
    let views: Vec<&DomainDescription> = std::iter::once(&described).chain(&next).collect();
    follow_moves(context, &mut record, &views)?;
    let own_log = own_log(context, &domain, &record, &described)?;
    let mut plan = DestroyPlan::of(domain, options);
    plan.nvram = described.nvram.clone();
    (plan.only_older, plan.has_two_records) = (pair.only_older, !pair.is_one);
    plan.add_log(record.console_log.clone(), own_log);
    let overlays = overlays_on(context, &record, &described)?;
    let named = plan.domain.clone();
    let own = Ownership::of(&named, std::iter::once(&described).chain(&next), &overlays);
    for recorded in &record.volumes {
        plan.add_recorded(context, recorded, record.state, &own)?;
    }
    plan.add_overlays(context, &described, overlays)?;
    plan.keep_back_unrecorded(&described, &record.volumes);
    next.iter().for_each(|next| plan.keep_back_unrecorded(next, &record.volumes));
    plan.record = Some(record);
    plan.finish_plan(context)
}

/// What snapshots put on those of its volumes that have a VM's names.
fn overlays_on(
    context: &Context,
    record: &Record,
    described: &DomainDescription,
) -> Result<Vec<Volume>, Error> {
    let is_recorded = |path: &String| record.volumes.iter().any(|v| v.path == *path);
    if !described.disks.iter().any(|d| matches!(&d.source, DiskSource::File(p) if !is_recorded(p))) {
        return Ok(Vec::new());
    }
    refresh_pools(context, &record.volumes)?;
    let has_its_name = |v: &&RecordedVolume| VolumeRole::of_volume(&v.name) == Some(v.role);
    let bases: Vec<String> = record.volumes.iter().filter(has_its_name).map(|v| v.path.clone()).collect();
    backing_chain::snapshot_overlays(context, described, &bases)
}

/// The log that foundry would have named; of a VM that was renamed it is named by the old name, as long as the domain
/// itself writes there and nobody else is called so.
fn own_log(
    context: &Context,
    domain: &Domain,
    record: &Record,
    described: &DomainDescription,
) -> Result<Option<String>, Error> {
    let path = |name: &str| console::log_path(context.host.uri(), name);
    let before = record.manifest.metadata.name.as_deref().filter(|name| *name != domain.name);
    let (Some(before), true) = (before, record.console_log.is_some()) else { return Ok(path(&domain.name)) };
    // The record is data; a name in it that is none may lead anywhere.
    let is_name = VmName::parse_normalized(before).is_ok_and(|name| name.as_str() == before);
    let is_its_own =
        is_name && described.console_log == record.console_log && path(before) == record.console_log;
    let is_free = is_its_own && context.host.domain(before)?.is_none();
    Ok(if is_free { path(before) } else { path(&domain.name) })
}

/// Another one may have destroyed it since it was found.
fn describe_domain(context: &Context, domain: &Domain, view: View) -> Result<DomainDescription, Error> {
    match context.host.describe(domain.uuid, view)? {
        Some(described) => Ok(described),
        None => Err(vm_not_found(context, &domain.name)?),
    }
}

/// A creation that goes on is left alone; one of another machine is its user's to judge.
fn refuse_if_busy(domain: &Domain, record: &Record, options: DestroyOptions) -> Result<(), Error> {
    let name = &domain.name;
    if record.state != RecordState::Creating {
        return refuse_if_attaching(domain, record, options);
    }
    match check_liveness(&record.maker) {
        Liveness::Dead => Ok(()),
        Liveness::Elsewhere if options.force => Ok(()),
        Liveness::Elsewhere => {
            Err(Error::new(Code::BeingCreated, format!("VM '{name}' is being created from another machine"))
                .hint(Advice::from("if that was given up: ").run(destroy_command(domain, true)))
                .unchanged())
        }
        Liveness::Alive => Err(Error::new(
            Code::BeingCreated,
            format!("VM '{name}' is being created by process {}", record.maker.pid),
        )
        .hint("wait for it, or stop that process; it then removes what it made")
        .unchanged()),
    }
}

/// A disk that is just being made would be left.
fn refuse_if_attaching(domain: &Domain, record: &Record, options: DestroyOptions) -> Result<(), Error> {
    let name = &domain.name;
    let works = |maker: &&Maker| match check_liveness(maker) {
        Liveness::Dead => false,
        Liveness::Elsewhere => !options.force,
        Liveness::Alive => true,
    };
    let Some(maker) = record.volumes.iter().filter_map(|v| v.attaching.as_ref()).find(works) else {
        return Ok(());
    };
    let busy = format!("process {} is attaching a disk to VM '{name}'", maker.pid);
    let error = Error::new(Code::DiskBusy, busy).unchanged();
    Err(match check_liveness(maker) {
        Liveness::Elsewhere => error
            .because("it runs on another machine")
            .hint(Advice::from("if that was given up: ").run(destroy_command(domain, true))),
        _ => error.hint("wait for it, or stop that process"),
    })
}

/// libvirt does not know the files that snapshots made until it looks again.
fn refresh_pools(context: &Context, volumes: &[RecordedVolume]) -> Result<(), Error> {
    let mut pools: Vec<&str> = volumes.iter().map(|v| v.pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    for pool in pools {
        // One that is stopped or gone is told of when its volumes are looked for.
        if context.host.pool(pool)?.is_some_and(|p| p.active && !usage::is_directory_away(context, &p)) {
            context.host.refresh_pool(pool)?;
        }
    }
    Ok(())
}

/// For a domain without a record that foundry can use: only volumes that its own XML references *and*
/// that are named as foundry names the volumes of a VM of this name.
fn plan_by_names(context: &Context, domain: Domain, options: DestroyOptions) -> Result<DestroyPlan, Error> {
    let described = describe_domain(context, &domain, View::Config)?;
    let name: Option<VmName> = domain.name.parse().ok();
    let mut plan = DestroyPlan::of(domain, options);
    plan.nvram = described.nvram.clone();
    for disk in &described.disks {
        let found = match &disk.source {
            DiskSource::File(path) | DiskSource::Block(path) | DiskSource::Rbd(path) => {
                context.host.volume_at(path)?
            }
            DiskSource::Volume { pool, volume } => {
                match context.host.volume(&VolumeRef::new(pool, volume))? {
                    Some(found) => Some(found),
                    None => {
                        plan.add_hidden(context, pool, volume)?;
                        continue;
                    }
                }
            }
            DiskSource::None | DiskSource::Other(_) => continue,
        };
        let Some(volume) = found else {
            plan.keep_back_file(&disk.source, "it is in no started pool");
            continue;
        };
        if name.as_ref().is_some_and(|n| n.owns_by_convention(&volume.name)) {
            let role = VolumeRole::of_volume(&volume.name);
            plan.add_volume(volume_to_delete(volume, role));
        } else {
            plan.kept_back
                .push((volume.reference().to_string(), "it is not named as foundry names disks".into()));
        }
    }
    plan.finish_plan(context)
}

fn volume_to_delete(volume: Volume, role: Option<VolumeRole>) -> VolumeToDelete {
    VolumeToDelete {
        pool: volume.pool,
        name: volume.name,
        path: volume.path,
        capacity: volume.capacity,
        role,
    }
}

fn describe_volume(pool: &str, name: &str) -> String {
    VolumeRef::new(pool, name).to_string()
}

impl DestroyPlan {
    fn of(domain: Domain, options: DestroyOptions) -> Self {
        Self {
            domain,
            volumes: Vec::new(),
            kept: Vec::new(),
            kept_back: Vec::new(),
            left: Vec::new(),
            missing: Vec::new(),
            record: None,
            only_older: Vec::new(),
            has_two_records: false,
            nvram: None,
            kept_on_undefine: KeptOnUndefine::default(),
            console_log: None,
            options,
        }
    }

    /// A record is data that others can write, and a log is removed with the rights of whoever destroys. So
    /// only the one goes that foundry itself would have named.
    fn add_log(&mut self, recorded: Option<String>, own: Option<String>) {
        if recorded == own {
            self.console_log = recorded;
        } else if let Some(path) = recorded {
            self.kept_back.push((format!("the console log {path}"), "foundry logs elsewhere here".into()));
        }
    }

    /// Disks that somebody attached, and overlays that libvirt cannot follow, stay and are named.
    fn keep_back_unrecorded(&mut self, described: &DomainDescription, recorded: &[RecordedVolume]) {
        for disk in described.disks.iter().filter(|disk| !recorded.iter().any(|v| is_on(disk, v))) {
            let known = |path: &String| self.volumes.iter().chain(&self.kept).any(|v| v.path == *path);
            match &disk.source {
                DiskSource::File(path) | DiskSource::Block(path) | DiskSource::Rbd(path) if !known(path) => {
                    self.keep_back_file(&disk.source, "foundry did not make it");
                }
                DiskSource::Volume { pool, volume } => {
                    self.keep_back(describe_volume(pool, volume), "foundry did not make it");
                }
                _ => {}
            }
        }
    }

    /// Of the overlays those on volumes that are the VM's, before what they lie on.
    fn add_overlays(
        &mut self,
        context: &Context,
        described: &DomainDescription,
        overlays: Vec<Volume>,
    ) -> Result<(), Error> {
        if overlays.is_empty() {
            return Ok(());
        }
        let below = std::mem::take(&mut self.volumes);
        let own: Vec<String> = below.iter().chain(&self.kept).map(|v| v.path.clone()).collect();
        let on_own = backing_chain::snapshot_overlays(context, described, &own)?;
        on_own.into_iter().for_each(|volume| self.add_volume(volume_to_delete(volume, None)));
        self.volumes.extend(below);
        Ok(())
    }

    fn keep_back_file(&mut self, source: &DiskSource, reason: &str) {
        if let DiskSource::File(path) | DiskSource::Block(path) | DiskSource::Rbd(path) = source {
            self.keep_back(path.clone(), reason);
        }
    }

    /// Names it once, also where what runs and what starts next both have it.
    fn keep_back(&mut self, what: String, reason: &str) {
        if !self.kept_back.iter().any(|(kept, _)| *kept == what) {
            self.kept_back.push((what, reason.to_owned()));
        }
    }

    fn add_volume(&mut self, volume: VolumeToDelete) {
        let keep = self.options.keep_disks && volume.role != Some(VolumeRole::Seed);
        if keep { self.kept.push(volume) } else { self.volumes.push(volume) }
    }

    /// A volume that the record names goes if it is the one that was made: at its path and, while it is
    /// not sure that it was ever made, of the planned form.
    fn add_recorded(
        &mut self,
        context: &Context,
        recorded: &RecordedVolume,
        state: RecordState,
        own: &Ownership<'_>,
    ) -> Result<(), Error> {
        let Some(found) = context.host.volume(&recorded.reference())? else {
            return self.add_missing(context, recorded, state, own);
        };
        if is_same_file(context, &found.path, &recorded.path) {
            self.add_or_keep_back(recorded, found, state, own);
        } else {
            let reason = format!("it is at {} and not at {}", found.path, recorded.path);
            self.kept_back.push((describe_volume(&found.pool, &found.name), reason));
        }
        Ok(())
    }

    /// Of what was found for a recorded volume nothing goes that may be another's.
    fn add_or_keep_back(
        &mut self,
        recorded: &RecordedVolume,
        found: Volume,
        state: RecordState,
        own: &Ownership<'_>,
    ) {
        let is_planned = state == RecordState::Creating || recorded.attaching.is_some();
        let differs = || if is_planned { differs_from_plan(recorded, &found) } else { None };
        match own.reason_to_doubt(recorded, &found).or_else(differs) {
            Some(reason) => self.kept_back.push((describe_volume(&found.pool, &found.name), reason)),
            None => self.add_volume(volume_to_delete(found, Some(recorded.role))),
        }
    }

    /// A volume that is not where the record says is gone, unless its pool now has another directory: then
    /// the file may still be at its path, in this pool or in none.
    fn add_missing(
        &mut self,
        context: &Context,
        recorded: &RecordedVolume,
        state: RecordState,
        own: &Ownership<'_>,
    ) -> Result<(), Error> {
        let pool = context.host.pool(&recorded.pool)?;
        let moved = pool.filter(|p| p.active).and_then(|p| p.target).is_some_and(|target| {
            Path::new(&recorded.path).parent() != Some(Path::new(target.trim_end_matches('/')))
        });
        if !moved {
            return self.add_unseen(context, recorded, state);
        }
        let reason = format!("pool '{}' has another directory now", recorded.pool);
        match context.host.volume_at(&recorded.path)? {
            Some(found) => self.add_or_keep_back(recorded, found, state, own),
            None => self.kept_back.push((recorded.path.clone(), reason)),
        }
        Ok(())
    }

    /// Of a whole VM every volume should be there. What an earlier run deleted, or never came to make, is no news, unless
    /// the directory is away.
    fn add_unseen(
        &mut self,
        context: &Context,
        recorded: &RecordedVolume,
        state: RecordState,
    ) -> Result<(), Error> {
        self.add_hidden(context, &recorded.pool, &recorded.name)?;
        let Some(pool) = context.host.pool(&recorded.pool)? else { return Ok(()) };
        let is_away = usage::is_directory_away(context, &pool);
        if is_away || (state == RecordState::Created && recorded.attaching.is_none()) {
            let volume = describe_volume(&recorded.pool, &recorded.name);
            self.missing.push(match pool.target.filter(|_| is_away) {
                Some(target) => format!("{volume} was not there, nor is the pool's directory {target}"),
                None => format!("{volume} was not there"),
            });
        }
        Ok(())
    }

    /// A volume that libvirt does not list was deleted, unless its pool is stopped: forgetting it then would leave an
    /// unknown disk.
    fn add_hidden(&mut self, context: &Context, pool: &str, name: &str) -> Result<(), Error> {
        match context.host.pool(pool)? {
            Some(found) if found.active => Ok(()),
            Some(_) => Err(Error::new(
                Code::PoolInactive,
                format!("pool '{pool}' with volume '{name}' is not started"),
            )
            .hint(Verb::PoolStart { pool: pool.into() })
            .unchanged()),
            None => {
                self.kept_back.push((describe_volume(pool, name), "there is no such pool any more".into()));
                Ok(())
            }
        }
    }

    /// Looks who else needs what would go, and what else there is.
    fn finish_plan(mut self, context: &Context) -> Result<Self, Error> {
        if !(self.volumes.is_empty() && self.nvram.is_none()) {
            let usage = Usage::collect(context, Some(self.domain.uuid))?;
            self.keep_back_shared(&usage);
            self.keep_back_files(&usage);
            self.list_left_behind(context, &usage);
        }
        if !(self.options.force || self.domain.state.is_active()) {
            refuse_locked(context, &self).map_err(|e| e.unchanged())?;
        }
        Ok(self)
    }

    /// What another domain uses or another volume lies on stays, whatever the record says.
    fn keep_back_shared(&mut self, usage: &Usage) {
        let going: Vec<VolumeRef> = self.volumes.iter().map(VolumeToDelete::reference).collect();
        for volume in std::mem::take(&mut self.volumes) {
            match usage.reason_to_keep_of(&volume.reference(), &volume.path, &going) {
                Some(reason) => self.kept_back.push((volume.reference().to_string(), reason)),
                None => self.volumes.push(volume),
            }
        }
    }

    /// A copy of its definition names the same EFI variables and the same log.
    fn keep_back_files(&mut self, usage: &Usage) {
        let used = |path: &Option<String>| {
            let users = path.as_deref().map(|path| usage.domains_using(path)).unwrap_or_default();
            (!users.is_empty()).then(|| format!("domain '{}' uses it too", users.join("', '")))
        };
        if let Some(reason) = used(&self.nvram) {
            self.kept_on_undefine.nvram = true;
            let what = format!("the EFI variables {}", self.nvram.as_deref().unwrap_or_default());
            self.left.push(LeftBehind { what, why: reason, advice: None });
        }
        if let Some(reason) = used(&self.console_log) {
            let log = self.console_log.take().unwrap_or_default();
            self.left.push(LeftBehind { what: format!("the console log {log}"), why: reason, advice: None });
        }
    }

    /// Disks that are named as this VM's, and that neither it nor anybody else has any more: an older record was brought
    /// back, or somebody kept them. And the memory of its snapshots, which libvirt leaves.
    fn list_left_behind(&mut self, context: &Context, usage: &Usage) {
        let Ok(name) = self.domain.name.parse::<VmName>() else { return };
        let known: Vec<VolumeRef> =
            self.volumes.iter().chain(&self.kept).map(VolumeToDelete::reference).collect();
        let is_left = |v: &Volume| name.owns_by_convention(&v.name) && !known.contains(&v.reference());
        for volume in usage.unused_volumes(is_left) {
            let what = volume.reference().to_string();
            if !self.kept_back.iter().any(|(kept, _)| *kept == what || *kept == volume.path) {
                let remove = Verb::Gc { only: Some(volume.reference().to_argument()) };
                let advice = Some(Advice::from(remove).text(" removes it if nobody needs it"));
                self.left.push(LeftBehind { what, why: "no domain has it".into(), advice });
            }
        }
        let is_there = |path: &&String| !context.host.is_local() || Path::new(path).exists();
        let memory = usage.own_snapshot_memory().filter(is_there).cloned();
        let why = "it is the memory of a snapshot";
        self.left.extend(memory.map(|path| LeftBehind { what: path, why: why.into(), advice: None }));
    }
}

/// The most that LVM or ZFS make of a size by rounding it up: the largest extents that are in common use.
const ROUNDING: u64 = 64 << 20;

/// Why a volume may not be the one that an interrupted creation planned.
pub(crate) fn differs_from_plan(planned: &RecordedVolume, found: &Volume) -> Option<String> {
    // libvirt looks into a raw volume and calls one with a seed in it an ISO image.
    let same_format = found.format == planned.format || (planned.format == "raw" && found.format == "iso");
    let (is_block, is_at_ceph) = (planned.path.starts_with("/dev/"), !planned.path.starts_with('/'));
    let rounded = found.capacity.0.checked_sub(planned.capacity.0).is_some_and(|more| more < ROUNDING);
    // A clone at Ceph has its image's size until it is grown, and libvirt does not say what it lies on.
    let not_grown = planned.backing.is_some() && found.capacity < planned.capacity;
    let same_size = found.capacity == planned.capacity || (is_block && rounded) || (is_at_ceph && not_grown);
    let same_backing = found.backing == planned.backing || is_at_ceph;
    (!(same_format && same_size && same_backing)).then(|| {
        format!(
            "it may be another's: {} of {} was planned, it is {} of {}",
            planned.format, planned.capacity, found.format, found.capacity
        )
    })
}
