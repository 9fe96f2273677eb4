//! Checks a repave and decides everything about it, before anything is changed.

use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::manifest::VirtualMachine;
use foundry_core::names::{VmName, VolumeName, VolumeNameParts};
use foundry_core::plan::{BootSource, VmPlan};
use foundry_core::record::{BootParts, Record, RecordedVolume, Repave, RepaveStage, VolumeRole};
use foundry_core::units::Bytes;
use foundry_host::Domain;
use foundry_host::libvirt_xml::edit_boot;

use super::new_seed::{NewSeed, plan_seed};
use super::state::{refuse_if_busy, undecided_error};
use super::{RepaveRequest, RepaveSource};
use crate::change::{is_same_image, manifest_to_plan, recorded_defaults, recorded_plan};
use crate::disk::{OwnBootDisk, find_boot_disk};
use crate::preflight::check_boot_storage;
use crate::preflight::storage::{PoolNeed, ReadyStorage};
use crate::vm::handle::{VmHandle, refused_unchanged};
use crate::vm::power;
use crate::vm::seed::find_drive;
use crate::{Context, Step};

/// A repave that can begin.
pub(super) struct RepavePlan {
    pub(super) handle: VmHandle,
    /// Pool, new volumes and image.
    pub(super) storage: ReadyStorage,
    pub(super) iso: Option<Vec<u8>>,
    /// What the record says about the new volumes.
    pub(super) parts: BootParts,
    /// The format of the file below the old boot disk.
    pub(super) old_backing_format: Option<String>,
}

impl RepavePlan {
    /// The note for the record.
    pub(super) fn note(&self, context: &Context, ran: bool) -> Repave {
        Repave {
            stage: RepaveStage::Preparing,
            maker: context.lease.maker(),
            since: context.clock.timestamp(),
            spare: self.storage.volumes.clone(),
            ran: ran || self.handle.domain.state.is_active(),
            before: None,
        }
    }
}

/// The volumes that a repave would replace, for a question to the user; changes nothing.
///
/// # Errors
/// All reasons for which the VM cannot be repaved, as far as they are known in advance.
pub fn plan_repave(context: &Context, request: &RepaveRequest<'_>) -> Result<Vec<RecordedVolume>, Error> {
    let handle = VmHandle::find(context, request.vm)?;
    if let Some(note) = &handle.record.repave {
        refuse_if_busy(&handle.domain, note, request.stop.force)?;
        if note.stage.can_roll_back() {
            return match note.stage {
                RepaveStage::Kept => Err(undecided_error(&handle.domain)),
                _ => Ok(note.spare.clone()),
            };
        }
    }
    let plan = check_repave(context, request, handle)?;
    let is_replaced = |volume: &&RecordedVolume| volume.role != VolumeRole::Data;
    Ok(plan.handle.record.volumes.iter().filter(is_replaced).cloned().collect())
}

/// Checks everything that a repave needs; changes nothing.
///
/// # Errors
/// What stands in the way.
pub(super) fn check_repave(
    context: &Context,
    request: &RepaveRequest<'_>,
    handle: VmHandle,
) -> Result<RepavePlan, Error> {
    power::check_stoppable(&handle.domain, request.stop)?;
    let old = find_boot_disk(context, &handle, "it describes the boot disk that is replaced")?;
    let target = target_plan(context, &handle, &request.source)?;
    check_bootable(&handle.domain, &target)?;
    let seed = plan_seed(context, &handle, &target)?;
    check_drive(&handle, seed.as_ref())?;
    let mut storage = check_boot_storage(context, &new_volumes(&handle, &target, &old)?)?;
    for planned in storage.volumes.iter_mut().filter(|volume| volume.role == VolumeRole::Seed) {
        let backend = storage.seed.as_ref().map_or(storage.backend, |(_, backend)| *backend);
        let length = seed.as_ref().map_or(0, |seed| seed.iso.len() as u64);
        planned.capacity = backend.capacity(Bytes(length));
    }
    refuse_stopped_pools(&storage)?;
    let old_backing_format = match context.host.full_definition(handle.domain.uuid)? {
        Some(xml) if old.names_backing => edit_boot::backing_format(&xml, &old.target)?,
        _ => None,
    };
    context.report_finished(Step::Validate);
    let parts = new_parts(&handle.record, &target, &storage, seed.as_ref());
    let iso = seed.map(|seed| seed.iso);
    Ok(RepavePlan { handle, storage, iso, parts, old_backing_format })
}

/// The VM as it is to be.
fn target_plan(context: &Context, handle: &VmHandle, source: &RepaveSource) -> Result<VmPlan, Error> {
    match source {
        RepaveSource::Recorded => recorded_plan(context, handle, None),
        RepaveSource::Image(image) => {
            let manifest = with_image(&handle.record, image);
            Ok(VmPlan::from_manifest(&manifest, &recorded_defaults(&context.settings))?)
        }
    }
}

fn with_image(record: &Record, image: &str) -> VirtualMachine {
    let mut manifest = manifest_to_plan(record, None);
    let boot = manifest.spec.boot_disk.get_or_insert_default();
    boot.image = Some(image.to_owned());
    (boot.image_pool, boot.empty) = (None, None);
    manifest
}

/// Whether a repave to this source ends as the record says: then it is the same repave.
pub(super) fn is_same_target(
    context: &Context,
    handle: &VmHandle,
    source: &RepaveSource,
) -> Result<bool, Error> {
    let RepaveSource::Image(_) = source else { return Ok(true) };
    let (wanted, recorded) = (target_plan(context, handle, source)?, recorded_plan(context, handle, None)?);
    Ok(is_same_image(&wanted.boot_disk.source, &recorded.boot_disk.source))
}

/// An empty disk is of use only if the firmware boots from the network.
fn check_bootable(domain: &Domain, target: &VmPlan) -> Result<(), Error> {
    let boots = target.boot_disk.source != BootSource::Empty || target.interfaces.iter().any(|i| i.pxe_boot);
    if boots {
        return Ok(());
    }
    let message = format!("the boot disk of VM '{}' was not made from an image", domain.name);
    Err(refused_unchanged(Code::ChangeRefused, message)
        .because("a new one would be empty")
        .hint("name an image with --image"))
}

/// Checks that the new seed has a place: its own drive, or `sda`.
fn check_drive(handle: &VmHandle, seed: Option<&NewSeed>) -> Result<(), Error> {
    let own = handle.record.volumes.iter().find(|volume| volume.role == VolumeRole::Seed);
    let has_drive = own.is_some_and(|seed| find_drive(&handle.next, seed).is_some());
    if seed.is_none() || has_drive || handle.next.disk("sda").is_none() {
        return Ok(());
    }
    let message = format!("another disk of VM '{}' has the device 'sda' of the seed", handle.name());
    Err(refused_unchanged(Code::DeviceTaken, message))
}

/// The plan of the new volumes alone: pool of the old boot disk, names of the next revision, no data disks and no
/// addresses, which the VM has already.
fn new_volumes(handle: &VmHandle, target: &VmPlan, old: &OwnBootDisk) -> Result<VmPlan, Error> {
    let number = next_revision(&handle.record);
    let name = handle.domain.name.parse::<VmName>().unwrap_or_else(|_| target.name.clone());
    // The volumes of a renamed VM have its old name.
    let of_volumes =
        VolumeNameParts::parse(&old.volume.name).and_then(|parts| parts.vm.parse::<VmName>().ok());
    let of_volumes = of_volumes.unwrap_or_else(|| name.clone());
    let mut plan = target.clone();
    plan.pool = old.volume.pool.parse().map_err(|e| {
        let message = format!("pool '{}' of VM '{}' cannot be used", old.volume.pool, handle.name());
        refused_unchanged(Code::PoolUnfit, message).because(format!("its name {e}"))
    })?;
    plan.name = name;
    plan.boot_disk.volume = of_volumes.boot_volume().revised(number);
    if let Some(seed) = &mut plan.seed {
        seed.volume = of_volumes.seed_volume().revised(number);
    }
    plan.data_disks = Vec::new();
    plan.manifest.spec.data_disks = Vec::new();
    plan.interfaces = Vec::new();
    Ok(plan)
}

fn next_revision(record: &Record) -> u32 {
    let is_replaced = |volume: &&RecordedVolume| volume.role != VolumeRole::Data;
    let of = record.all_volumes().filter(is_replaced).map(|volume| VolumeName::revision_of(&volume.name));
    of.max().unwrap_or(1) + 1
}

/// The VM's own pool is in use. The pool of the seed, or a default pool, may be stopped.
fn refuse_stopped_pools(storage: &ReadyStorage) -> Result<(), Error> {
    let pools = std::iter::once(&storage.pool).chain(storage.seed.iter().map(|(pool, _)| pool));
    for pool in pools {
        if pool.need == PoolNeed::Make {
            return Err(refused_unchanged(Code::PoolMissing, format!("there is no pool '{}'", pool.name))
                .hint(Advice::from(Verb::PoolAdd { pool: pool.name.clone() }).text(" creates one")));
        }
    }
    Ok(())
}

/// What the record will say about the new volumes.
fn new_parts(record: &Record, target: &VmPlan, storage: &ReadyStorage, seed: Option<&NewSeed>) -> BootParts {
    let image = storage.image.as_ref();
    let manifest = target.with_image(image.map(|image| &image.reference)).manifest;
    let now = BootParts::of_record(record, image.map(|image| image.format.clone()));
    BootParts {
        boot_disk: manifest.spec.boot_disk,
        secrets: seed.map(|seed| seed.secrets.clone()).unwrap_or_default(),
        instance_id: seed.map(|seed| seed.instance_id.clone()),
        ssh: seed.and_then(|seed| seed.ssh.clone()),
        image: image.map(|image| image.reference.to_string()),
        image_origin: image.and_then(|image| image.origin.clone()),
        ..now
    }
}
