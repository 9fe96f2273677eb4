//! The manifest of the VM that a runner gets.

use foundry_core::error::{Code, Error};
use foundry_core::manifest::{
    API_VERSION, BootDisk, CloudInit, Firmware, KIND, Metadata, NetworkInterface, Spec, VirtualMachine,
    XmlPatch,
};
use foundry_core::text::escape_unseen;

use crate::bootstrap::BootstrapInstance;
use crate::config::ProviderConfig;
use crate::extra_specs::ExtraSpecs;
use crate::owner::InstanceOwner;
use crate::user_data::write_user_data;

/// The network that libvirt defines when it is installed.
const DEFAULT_NETWORK: &str = "default";

/// Makes the manifest of a runner's VM. It does not start with the host: its job would be lost by then.
///
/// # Errors
/// [`foundry_core::error::Kind::Configuration`] and [`foundry_core::error::Kind::Validation`] for what GARM, the pool or
/// the configuration says wrongly. What a manifest may say is judged when it is planned.
pub fn runner_manifest(
    asked: &BootstrapInstance,
    config: &ProviderConfig,
    owner: InstanceOwner<'_>,
) -> Result<VirtualMachine, Error> {
    let arch = guest_arch(asked)?;
    let specs = ExtraSpecs::from_json(&asked.extra_specs)?.or_defaults(&config.defaults);
    let metadata = Metadata {
        name: Some(asked.name.clone()),
        labels: config.labels.clone().into_iter().chain(owner.labels_of(&asked.name)).collect(),
        ..Metadata::default()
    };
    let flavor = config.find_flavor(&asked.flavor)?;
    let network = specs.network.clone().or_else(|| {
        // Without either, a manifest would take the bridge of foundry's settings, which GARM's users do not see.
        specs.bridge.is_none().then(|| DEFAULT_NETWORK.to_owned())
    });
    let spec = Spec {
        vcpus: Some(specs.vcpus.unwrap_or(flavor.vcpus)),
        memory_gib: Some(specs.memory_gib.unwrap_or(flavor.memory_gib)),
        boot_disk: Some(BootDisk {
            size_gib: Some(specs.boot_disk_gib.unwrap_or(flavor.boot_disk_gib)),
            image: Some(config.find_image(&asked.image)?),
            ..BootDisk::default()
        }),
        network_interfaces: vec![NetworkInterface {
            network,
            bridge: specs.bridge.clone(),
            vlan: specs.vlan,
            ..NetworkInterface::default()
        }],
        cloud_init: Some(CloudInit {
            ssh_authorized_keys: config.ssh_keys.clone(),
            user_data: Some(write_user_data(asked, &specs)?),
            ..CloudInit::default()
        }),
        arch,
        cpu_mode: specs.cpu_mode.clone(),
        autostart: Some(false),
        storage_pool: specs.storage_pool.clone(),
        firmware: specs.firmware.clone().map(|kind| Firmware { kind: Some(kind), ..Firmware::default() }),
        xml_patch: if specs.isolated == Some(true) { vec![isolate_port()] } else { Vec::new() },
        ..Spec::default()
    };
    Ok(VirtualMachine {
        api_version: API_VERSION.into(),
        kind: KIND.into(),
        metadata,
        spec,
        ..VirtualMachine::default()
    })
}

/// The change that isolates the VM's port: the bridge passes nothing between two such ports (libvirt's page "Domain XML
/// format", "Isolating guests's network traffic from each other").
fn isolate_port() -> XmlPatch {
    XmlPatch {
        xpath: Some("/domain/devices/interface".into()),
        add: Some("<port isolated='yes'/>".into()),
        ..XmlPatch::default()
    }
}

/// The guest's architecture in libvirt's words; `None` is the host's.
fn guest_arch(asked: &BootstrapInstance) -> Result<Option<String>, Error> {
    let refused = |what: String| Error::new(Code::WordUnknown, what).unchanged();
    if !["linux", ""].contains(&asked.os_type.as_str()) {
        let what = format!("os_type '{}' is not possible", escape_unseen(&asked.os_type));
        return Err(refused(what).because("foundry makes runners with linux"));
    }
    match asked.arch.as_str() {
        "amd64" => Ok(Some("x86_64".into())),
        "arm64" => Ok(Some("aarch64".into())),
        "" => Ok(None),
        other => Err(refused(format!("os_arch '{}' is not possible", escape_unseen(other)))
            .because("foundry makes VMs of amd64 and arm64")),
    }
}

/// Checks what a pool says, as far as GARM passes it on before the pool has an instance.
///
/// # Errors
/// As [`runner_manifest`].
pub fn check_pool(specs: ExtraSpecs, config: &ProviderConfig) -> Result<(), Error> {
    let specs = specs.or_defaults(&config.defaults);
    specs.install_script()?;
    specs.pre_install_scripts()?;
    Ok(())
}
