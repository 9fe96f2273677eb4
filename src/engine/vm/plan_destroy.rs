//! Plans a destroy: what would be deleted with a VM, and what would be kept.

use super::busy::refuse_if_busy;
use super::console;
use super::destroy_plan::{DestroyOptions, DestroyPlan};
use super::handle::read_own_record;
use super::lookup::{find_vm, vm_not_found};
use super::plan_volumes::volume_to_delete;
use super::record_pair::{self, RecordPair};
use crate::Context;
use crate::advice::destroy_command;
use crate::disk::backing_chain;
use crate::disk::own_disk::follow_moves;
use crate::disk::ownership::Ownership;
use crate::storage::pending_volumes::wait_for_volumes;
use crate::storage::usage;
use foundry_core::error::{Advice, Error};
use foundry_core::names::{VmName, VolumeName};
use foundry_core::record::{Owner, Record, RecordState, RecordedVolume, RepaveStage, VolumeRef, VolumeRole};
use foundry_host::libvirt_xml::{DiskSource, DomainDescription};
use foundry_host::{Domain, View, Volume};

/// Decides what a destroy of a VM would delete and keep; changes nothing.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is no such VM, or foundry must not touch it.
pub fn plan_destroy(context: &Context, name: &str, options: DestroyOptions) -> Result<DestroyPlan, Error> {
    let Some(domain) = find_vm(context, name)? else { return Err(vm_not_found(context, name)?) };
    let owner = domain.owner();
    let is_forced = options.force && matches!(owner, Owner::Foreign | Owner::Unreadable(_));
    if is_forced || matches!(owner, Owner::FirstFoundry(_)) {
        return plan_by_names(context, domain, options);
    }
    let record = read_own_record(&domain).map_err(|error| match owner {
        // Its record may name volumes that this foundry would leave behind, so no command is advised.
        Owner::Newer(_) => error,
        _ => error.hint(
            Advice::from(destroy_command(&domain, true))
                .text(" deletes it and those of its disks that have foundry's names"),
        ),
    })?;
    plan_by_record(context, domain, record, options)
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
    // The persistent definition may have a newer record, with another process in it.
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
    for (spare, state) in spare_volumes(&record) {
        plan.add_recorded(context, spare, state, &own)?;
    }
    // An overlay is deleted before the volume below it, which has a lower revision.
    plan.volumes.sort_by_key(|volume| std::cmp::Reverse(VolumeName::revision_of(&volume.name)));
    plan.add_overlays(context, &described, overlays)?;
    let recorded: Vec<RecordedVolume> = record.all_volumes().cloned().collect();
    plan.keep_back_unrecorded(&described, &recorded);
    next.iter().for_each(|next| plan.keep_back_unrecorded(next, &recorded));
    plan.record = Some(record);
    plan.finish_plan(context)
}

/// The volumes that a repave keeps beside those of the definition, each with the state of a VM whose volumes are as
/// certain to exist as it is: being made, being deleted, or complete.
fn spare_volumes(record: &Record) -> impl Iterator<Item = (&RecordedVolume, RecordState)> {
    record.repave.iter().flat_map(|note| {
        let state = match note.stage {
            RepaveStage::Preparing => RecordState::Creating,
            RepaveStage::Accepted | RepaveStage::Rejected => RecordState::Destroying,
            RepaveStage::OnTrial | RepaveStage::Kept => record.state,
        };
        note.spare.iter().map(move |spare| (spare, state))
    })
}

/// Finds the overlays that external snapshots put on the recorded volumes. Only volumes whose names match their roles
/// count, because a record can be forged.
fn overlays_on(
    context: &Context,
    record: &Record,
    described: &DomainDescription,
) -> Result<Vec<Volume>, Error> {
    let is_recorded = |path: &String| record.volumes.iter().any(|v| v.path == *path);
    let is_unknown = |source: &DiskSource| matches!(source, DiskSource::File(path) if !is_recorded(path));
    let has_unknown = described.disks.iter().any(|disk| is_unknown(&disk.source));
    if has_unknown || record.volumes.iter().any(|v| v.overlay_of.is_some()) {
        refresh_pools(context, &record.volumes)?;
    }
    if !has_unknown {
        return Ok(Vec::new());
    }
    let has_its_name = |v: &&RecordedVolume| VolumeRole::of_volume(&v.name) == Some(v.role);
    let bases: Vec<String> = record.volumes.iter().filter(has_its_name).map(|v| v.path.clone()).collect();
    backing_chain::snapshot_overlays(context, described, &bases)
}

/// The path that foundry would have given the VM's console log. If the VM was renamed, that is the path with the old
/// name, provided that the domain still logs there and no other domain has the old name.
fn own_log(
    context: &Context,
    domain: &Domain,
    record: &Record,
    described: &DomainDescription,
) -> Result<Option<String>, Error> {
    let path = |name: &str| console::log_path(context.host.uri(), name);
    let before = record.manifest.metadata.name.as_deref().filter(|name| *name != domain.name);
    let (Some(before), true) = (before, record.console_log.is_some()) else { return Ok(path(&domain.name)) };
    // Others can write the record: an invalid name in it could contain a path to any file.
    let is_name = VmName::parse_normalized(before).is_ok_and(|name| name.as_str() == before);
    let is_its_own =
        is_name && described.console_log == record.console_log && path(before) == record.console_log;
    let is_free = is_its_own && context.host.domain(before)?.is_none();
    Ok(if is_free { path(before) } else { path(&domain.name) })
}

/// Reads a domain's description. The error says that there is no such VM, because another process may have destroyed it
/// since it was found.
fn describe_domain(context: &Context, domain: &Domain, view: View) -> Result<DomainDescription, Error> {
    match context.host.describe(domain.uuid, view)? {
        Some(described) => Ok(described),
        None => Err(vm_not_found(context, &domain.name)?),
    }
}

/// Rescans the pools of these volumes: until then, libvirt does not list files that snapshots created.
fn refresh_pools(context: &Context, volumes: &[RecordedVolume]) -> Result<(), Error> {
    let mut pools: Vec<&str> = volumes.iter().map(|v| v.pool.as_str()).collect();
    pools.sort_unstable();
    pools.dedup();
    for pool in pools {
        // A stopped or missing pool is reported later, when its volumes are looked up.
        if context.host.pool(pool)?.is_some_and(|p| p.active && !usage::is_directory_away(context, &p)) {
            context.host.refresh_pool(pool)?;
        }
    }
    Ok(())
}

/// Plans the destroy of a domain without a usable record. It deletes only volumes that the domain's XML references
/// *and* whose names are those that foundry gives to volumes of a VM with this name.
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
            plan.kept_back.push((
                volume.reference().to_string(),
                "its name is not one that foundry gives to disks".into(),
            ));
        }
    }
    plan.finish_plan(context)
}
