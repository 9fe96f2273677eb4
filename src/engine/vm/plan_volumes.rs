//! Sorts the volumes and files of a VM into those that a destroy deletes and those that it keeps.

use std::path::Path;

use super::destroy_plan::{DestroyOptions, DestroyPlan, LeftBehind, VolumeToDelete, refuse_locked};
use crate::Context;
use crate::disk::backing_chain;
use crate::disk::own_disk::{is_on, is_same_file};
use crate::disk::ownership::{Ownership, differs_from_plan};
use crate::storage::usage;
use crate::storage::usage::Usage;
use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::names::VmName;
use foundry_core::record::{RecordState, RecordedVolume, VolumeRef, VolumeRole};
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};
use foundry_host::{Domain, KeptOnUndefine, Volume};

impl DestroyPlan {
    pub(super) fn of(domain: Domain, options: DestroyOptions) -> Self {
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

    /// Adds the console log if its path is the one that foundry would have given it. Others can write the record, and
    /// the log is deleted with the rights of the user who destroys the VM.
    pub(super) fn add_log(&mut self, recorded: Option<String>, own: Option<String>) {
        if recorded == own {
            self.console_log = recorded;
        } else if let Some(path) = recorded {
            self.kept_back.push((
                format!("the console log {path}"),
                "foundry writes its logs elsewhere on this host".into(),
            ));
        }
    }

    /// Reports disks that the record does not list as kept: disks that were attached with another tool, and overlays
    /// that libvirt cannot follow.
    pub(super) fn keep_back_unrecorded(
        &mut self,
        described: &DomainDescription,
        recorded: &[RecordedVolume],
    ) {
        for disk in described.disks.iter().filter(|disk| !recorded.iter().any(|v| is_on(disk, v))) {
            let known = |path: &String| self.volumes.iter().chain(&self.kept).any(|v| v.path == *path);
            match &disk.source {
                DiskSource::File(path) | DiskSource::Block(path) | DiskSource::Rbd(path) if !known(path) => {
                    self.keep_back_file(&disk.source, "foundry did not make it");
                }
                DiskSource::Volume { pool, volume } => {
                    self.keep_back(VolumeRef::new(pool, volume).to_string(), "foundry did not make it");
                }
                _ => {}
            }
        }
    }

    /// Adds the overlays on the VM's own volumes. An overlay is deleted before the volume below it.
    pub(super) fn add_overlays(
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

    pub(super) fn keep_back_file(&mut self, source: &DiskSource, reason: &str) {
        if let DiskSource::File(path) | DiskSource::Block(path) | DiskSource::Rbd(path) = source {
            self.keep_back(path.clone(), reason);
        }
    }

    /// Adds an entry once, even if both the running and the persistent definition have the disk.
    pub(super) fn keep_back(&mut self, what: String, reason: &str) {
        if !self.kept_back.iter().any(|(kept, _)| *kept == what) {
            self.kept_back.push((what, reason.to_owned()));
        }
    }

    pub(super) fn add_volume(&mut self, volume: VolumeToDelete) {
        let keep = self.options.keep_disks && volume.role != Some(VolumeRole::Seed);
        if keep { self.kept.push(volume) } else { self.volumes.push(volume) }
    }

    /// Adds a recorded volume if it is the one that was created: it is at its recorded path and, if it is not certain
    /// that it was ever created, has the planned format and size.
    pub(super) fn add_recorded(
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
            self.kept_back.push((found.reference().to_string(), reason));
        }
        Ok(())
    }

    /// Adds the volume that was found for a recorded one, or keeps it back if it may belong to another VM.
    pub(super) fn add_or_keep_back(
        &mut self,
        recorded: &RecordedVolume,
        found: Volume,
        state: RecordState,
        own: &Ownership<'_>,
    ) {
        let is_planned = state == RecordState::Creating || recorded.attaching.is_some();
        let differs = || if is_planned { differs_from_plan(recorded, &found) } else { None };
        match own.reason_to_doubt(recorded, &found).or_else(differs) {
            Some(reason) => self.kept_back.push((found.reference().to_string(), reason)),
            None => self.add_volume(volume_to_delete(found, Some(recorded.role))),
        }
    }

    /// Handles a recorded volume that its pool does not have. It is gone, unless the pool now has another directory:
    /// then the file may still be at its path, in another pool or in none.
    pub(super) fn add_missing(
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

    /// Reports a missing volume of a complete VM. A volume that an earlier run deleted or never created is not
    /// reported, unless the pool's directory is missing.
    pub(super) fn add_unseen(
        &mut self,
        context: &Context,
        recorded: &RecordedVolume,
        state: RecordState,
    ) -> Result<(), Error> {
        self.add_hidden(context, &recorded.pool, &recorded.name)?;
        let Some(pool) = context.host.pool(&recorded.pool)? else { return Ok(()) };
        let is_away = usage::is_directory_away(context, &pool);
        if is_away || (state == RecordState::Created && recorded.attaching.is_none()) {
            let volume = recorded.reference();
            self.missing.push(match pool.target.filter(|_| is_away) {
                Some(target) => format!("{volume} was missing, and so is the pool's directory {target}"),
                None => format!("{volume} was missing"),
            });
        }
        Ok(())
    }

    /// Fails if a volume is not listed because its pool is stopped: dropping it from the record would leave an
    /// unknown disk. If the pool is started, the volume was deleted.
    pub(super) fn add_hidden(&mut self, context: &Context, pool: &str, name: &str) -> Result<(), Error> {
        match context.host.pool(pool)? {
            Some(found) if found.active => Ok(()),
            Some(_) => Err(Error::new(
                Code::PoolInactive,
                format!("pool '{pool}' with volume '{name}' is not started"),
            )
            .hint(Verb::PoolStart { pool: pool.into() })
            .unchanged()),
            None => {
                self.kept_back
                    .push((VolumeRef::new(pool, name).to_string(), "the pool no longer exists".into()));
                Ok(())
            }
        }
    }

    /// Completes the plan: keeps back what others use, and lists what is left behind.
    pub(super) fn finish_plan(mut self, context: &Context) -> Result<Self, Error> {
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

    /// Keeps back volumes that another domain uses or that another volume has as backing file, whatever the record
    /// says.
    pub(super) fn keep_back_shared(&mut self, usage: &Usage) {
        let going: Vec<VolumeRef> = self.volumes.iter().map(VolumeToDelete::reference).collect();
        for volume in std::mem::take(&mut self.volumes) {
            match usage.reason_to_keep_of(&volume.reference(), &volume.path, &going) {
                Some(reason) => self.kept_back.push((volume.reference().to_string(), reason)),
                None => self.volumes.push(volume),
            }
        }
    }

    /// Keeps back EFI variables and the console log if another domain uses them: a copy of the definition names the
    /// same files.
    pub(super) fn keep_back_files(&mut self, usage: &Usage) {
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

    /// Lists unused volumes with this VM's names: an older record was restored, or the user kept these disks. The files
    /// below a linked copy are unused after it, if the original is gone. Also
    /// lists the memory files of its snapshots, which libvirt does not delete.
    pub(super) fn list_left_behind(&mut self, context: &Context, usage: &Usage) {
        let Ok(name) = self.domain.name.parse::<VmName>() else { return };
        let known: Vec<VolumeRef> =
            self.volumes.iter().chain(&self.kept).map(VolumeToDelete::reference).collect();
        let is_left = |v: &Volume| name.owns_by_convention(&v.name) && !known.contains(&v.reference());
        let going: Vec<VolumeRef> = self.volumes.iter().map(VolumeToDelete::reference).collect();
        for volume in usage.unused_volumes(is_left).into_iter().chain(usage.unneeded_below(&going)) {
            let what = volume.reference().to_string();
            if !self.kept_back.iter().any(|(kept, _)| *kept == what || *kept == volume.path) {
                let remove = Verb::Gc { only: Some(volume.reference().to_argument()) };
                let advice = Some(Advice::from(remove).text(" removes it if nobody needs it"));
                self.left.push(LeftBehind { what, why: "no domain uses it".into(), advice });
            }
        }
        let is_there = |path: &&String| !context.host.is_local() || Path::new(path).exists();
        let memory = usage.own_snapshot_memory().filter(is_there).cloned();
        let why = "it is the memory of a snapshot";
        self.left.extend(memory.map(|path| LeftBehind { what: path, why: why.into(), advice: None }));
    }
}

pub(super) fn volume_to_delete(volume: Volume, role: Option<VolumeRole>) -> VolumeToDelete {
    VolumeToDelete {
        pool: volume.pool,
        name: volume.name,
        path: volume.path,
        capacity: volume.capacity,
        role,
    }
}
