//! Turns a manifest into a plan.

use super::judge::{Judge, Judged};
use super::{
    Defaults, Problems, SeedPlan, VmPlan, cloud_init, disks, metadata, network, resources, warm, xml_patch,
};
use crate::manifest::{API_VERSION, CloudInit, KIND, Metadata, Spec, VirtualMachine, escape_unseen, shorten};
use crate::names::{PoolName, VmName};

impl VmPlan {
    /// Validates a manifest and makes a plan from it. `apiVersion` and `kind` are not checked, because reading has
    /// checked them.
    ///
    /// # Errors
    /// All problems of the manifest at once, in the order of its fields.
    pub fn from_manifest(manifest: &VirtualMachine, defaults: &Defaults) -> Result<Self, Problems> {
        let mut judge = Judge::default();
        let manifest = &apply_defaults(manifest, defaults);
        let plan = judge_manifest(&mut judge, manifest, defaults);
        let name = manifest.metadata.name.as_deref().map(|name| escape_unseen(&shorten(name.trim())));
        judge.into_result(plan, name.unwrap_or_else(|| "a VM without a name".to_owned()))
    }
}

/// Adds this user's defaults to the manifest. The stored manifest must not mean something else to another user.
fn apply_defaults(manifest: &VirtualMachine, defaults: &Defaults) -> VirtualMachine {
    let mut manifest = manifest.clone();
    let has_own_network = has_own_network(manifest.spec.cloud_init.as_ref());
    let interfaces = &mut manifest.spec.network_interfaces;
    let names_servers = interfaces.iter().any(|interface| !interface.dns_servers.is_empty());
    for interface in interfaces {
        if interface.bridge.is_none() && interface.network.is_none() {
            interface.bridge = defaults.bridge.as_ref().map(ToString::to_string);
        }
        // A network-config of the user's own contains its name servers.
        if interface.gateway.is_some() && !names_servers && !has_own_network {
            interface.dns_servers = defaults.dns.iter().map(ToString::to_string).collect();
        }
    }
    manifest
}

/// Judges every part before any result is used, so that no problem hides another.
fn judge_manifest(judge: &mut Judge, manifest: &VirtualMachine, defaults: &Defaults) -> Judged<VmPlan> {
    let VirtualMachine { api_version: _, kind: _, metadata, spec, status: _ } = manifest;
    let Spec {
        vcpus,
        memory_gib,
        resources,
        boot_disk,
        data_disks,
        network_interfaces,
        cloud_init,
        cpu_mode,
        autostart,
        storage_pool,
        firmware,
        arch,
        graphics,
        xml_patch,
    } = spec;
    let name = metadata::judge_name(judge, metadata.name.as_deref());
    let vm = name.as_ref().map_err(|rejected| *rejected);
    let labels = metadata::judge_labels(judge, metadata);
    let vcpus = resources::judge_vcpus(judge, *vcpus);
    let memory = resources::judge_memory(judge, *memory_gib);
    let (max_vcpus, max_memory) = resources::judge_room(judge, resources.as_ref(), vcpus, memory);
    let boot_disk = disks::judge_boot_disk(judge, boot_disk.as_ref(), vm, defaults);
    let data_disks = disks::judge_data_disks(judge, data_disks, vm);
    let interfaces =
        network::judge_interfaces(judge, network_interfaces, vm, has_own_network(cloud_init.as_ref()));
    let seed = cloud_init::judge_cloud_init(judge, cloud_init.as_ref(), vm);
    let cpu_mode = resources::judge_cpu_mode(judge, cpu_mode.as_deref());
    let pool = judge_pool(judge, storage_pool.as_deref(), defaults);
    let (firmware, arch) = resources::judge_platform(judge, firmware.as_ref(), arch.as_deref());
    let graphics = resources::judge_graphics(judge, graphics.as_ref());
    let xml_patch = xml_patch::judge_xml_patch(judge, xml_patch);
    let warm = warm::judge_warm(judge, manifest, vm, seed.as_ref().ok().and_then(Option::as_ref));
    let manifest = normalize_manifest(manifest, vm?, defaults, seed.as_ref().ok().and_then(Option::as_ref));
    Ok(VmPlan {
        name: name?,
        labels: labels?,
        vcpus: vcpus?,
        memory: memory?,
        max_vcpus: max_vcpus?,
        max_memory: max_memory?,
        cpu_mode: cpu_mode?,
        firmware: firmware?,
        arch: arch?,
        autostart: autostart.unwrap_or(true),
        pool: pool?,
        boot_disk: boot_disk?,
        data_disks: data_disks?,
        interfaces: interfaces?,
        seed: if warm.as_ref().is_ok_and(Option::is_some) { None } else { seed? },
        warm: warm?,
        graphics: graphics?,
        xml_patch: xml_patch?,
        manifest,
    })
}

/// Whether the user's own network-config replaces the generated one.
fn has_own_network(cloud_init: Option<&CloudInit>) -> bool {
    cloud_init.is_some_and(|cloud_init| cloud_init.network_config.is_some())
}

/// Determines the pool of the VM's disks. The manifest's pool is checked even if it is overridden.
fn judge_pool(judge: &mut Judge, name: Option<&str>, defaults: &Defaults) -> Judged<PoolName> {
    let written = name.map(|name| judge.parse_name("spec.storagePool", name)).transpose()?;
    Ok(defaults.pool_override.clone().or(written).unwrap_or_else(|| defaults.vm_pool.clone()))
}

/// Returns the manifest as it is stored and shown: names in lower case, the network-config as in the seed, the
/// requested pool, and without fields that only foundry writes.
fn normalize_manifest(
    manifest: &VirtualMachine,
    name: &VmName,
    defaults: &Defaults,
    seed: Option<&SeedPlan>,
) -> VirtualMachine {
    let VirtualMachine { api_version: _, kind: _, metadata, mut spec, status: _ } = manifest.clone();
    let Metadata { name: _, labels, annotations, uid: _, generation: _, creation_timestamp: _ } = metadata;
    if let Some(fqdn) = spec.cloud_init.as_mut().and_then(|c| c.fqdn.as_mut()) {
        *fqdn = cloud_init::normalize_fqdn(fqdn);
    }
    if let Some(cloud_init) = &mut spec.cloud_init {
        // Use the text that is in the seed, because its digest is compared with the seed later.
        cloud_init.network_config = seed.and_then(|seed| seed.network_config.clone());
    }
    if let Some(pool) = &defaults.pool_override {
        spec.storage_pool = Some(pool.to_string());
    }
    VirtualMachine {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        metadata: Metadata { name: Some(name.to_string()), labels, annotations, ..Metadata::default() },
        spec,
        status: None,
    }
}
