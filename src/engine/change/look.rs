//! Collects what is compared: the record, both definitions, the sizes of the disks, the secrets of the seed.

use std::collections::BTreeMap;

use foundry_core::cloud_init;
use foundry_core::error::{Code, Error};
use foundry_core::manifest::VirtualMachine;
use foundry_core::names::PoolName;
use foundry_core::plan::{BootSource, Defaults, ImageRef, InterfacePlan, VmPlan};
use foundry_core::record::{Record, VolumeRole, is_recorded, split_secrets};
use foundry_core::units::Bytes;
use foundry_host::Domain;

use super::compare::compare;
use super::compare_patch::pending_patches;
use super::field::FieldDiff;
use super::sides::Sides;
use crate::vm::handle::VmHandle;
use crate::vm::seed_content::read_seed;
use crate::{Context, Settings};

/// A VM as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct WantedVm {
    /// Its plan.
    pub(super) plan: VmPlan,
    /// Whether the manifest came from the record, without its secrets.
    pub(super) is_recorded: bool,
    /// The VM's generation that the manifest was made from: a change since then must not be lost.
    pub(super) generation: Option<u64>,
}

impl WantedVm {
    /// A VM as a user's manifest says.
    pub fn of_manifest(plan: VmPlan) -> Self {
        Self { plan, is_recorded: false, generation: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.plan.name.as_str()
    }
}

/// A VM, and where it differs from its manifest.
pub(super) struct ComparedVm {
    pub(super) handle: VmHandle,
    pub(super) recorded: VmPlan,
    /// Whether the guest's architecture is the host's.
    pub(super) native: bool,
    pub(super) fields: Vec<FieldDiff>,
}

/// Compares a VM with what is wanted.
///
/// # Errors
/// If the VM does not exist or is incomplete, or a call to the host fails.
pub(super) fn look(context: &Context, wanted: &WantedVm, domain: Domain) -> Result<ComparedVm, Error> {
    let handle = VmHandle::of_domain(context, domain)?;
    compare_with(context, wanted, handle)
}

/// Compares a VM with the manifest in its record.
///
/// # Errors
/// If that manifest is not valid, or a call to the host fails.
pub(crate) fn compare_recorded(context: &Context, handle: VmHandle) -> Result<Vec<FieldDiff>, Error> {
    let plan = recorded_plan(context, &handle, None)?;
    let wanted = WantedVm { plan, is_recorded: true, generation: None };
    compare_with(context, &wanted, handle).map(|compared| compared.fields)
}

pub(super) fn compare_with(
    context: &Context,
    wanted: &WantedVm,
    handle: VmHandle,
) -> Result<ComparedVm, Error> {
    let own_network = wanted.plan.manifest.spec.cloud_init.as_ref().and_then(|c| c.network_config.clone());
    let recorded = recorded_plan(context, &handle, own_network)?;
    let changed_secrets = match wanted.is_recorded {
        true => Vec::new(),
        false => changed_secrets(context, &wanted.plan.manifest, &handle)?,
    };
    let native = is_native(context, &handle, &[&wanted.plan, &recorded])?;
    let fields = compare(&Sides {
        wanted: &wanted.plan,
        recorded: &recorded,
        next: &handle.next,
        live: handle.live.as_ref(),
        autostart: handle.domain.autostart,
        native,
        volumes: &handle.record.volumes,
        capacities: &disk_capacities(context, &handle.record)?,
        is_same_image: is_same_image(&wanted.plan.boot_disk.source, &recorded.boot_disk.source),
        changed_secrets: &changed_secrets,
        pending_patches: &pending_patches(context, &handle, &recorded)?,
    });
    Ok(ComparedVm { handle, recorded, native, fields })
}

/// The plan of the recorded manifest, into which the defaults of the time were written.
pub(crate) fn recorded_plan(
    context: &Context,
    handle: &VmHandle,
    own_network: Option<String>,
) -> Result<VmPlan, Error> {
    let manifest = manifest_to_plan(&handle.record, own_network);
    VmPlan::from_manifest(&manifest, &recorded_defaults(&context.settings)).map_err(|problems| {
        let what = format!("the manifest in the record of VM '{}' is not valid", handle.name());
        Error::new(Code::RecordUnreadable, what).because(problems.to_string()).unchanged()
    })
}

/// No defaults of today's but the names of the pools, which the manifest may leave out.
pub(crate) fn recorded_defaults(settings: &Settings) -> Defaults {
    Defaults { bridge: None, dns: Vec::new(), ..settings.defaults(None::<PoolName>) }
}

/// The recorded manifest, with something in place of a network-config: without any, an interface would be judged by
/// other rules.
pub(crate) fn manifest_to_plan(record: &Record, own_network: Option<String>) -> VirtualMachine {
    let mut manifest = record.manifest.clone();
    if record.secrets.contains_key(NETWORK_CONFIG) {
        let cloud_init = manifest.spec.cloud_init.get_or_insert_default();
        cloud_init.network_config = own_network.or_else(|| Some("version: 2\n".to_owned()));
    }
    manifest
}

const NETWORK_CONFIG: &str = "spec.cloudInit.networkConfig";

/// The secrets of the manifest that are not the recorded ones. One that the manifest leaves out is kept: `get` leaves
/// them out, too.
fn changed_secrets(
    context: &Context,
    manifest: &VirtualMachine,
    handle: &VmHandle,
) -> Result<Vec<String>, Error> {
    let (_, secrets) = split_secrets(manifest);
    let recorded = &handle.record.secrets;
    if secrets.keys().all(|path| !recorded.contains_key(path)) {
        return Ok(secrets.into_keys().collect());
    }
    if handle.record.is_seed_gone() {
        context.warn(format!(
            "the secrets of VM '{}' cannot be compared: the seed that held them was ejected",
            handle.name()
        ));
        return Ok(secrets.into_keys().filter(|path| !recorded.contains_key(path)).collect());
    }
    let seed = read_seed(context, &handle.record, handle.name())?;
    let salt = cloud_init::read_salt(&seed.meta_data);
    let differs = |path: &String, secret: &String| {
        recorded.get(path).is_none_or(|digest| !is_recorded(secret, digest, salt.as_ref()))
    };
    Ok(secrets.into_iter().filter(|(path, secret)| differs(path, secret)).map(|(path, _)| path).collect())
}

pub(super) fn is_native(context: &Context, handle: &VmHandle, plans: &[&VmPlan]) -> Result<bool, Error> {
    // A manifest without a word means the host's.
    if plans.iter().all(|plan| plan.arch.is_none()) {
        return Ok(true);
    }
    Ok(handle.next.arch.as_deref() == Some(context.host.capabilities()?.arch.as_str()))
}

fn disk_capacities(context: &Context, record: &Record) -> Result<BTreeMap<String, Bytes>, Error> {
    let mut capacities = BTreeMap::new();
    for volume in record.volumes.iter().filter(|v| v.role != VolumeRole::Seed && v.attaching.is_none()) {
        if let (Some(target), Some(found)) = (volume.disk_target(), context.host.volume(&volume.reference())?)
        {
            capacities.insert(target, found.capacity);
        }
    }
    Ok(capacities)
}

/// Whether both mean the same image. The record has the name on the host; a manifest may leave the extension out.
pub(crate) fn is_same_image(wanted: &BootSource, recorded: &BootSource) -> bool {
    let names = |source: &BootSource| match source {
        BootSource::Image(ImageRef::Volume { pool, volume }) => Some((pool.clone(), volume.to_string())),
        BootSource::Image(ImageRef::Path(_)) | BootSource::Empty => None,
    };
    if wanted == recorded {
        return true;
    }
    let Some(((pool, name), (own_pool, own_name))) = names(wanted).zip(names(recorded)) else { return false };
    let extension = own_name.strip_prefix(&name).and_then(|rest| rest.strip_prefix('.'));
    pool == own_pool && extension.is_some_and(|end| ["qcow2", "raw", "img"].contains(&end))
}

/// The manifest to record: what means the same keeps its words.
pub(super) fn manifest_to_record(wanted: &WantedVm, compared: &ComparedVm) -> VirtualMachine {
    let (mut manifest, _) = split_secrets(&wanted.plan.manifest);
    let old = &compared.handle.record.manifest.spec;
    let is_same = is_same_image(&wanted.plan.boot_disk.source, &compared.recorded.boot_disk.source);
    if let (true, Some(new), Some(old)) = (is_same, &mut manifest.spec.boot_disk, &old.boot_disk) {
        new.image.clone_from(&old.image);
        new.image_pool.clone_from(&old.image_pool);
    }
    if manifest.spec.storage_pool.is_none() {
        manifest.spec.storage_pool.clone_from(&old.storage_pool);
    }
    keep_mac_addresses(&mut manifest, &wanted.plan.interfaces, &compared.recorded.interfaces);
    manifest
}

/// Writes the MAC addresses that the VM has into a manifest from which others would follow.
pub(super) fn keep_mac_addresses(
    manifest: &mut VirtualMachine,
    planned: &[InterfacePlan],
    recorded: &[InterfacePlan],
) {
    let interfaces = manifest.spec.network_interfaces.iter_mut();
    for (interface, (planned, recorded)) in interfaces.zip(planned.iter().zip(recorded)) {
        if interface.mac_address.is_none() && planned.mac != recorded.mac {
            interface.mac_address = Some(recorded.mac.to_string());
        }
    }
}
