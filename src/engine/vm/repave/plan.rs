//! Checks a repave and decides everything about it, before anything is changed.

use foundry_core::error::{Advice, Code, Error, Verb};
use foundry_core::manifest::VirtualMachine;
use foundry_core::names::{VmName, VolumeName, VolumeNameParts};
use foundry_core::plan::{BootSource, VmPlan};
use foundry_core::record::{
    BootParts, Record, RecordedVolume, Repave, RepaveStage, VolumeRole, split_secrets,
};
use foundry_core::units::Bytes;
use foundry_host::Domain;
use foundry_host::libvirt_xml::edit_boot;

use super::manifest_seed::plan_manifest_seed;
use super::new_seed::{NewSeed, plan_seed};
use super::state::{refuse_if_busy, undecided_error};
use super::{RepavePreview, RepaveRequest, RepaveSource};
use crate::change::{
    FieldDiff, RepavedManifest, check_repaved, is_as_wanted, is_same_image, manifest_to_plan,
    recorded_defaults, recorded_plan,
};
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
    /// The fields that a manifest changes.
    pub(super) fields: Vec<FieldDiff>,
    /// The VM as it is to be, if it gets other addresses.
    pub(super) contested: Option<VmPlan>,
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

/// What a repave would change, for a question to the user; changes nothing.
///
/// # Errors
/// All reasons for which the VM cannot be repaved, as far as they are known in advance.
pub fn plan_repave(context: &Context, request: &RepaveRequest<'_>) -> Result<RepavePreview, Error> {
    let handle = VmHandle::find(context, request.vm)?;
    if let Some(note) = &handle.record.repave {
        refuse_if_busy(&handle.domain, note, request.stop.force)?;
        if note.stage.can_roll_back() {
            return match note.stage {
                RepaveStage::Kept => Err(undecided_error(&handle.domain)),
                _ => Ok(RepavePreview { volumes: note.spare.clone(), fields: Vec::new() }),
            };
        }
    }
    let plan = check_repave(context, request, handle)?;
    let is_replaced = |volume: &&RecordedVolume| volume.role != VolumeRole::Data;
    let volumes = plan.handle.record.volumes.iter().filter(is_replaced).cloned().collect();
    Ok(RepavePreview { volumes, fields: plan.fields })
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
    let repaved = match &request.source {
        RepaveSource::Manifest(wanted) => Some(check_repaved(context, wanted, &handle)?),
        RepaveSource::Recorded | RepaveSource::Image(_) => None,
    };
    let (target, seed) = match &repaved {
        Some(repaved) => (repaved.plan.clone(), plan_manifest_seed(context, &handle, repaved)?),
        None => {
            let target = target_plan(context, &handle, request.source.image())?;
            let seed = plan_seed(context, &handle, &target)?;
            (target, seed)
        }
    };
    if target.warm.is_some() {
        let message =
            format!("VM '{}' started from a warm image, and has no seed for a new boot disk", handle.name());
        return Err(refused_unchanged(Code::SeedMissing, message)
            .hint("destroy it and create it again, which takes seconds"));
    }
    check_bootable(&handle.domain, &target, &request.source)?;
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
    let mut parts = new_parts(&handle.record, &target, &storage, seed.as_ref());
    if repaved.is_some() {
        bring_manifest(&mut parts, &target, &storage);
    }
    let iso = seed.map(|seed| seed.iso);
    let contested = repaved.as_ref().filter(|repaved| repaved.changes_addresses()).map(|r| r.plan.clone());
    let fields = repaved.map(|repaved: RepavedManifest| repaved.fields).unwrap_or_default();
    Ok(RepavePlan { handle, storage, iso, parts, old_backing_format, fields, contested })
}

/// The VM with the manifest that it has, or with another image.
fn target_plan(context: &Context, handle: &VmHandle, image: Option<&str>) -> Result<VmPlan, Error> {
    match image {
        None => recorded_plan(context, handle, None),
        Some(image) => {
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
    match source {
        RepaveSource::Recorded => Ok(true),
        RepaveSource::Manifest(wanted) => is_as_wanted(context, wanted, handle),
        RepaveSource::Image(image) => {
            let wanted = target_plan(context, handle, Some(image))?;
            let recorded = recorded_plan(context, handle, None)?;
            Ok(is_same_image(&wanted.boot_disk.source, &recorded.boot_disk.source))
        }
    }
}

/// An empty disk is of use only if the firmware boots from the network.
fn check_bootable(domain: &Domain, target: &VmPlan, source: &RepaveSource) -> Result<(), Error> {
    let boots = target.boot_disk.source != BootSource::Empty || target.interfaces.iter().any(|i| i.pxe_boot);
    if boots {
        return Ok(());
    }
    let message = format!("the boot disk of VM '{}' was not made from an image", domain.name);
    Err(refused_unchanged(Code::ChangeRefused, message).because("a new one would be empty").hint(
        match source {
            RepaveSource::Manifest(_) => "name an image in spec.bootDisk.image",
            RepaveSource::Recorded | RepaveSource::Image(_) => "name an image with --image",
        },
    ))
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

/// Adds to what the record will say the manifest that the VM is repaved from.
fn bring_manifest(parts: &mut BootParts, target: &VmPlan, storage: &ReadyStorage) {
    let planned = target.with_image(storage.image.as_ref().map(|image| &image.reference));
    let (manifest, _) = split_secrets(&planned.manifest);
    parts.cloud_init.clone_from(&manifest.spec.cloud_init);
    parts.network_interfaces.clone_from(&manifest.spec.network_interfaces);
    parts.manifest = Some(Box::new(manifest));
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
