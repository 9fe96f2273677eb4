//! Creates a VM completely (define, volumes, seed, autostart, mark, start), or rolls back.

use std::time::Duration;

use uuid::Uuid;

use super::{console, destroy};
use crate::diagnose::FailureContext;
use crate::poll::{Poll, Waited};
use crate::preflight::issues::PreflightReport;
use crate::preflight::storage::{self, PoolNeed, ReadyPool, ReadyStorage};
use crate::preflight::{ReadyVm, preflight};
use crate::storage::backend::PoolBackend;
use crate::storage::volumes::{fill_seed, make_disk};
use crate::vm::address_race;
use crate::vm::created::CreatedResource;
use crate::vm::journal::Journal;
use crate::{Context, Event, lock};
use foundry_core::cloud_init;
use foundry_core::domain_xml::{self, DiskLocation, Placement};
use foundry_core::error::{Advice, Code, Error, Kind, Outcome, Verb};
use foundry_core::plan::{FirmwarePlan, Link, VmPlan};
use foundry_core::pool::PoolSourceSpec;
use foundry_core::record::{self, Record, RecordState, RecordedVolume, Salt, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::PoolSource;
use foundry_host::diagnosis::RequestedVm;

/// How often to try to build and start a default pool that other processes may be building, and the pause between tries.
const POOL_TRIES: usize = 10;
const POOL_PAUSE: Duration = Duration::from_millis(100);

/// A VM that was created.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedVm {
    /// The domain.
    pub uuid: Uuid,
    /// Its record.
    pub record: Record,
}

/// Everything that is decided before the first change: identity, XML, seed, record.
#[derive(Debug)]
pub struct Blueprint {
    /// The domain's XML, record included.
    pub domain_xml: String,
    /// In a dry run: the volumes of an interrupted creation that would be deleted first, as `POOL/VOLUME`.
    pub removes: Vec<String>,
    record: Record,
    iso: Option<Vec<u8>>,
    uuid: Uuid,
}

impl Blueprint {
    /// What may be left behind if the process ends during the creation.
    fn possible_leftovers(&self) -> Vec<Outcome> {
        let name = self.record.manifest.metadata.name.clone().unwrap_or_default();
        let volumes = self.record.volumes.iter().map(|v| v.reference().to_string());
        let all: Vec<String> = std::iter::once(format!("domain '{name}'")).chain(volumes).collect();
        vec![
            format!("may be left behind: {}", all.join(", ")).into(),
            Advice::from(Verb::Destroy { vm: name, force: false }).text(" removes it").into(),
        ]
    }
}

/// Creates a VM from a plan and starts it.
///
/// # Errors
/// What stands in the way, before anything is made; or what failed, after everything that was made is
/// removed again, and what is left where that failed too.
pub fn create_vm(context: &Context, plan: &VmPlan) -> Result<CreatedVm, Error> {
    let name = plan.name.as_str();
    context.progress.on_event(Event::Begins(format!("Creating VM '{name}'...")));
    let ready = preflight(context, plan)?;
    context.report_done("Configuration validated");
    context.cancel.check_unchanged()?;
    // The pool first: libvirt does not list what an interrupted creation left in a stopped pool.
    prepare_pool(context, &ready)?;
    if let Some(leftover) = &ready.leftover {
        destroy::remove_leftover(context, leftover)?;
        context.report_done("Remains of an interrupted creation removed");
    }
    let blueprint = draw_blueprint(context, &ready)?;
    let _leaves = context.cancel.announce_leftovers(blueprint.possible_leftovers());
    let mut creation = Journal::default();
    match execute_creation(context, &ready, &blueprint, &mut creation) {
        Ok(()) => {}
        Err(error) => return Err(creation.roll_back(context, cause_of(context, &ready, error))),
    }
    context.report_done("VM started");
    Ok(CreatedVm {
        uuid: blueprint.uuid,
        record: blueprint.record.with_state(RecordState::Created, &context.clock.timestamp()),
    })
}

/// Runs all checks of [`create_vm`] and returns what it would define, without creating anything.
///
/// # Errors
/// As [`preflight`]'s.
pub fn dry_run(context: &Context, plan: &VmPlan) -> Result<Blueprint, Error> {
    let ready = preflight(context, plan)?;
    let removes = leftover_volumes(context, &ready)?;
    Ok(Blueprint { removes, ..draw_blueprint(context, &ready)? })
}

/// The volumes of an interrupted creation that [`create_vm`] would delete first.
fn leftover_volumes(context: &Context, ready: &ReadyVm) -> Result<Vec<String>, Error> {
    let Some(domain) = &ready.leftover else { return Ok(Vec::new()) };
    let is_stopped = || ready.storage.pool.need != PoolNeed::Nothing;
    match destroy::plan_leftover(context, domain) {
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
fn cause_of(context: &Context, ready: &ReadyVm, error: Error) -> Error {
    if context.cancel.is_requested() {
        return error.of_kind(Kind::Interrupted);
    }
    match check_image_stayed(context, ready) {
        Err(gone) if error.kind() != Kind::Connection => gone,
        _ => error,
    }
}

/// Starts the pools, or creates them on first use. They are kept even if the creation of the VM fails.
fn prepare_pool(context: &Context, ready: &ReadyVm) -> Result<(), Error> {
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
            format!("pool '{}' stays as far as it is made; the same command again goes on with it", pool.name)
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

/// Another foundry process may be starting the same pool, and libvirt refuses this one meanwhile: what counts is that
/// it is started in the end.
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
            Err(Error::from(refused).hint("is its file system mounted, its directory there?"))
        }
        _ => Ok(()),
    }
}

/// Decides what the plan leaves open: identity, seed, record.
fn draw_blueprint(context: &Context, ready: &ReadyVm) -> Result<Blueprint, Error> {
    let plan = &ready.plan;
    // Always a new UUID: defining a domain with an existing UUID silently replaces that domain.
    let uuid = Uuid::new_v4();
    let instance_id = format!("{}-{uuid}", plan.name);
    let salt = Salt::generate();
    let iso = seed_iso(plan, &instance_id, &salt)?;
    let record = new_record(context, ready, uuid, iso.as_deref(), instance_id, &salt);
    let text = record.to_text()?;
    let placement = Placement {
        uuid: Some(uuid),
        virt_type: ready.virt_type,
        arch: ready.arch,
        native: ready.native,
        disks: record.volumes.iter().map(|v| disk_source(&ready.storage, v)).collect(),
        console_log: record.console_log.as_deref(),
        record: Some(&text),
    };
    let domain_xml = domain_xml::render_domain(plan, &placement)?;
    Ok(Blueprint { domain_xml, removes: Vec::new(), record, iso, uuid })
}

/// The source of a volume in the domain's XML; the volume may not exist yet.
fn disk_source(storage: &ReadyStorage, volume: &RecordedVolume) -> DiskLocation {
    match &storage.seed {
        Some((_, backend)) if volume.role == VolumeRole::Seed => {
            backend.disk_source(&volume.path, &PoolSource::default())
        }
        _ => with_backing_image(storage, volume, storage.backend.disk_source(&volume.path, &storage.source)),
    }
}

/// Adds the image to the source of an overlay boot disk. The preflight has checked that the image has no backing file.
fn with_backing_image(storage: &ReadyStorage, volume: &RecordedVolume, own: DiskLocation) -> DiskLocation {
    let image = storage.image.as_ref().filter(|_| storage.backend == PoolBackend::Files);
    match (image, &volume.backing) {
        (Some(image), Some(path)) => DiskLocation::Overlay {
            own: Box::new(own),
            image: Box::new(DiskLocation::File(path.clone())),
            format: image.format.clone(),
        },
        _ => own,
    }
}

fn seed_iso(plan: &VmPlan, instance_id: &str, salt: &Salt) -> Result<Option<Vec<u8>>, Error> {
    let Some(seed) = &plan.seed else { return Ok(None) };
    let failed = |cause: String| {
        Error::new(Kind::Vm, format!("cannot make the cloud-init seed of VM '{}'", plan.name))
            .because(cause)
            .unchanged()
    };
    let mut documents =
        cloud_init::build_seed_files(plan, seed, instance_id).map_err(|e| failed(e.to_string()))?;
    documents.meta_data = cloud_init::append_salt(&documents.meta_data, salt);
    cloud_init::write_iso(&documents).map(Some).map_err(|e| failed(e.to_string()))
}

fn new_record(
    context: &Context,
    ready: &ReadyVm,
    uuid: Uuid,
    iso: Option<&[u8]>,
    instance_id: String,
    salt: &Salt,
) -> Record {
    let (manifest, secrets) = record::split_secrets(&ready.plan.manifest);
    let secrets = secrets.into_iter().map(|(path, secret)| (path, salt.digest_secret(&secret))).collect();
    let now = context.clock.timestamp();
    let mut volumes = ready.storage.volumes.clone();
    let backend = ready.storage.seed.as_ref().map_or(ready.storage.backend, |(_, backend)| *backend);
    for seed in volumes.iter_mut().filter(|v| v.role == VolumeRole::Seed) {
        seed.capacity = backend.capacity(Bytes(iso.map_or(0, |bytes| bytes.len() as u64)));
    }
    Record {
        version: record::VERSION,
        domain: uuid,
        state: RecordState::Creating,
        manifest,
        secrets,
        volumes,
        maker: context.lease.maker(),
        created_at: now.clone(),
        changed_at: now,
        generation: 1,
        instance_id: iso.map(|_| instance_id),
        console_log: console::log_path(context.host.uri(), ready.plan.name.as_str()),
        image: ready.storage.image.as_ref().map(|i| i.reference.to_string()),
        image_origin: ready.storage.image.as_ref().and_then(|i| i.origin.clone()),
    }
}

/// Executes the steps that change the host. Each notes in `creation` what it made, for the rollback.
fn execute_creation(
    context: &Context,
    ready: &ReadyVm,
    blueprint: &Blueprint,
    creation: &mut Journal,
) -> Result<(), Error> {
    let name = ready.plan.name.to_string();
    context.report_working("Defining the domain");
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
    context.report_done("Domain defined");
    for planned in &blueprint.record.volumes {
        context.cancel.check()?;
        if planned.role == VolumeRole::Seed {
            context.report_done(storage_sentence(ready));
            fill_seed(context, planned, blueprint.iso.as_deref().unwrap_or_default(), creation)?;
            context.report_done("Cloud-init ISO generated");
        } else {
            make_disk(context, ready, planned, creation)?;
        }
    }
    if blueprint.iso.is_none() {
        context.report_done(storage_sentence(ready));
    }
    context.cancel.check()?;
    address_race::resolve_addresses(context, &ready.plan, uuid)?;
    // Before the mark: if this process is killed after the mark, only the start is missing.
    if ready.plan.autostart {
        context.host.set_autostart(uuid, true)?;
    }
    context.cancel.check()?;
    mark_created(context, uuid, &blueprint.record, creation)?;
    context.cancel.check()?;
    let started = start_vm(context, ready, uuid, blueprint, creation);
    // If the image was deleted, that explains a failed start better.
    check_image_stayed(context, ready)?;
    started
}

/// Checks that the image still exists. A process on another machine may have checked the image's users before the domain
/// was defined, and deleted the image since. If that happens before the start, the start fails; if later, QEMU keeps
/// the file open, and only this check notices it.
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
    let message =
        format!("image '{}' was deleted while VM '{}' was made from it", image.reference, ready.plan.name);
    Err(Error::new(Code::VolumeChanged, message))
}

fn start_vm(
    context: &Context,
    ready: &ReadyVm,
    uuid: Uuid,
    blueprint: &Blueprint,
    creation: &mut Journal,
) -> Result<(), Error> {
    context.report_working("Starting the VM");
    // A failed start may still have created the log, and the guest may be running anyway.
    if let Some(log) = &blueprint.record.console_log {
        console::make_log_directory(context.host.as_ref(), log)?;
        creation.note_possible(CreatedResource::ConsoleLog(log.clone()));
    }
    let name = blueprint.record.manifest.metadata.name.clone().unwrap_or_default();
    creation.note_possible(CreatedResource::Guest { uuid, name });
    let failure = failure_context(context, &ready.plan, uuid);
    context.host.start(uuid).map_err(|refused| failure.explain_error(context, refused))
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
    let marked = record.with_state(RecordState::Created, &context.clock.timestamp()).to_text()?;
    creation.note_possible(CreatedResource::Mark { uuid, before: record.to_text()? });
    Ok(context.host.set_record(uuid, &marked)?)
}

/// `Storage created (50 GiB boot + 300 GiB data)`. If volumes are not files, also how the boot disk is made from the
/// image.
fn storage_sentence(ready: &ReadyVm) -> String {
    let plan = &ready.plan;
    let data = plan.data_disks.iter().fold(Bytes(0), |sum, disk| sum.saturating_add(disk.size));
    let extra = if plan.data_disks.is_empty() { String::new() } else { format!(" + {data} data") };
    let origin = ready.storage.image.as_ref().and_then(|_| ready.storage.backend.boot_disk());
    let origin = origin.map(|what| format!(", {what}")).unwrap_or_default();
    format!("Storage created ({} boot{extra}{origin})", plan.boot_disk.size)
}
