//! Creates a VM completely (define, volumes, seed, autostart, mark, start), or rolls back.

use std::time::Duration;

use uuid::Uuid;

use super::blueprint::draw_blueprint;
use super::{console, leftover};
use crate::diagnose::FailureContext;
use crate::poll::{Poll, Waited};
use crate::preflight::issues::PreflightReport;
use crate::preflight::storage::{self, PoolNeed, ReadyPool, ReadyStorage};
use crate::preflight::warm::MemoryUse;
use crate::preflight::{ReadyVm, preflight};
use crate::storage::copy::copy_disk;
use crate::storage::volumes::{fill_seed, make_disk};
use crate::vm::address_race;
use crate::vm::created::CreatedResource;
use crate::vm::journal::Journal;
use crate::{Context, Step, Task, lock, warm};
use foundry_core::error::{Code, Error, Kind, Outcome};
use foundry_core::plan::{FirmwarePlan, Link, VmPlan};
use foundry_core::pool::PoolSourceSpec;
use foundry_core::record::{Record, RecordState, RunnerNote, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::diagnosis::RequestedVm;

pub use super::blueprint::Blueprint;

/// How often to try to build and start a default pool that other processes may be building, and the pause between
/// tries.
const POOL_TRIES: usize = 10;
const POOL_PAUSE: Duration = Duration::from_millis(100);

/// A VM that was created.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedVm {
    /// The domain's UUID.
    pub uuid: Uuid,
    /// The record in the domain's metadata.
    pub record: Record,
}

/// Creates a VM from a plan and starts it.
///
/// # Errors
/// All problems that the checks found, before any change; or the failure of a step, after a rollback. If the rollback
/// failed too, the error lists what is left behind.
pub fn create_vm(context: &Context, plan: &VmPlan) -> Result<CreatedVm, Error> {
    let name = plan.name.as_str();
    context.report_begun(Task::CreateVm(name.to_string()));
    let ready = preflight(context, plan)?;
    create_ready(context, &ready, &|| Ok(()))
}

/// As [`create_vm`], with a note about the runner of a pool, which the record has from its beginning.
///
/// # Errors
/// As [`create_vm`].
pub(crate) fn create_for_pool(
    context: &Context,
    plan: &VmPlan,
    note: &RunnerNote,
) -> Result<CreatedVm, Error> {
    context.report_begun(Task::CreateVm(plan.name.to_string()));
    let ready = ReadyVm { runner: Some(note.clone()), ..preflight(context, plan)? };
    create_ready(context, &ready, &|| Ok(()))
}

/// Creates a VM that passed all checks. `before_start` is called when its volumes have their content; if it fails, the
/// creation is rolled back.
pub(super) fn create_ready(
    context: &Context,
    ready: &ReadyVm,
    before_start: &dyn Fn() -> Result<(), Error>,
) -> Result<CreatedVm, Error> {
    context.report_finished(Step::Validate);
    context.cancel.check_unchanged()?;
    // The pool first: libvirt does not list what an interrupted creation left in a stopped pool.
    prepare_pool(context, ready)?;
    if let Some(leftover) = &ready.leftover {
        leftover::remove_leftover(context, leftover)?;
        context.report_finished(Step::RemoveInterrupted);
    }
    let blueprint = draw_blueprint(context, ready)?;
    let _leaves = context.cancel.announce_leftovers(blueprint.possible_leftovers());
    let mut creation = Journal::default();
    match execute_creation(context, ready, &blueprint, &mut creation, before_start) {
        Ok(()) => {}
        Err(error) => return Err(creation.roll_back(context, cause_of(context, ready, error))),
    }
    context.report_finished(Step::StartVm);
    Ok(CreatedVm {
        uuid: blueprint.uuid,
        record: complete_record(&blueprint.record, &context.clock.timestamp()),
    })
}

/// Runs all checks of [`create_vm`] and returns what it would define, without creating anything.
///
/// # Errors
/// All problems that the checks found, as in [`preflight`].
pub fn dry_run(context: &Context, plan: &VmPlan) -> Result<Blueprint, Error> {
    let ready = preflight(context, plan)?;
    let removes = leftover_volumes(context, &ready)?;
    Ok(Blueprint { removes, ..draw_blueprint(context, &ready)? })
}

/// The volumes of an interrupted creation that [`create_vm`] would delete first.
fn leftover_volumes(context: &Context, ready: &ReadyVm) -> Result<Vec<String>, Error> {
    let Some(domain) = &ready.leftover else { return Ok(Vec::new()) };
    let is_stopped = || ready.storage.pool.need != PoolNeed::Nothing;
    match leftover::plan_leftover(context, domain) {
        Ok(plan) => Ok(plan.named_volumes()),
        Err(_) if matches!(context.host.domain(&domain.name), Ok(None)) => Ok(Vec::new()),
        // The volumes of a stopped pool are listed only after its start, so the record is used.
        Err(hidden) if hidden.code() == Code::PoolInactive && is_stopped() => {
            let recorded = domain.own_record().map(|record| record.volumes).unwrap_or_default();
            let own = recorded.iter().filter(|v| ready.plan.name.owns_by_convention(&v.name));
            Ok(own.map(|v| format!("{}/{}", v.pool, v.name)).collect())
        }
        Err(refused) => Err(refused),
    }
}

/// A signal can surface as a failed call; report the interruption. If the image was deleted meanwhile, report that
/// rather than the call's error.
pub(super) fn cause_of(context: &Context, ready: &ReadyVm, error: Error) -> Error {
    if context.cancel.is_requested() {
        return error.of_kind(Kind::Interrupted);
    }
    match check_image_stayed(context, ready) {
        Err(gone) if error.kind() != Kind::Connection => gone,
        _ => error,
    }
}

/// Starts the pools, or creates them on first use. They are kept even if the creation of the VM fails.
pub(super) fn prepare_pool(context: &Context, ready: &ReadyVm) -> Result<(), Error> {
    let ReadyStorage { pool, seed, .. } = &ready.storage;
    let pools = std::iter::once(pool).chain(seed.as_ref().map(|(pool, _)| pool));
    let mut any = false;
    for pool in pools.filter(|pool| pool.need != PoolNeed::Nothing) {
        ensure_pool(context, pool)?;
        any = true;
    }
    if !any {
        return Ok(());
    }
    let mut report = PreflightReport::default();
    let leftover = ready.leftover.as_ref();
    storage::check_started(context, &ready.plan, &ready.storage, leftover, &mut report)?;
    if report.is_empty() { Ok(()) } else { Err(report.to_error(ready.plan.name.as_str())) }
}

/// Creates and starts a default pool, or starts a user's pool.
///
/// Only the directory of a default pool is ever created, and only if the start fails: building a pool resets the owner
/// and mode of an existing directory. The directory of a user's pool may be a mount point whose file system is not
/// mounted; disks that were created there would be hidden by the mount.
pub(crate) fn ensure_pool(context: &Context, pool: &ReadyPool) -> Result<(), Error> {
    let outcome = match pool.need {
        PoolNeed::Make => {
            format!("pool '{}' is kept as far as it was created; the same command again continues", pool.name)
                .into()
        }
        _ => Outcome::Unchanged,
    };
    make_and_start(context, pool).map_err(|e| e.outcome(outcome))
}

fn make_and_start(context: &Context, pool: &ReadyPool) -> Result<(), Error> {
    if pool.need == PoolNeed::Make {
        let xml = PoolSourceSpec::Dir { path: pool.target.clone() }.to_xml(&pool.name)?;
        // Another foundry process may have defined the pool meanwhile; its definition is as good as ours.
        if let Err(refused) = context.host.define_pool(&xml)
            && context.host.pool(&pool.name)?.is_none()
        {
            return Err(refused.into());
        }
    }
    let is_ours =
        context.settings.default_target(&pool.name, context.host.uri()).as_deref() == Some(&pool.target);
    if is_ours {
        // A stopped default pool may be the result of a creation that was interrupted before this step.
        context.host.set_pool_autostart(&pool.name, true)?;
    }
    start_pool(context, &pool.name, is_ours)
}

/// Starts a pool. Another foundry process may be starting the same one, and libvirt refuses this process meanwhile;
/// so a default pool is tried again until it is active.
fn start_pool(context: &Context, name: &str, is_ours: bool) -> Result<(), Error> {
    let is_active = || context.host.pool(name).map(|p| p.is_some_and(|p| p.active));
    if is_active()? {
        return Ok(());
    }
    let mut outcome = context.host.start_pool(name);
    let mut tries = if is_ours { POOL_TRIES } else { 0 };
    let waited = Poll::new(context, POOL_PAUSE).until(|| {
        let Err(refused) = &outcome else { return Ok(Some(Ok(()))) };
        if is_active()? {
            return Ok(Some(Ok(())));
        }
        if tries == 0 {
            return Ok(Some(Err(refused.clone())));
        }
        tries -= 1;
        // The directory may be missing: a start does not create it.
        outcome = context.host.build_pool(name).and_then(|()| context.host.start_pool(name));
        Ok::<_, Error>(outcome.is_ok().then_some(Ok(())))
    })?;
    match waited {
        Waited::Done(Err(refused)) => {
            Err(Error::from(refused).hint("is its file system mounted, and does its directory exist?"))
        }
        _ => Ok(()),
    }
}

/// Executes the steps that change the host. Each notes in `creation` what it made, for the rollback.
pub(super) fn execute_creation(
    context: &Context,
    ready: &ReadyVm,
    blueprint: &Blueprint,
    creation: &mut Journal,
    before_start: &dyn Fn() -> Result<(), Error>,
) -> Result<(), Error> {
    let name = ready.plan.name.to_string();
    context.report_started(Step::DefineDomain);
    let domain = CreatedResource::Domain { uuid: blueprint.uuid, name };
    let uuid = {
        // A deletion of the image holds the same lock: it ends before the definition, or sees the new domain.
        let image = ready.image_volume();
        let _lock = image.map(|image| lock::lock_image(context, image)).transpose()?;
        context.cancel.check()?;
        let failure = failure_context(context, &ready.plan, blueprint.uuid);
        let defined = context.host.define_domain(&blueprint.domain_xml);
        creation
            .note_result_with(context, domain, defined, |refused| failure.explain_error(context, refused))?
    };
    context.report_finished(Step::DefineDomain);
    for planned in &blueprint.record.volumes {
        context.cancel.check()?;
        if planned.role == VolumeRole::Seed {
            context.report_finished(storage_step(ready));
            fill_seed(context, planned, blueprint.iso.as_deref().unwrap_or_default(), creation)?;
            context.report_finished(Step::GenerateSeed);
        } else if let Some(copy) = ready.storage.copies.iter().find(|copy| copy.to == planned.reference()) {
            copy_disk(context, ready, planned, &copy.from, creation)?;
        } else {
            make_disk(context, &ready.storage, planned, creation)?;
        }
    }
    if blueprint.iso.is_none() {
        context.report_finished(storage_step(ready));
    }
    before_start()?;
    context.cancel.check()?;
    address_race::resolve_addresses(context, &ready.plan, uuid)?;
    match &ready.memory {
        None => {}
        Some(MemoryUse::Save) => return start_vm(context, ready, uuid, blueprint, creation),
        Some(MemoryUse::Start(memory)) => {
            // Incomplete until the guest is itself: whatever interrupts this, nobody takes it for a VM.
            note_guest(context, uuid, blueprint, creation)?;
            warm::start_from_memory(context, ready, memory, blueprint, uuid)?;
        }
    }
    // Before the mark: if this process is killed after the mark, only the start is missing.
    if ready.plan.autostart {
        context.host.set_autostart(uuid, true)?;
    }
    context.cancel.check()?;
    mark_created(context, uuid, &blueprint.record, creation)?;
    context.cancel.check()?;
    let started = match ready.memory {
        None => start_vm(context, ready, uuid, blueprint, creation),
        Some(_) => Ok(()),
    };
    // If the image was deleted, that explains a failed start better.
    check_image_stayed(context, ready)?;
    started
}

/// Checks that the image still exists. A process on another machine may have checked the image's users before the
/// domain was defined, and deleted the image since. If that happens before the start, the start fails; if later, QEMU
/// keeps the file open, and only this check notices it.
///
/// The VM is running at this point, so a failed query is no reason to roll it back.
fn check_image_stayed(context: &Context, ready: &ReadyVm) -> Result<(), Error> {
    let lies_on_it = ready.storage.volumes.iter().any(|v| v.role == VolumeRole::Boot && v.backing.is_some());
    let Some(image) = ready.storage.image.as_ref().filter(|_| lies_on_it) else { return Ok(()) };
    let Some(volume) = &image.volume else { return Ok(()) };
    let is_there = match context.host.volume(volume) {
        Ok(Some(found)) => found.path == image.path,
        // libvirt also lists no volumes if the pool was stopped meanwhile.
        Ok(None) => !matches!(context.host.pool(&volume.pool), Ok(Some(found)) if found.active),
        Err(_) => true,
    };
    if is_there {
        return Ok(());
    }
    let message = format!(
        "image '{}' was deleted while VM '{}' was being created from it",
        image.reference, ready.plan.name
    );
    Err(Error::new(Code::VolumeChanged, message))
}

fn start_vm(
    context: &Context,
    ready: &ReadyVm,
    uuid: Uuid,
    blueprint: &Blueprint,
    creation: &mut Journal,
) -> Result<(), Error> {
    context.report_started(Step::StartVm);
    note_guest(context, uuid, blueprint, creation)?;
    let failure = failure_context(context, &ready.plan, uuid);
    context.host.start(uuid).map_err(|refused| failure.explain_error(context, refused))
}

/// Notes what a start may make: a failed one may still have created the log, and the guest may be running anyway.
fn note_guest(
    context: &Context,
    uuid: Uuid,
    blueprint: &Blueprint,
    creation: &mut Journal,
) -> Result<(), Error> {
    if let Some(log) = &blueprint.record.console_log {
        console::make_log_directory(context.host.as_ref(), log)?;
        creation.note_possible(CreatedResource::ConsoleLog(log.clone()));
    }
    let name = blueprint.record.manifest.metadata.name.clone().unwrap_or_default();
    creation.note_possible(CreatedResource::Guest { uuid, name });
    Ok(())
}

/// The record of a VM that is complete, which has no memory to start from.
fn complete_record(record: &Record, now: &str) -> Record {
    let mut complete = record.with_state(RecordState::Created, now);
    complete.volumes.retain(|volume| volume.role != VolumeRole::Memory);
    complete
}

/// Begins to watch for evidence of why libvirt refuses the VM.
fn failure_context(context: &Context, plan: &VmPlan, uuid: Uuid) -> FailureContext {
    let bridges = plan.interfaces.iter().filter_map(|interface| match &interface.link {
        Link::Bridge(name) => Some(name.to_string()),
        Link::Network(_) => None,
    });
    let asked = RequestedVm {
        vm: plan.name.to_string(),
        uuid: uuid.to_string(),
        secure_boot: matches!(plan.firmware, FirmwarePlan::Efi { secure_boot: true }),
        bridges: bridges.collect(),
    };
    FailureContext::new(context, asked)
}

fn mark_created(context: &Context, uuid: Uuid, record: &Record, creation: &mut Journal) -> Result<(), Error> {
    let marked = complete_record(record, &context.clock.timestamp()).to_text()?;
    creation.note_possible(CreatedResource::Mark { uuid, before: record.to_text()? });
    Ok(context.host.set_record(uuid, &marked)?)
}

fn storage_step(ready: &ReadyVm) -> Step {
    let plan = &ready.plan;
    let data = plan.data_disks.iter().fold(Bytes(0), |sum, disk| sum.saturating_add(disk.size));
    Step::CreateStorage {
        boot: plan.boot_disk.size,
        data: (!plan.data_disks.is_empty()).then_some(data),
        origin: match (
            ready.memory.is_some() || ready.storage.copies.is_empty(),
            ready.storage.links.is_empty(),
        ) {
            (true, true) => ready.storage.image.as_ref().and_then(|_| ready.storage.backend.boot_disk()),
            (true, false) => Some("linked to another VM's"),
            (false, _) => Some("a copy of another VM's"),
        },
    }
}
