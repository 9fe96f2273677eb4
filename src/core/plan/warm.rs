//! A VM that starts from a warm image: what its manifest may say, and what must be as in the image's own manifest.
//!
//! The guest comes up with the memory that was saved, so it cannot be told by cloud-init who it is. Foundry tells it by
//! the guest agent, and only what that can do is allowed in the manifest.

use super::judge::{Judge, Judged};
use super::{BootSource, SeedPlan, VmPlan};
use crate::error::Code;
use crate::manifest::VirtualMachine;
use crate::names::VmName;

/// What the guest of a warm start becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmPlan {
    /// Host name.
    pub hostname: String,
    /// Fully qualified domain name.
    pub fqdn: Option<String>,
    /// Public keys that may log in as root, in place of those of the image.
    pub ssh_keys: Vec<String>,
}

/// Judges the rest of a manifest with `spec.bootDisk.warm`.
pub(super) fn judge_warm(
    judge: &mut Judge,
    manifest: &VirtualMachine,
    vm: Judged<&VmName>,
    seed: Option<&SeedPlan>,
) -> Judged<Option<WarmPlan>> {
    let Some(warm) = manifest.spec.boot_disk.as_ref().and_then(|disk| disk.warm.as_ref()) else {
        return Ok(None);
    };
    let mut outcome = Ok(());
    for (path, why) in fields_without_meaning(manifest) {
        outcome = Err(judge.reject_unshown(
            Code::Contradiction,
            path,
            format!("has no meaning with spec.bootDisk.warm ({}): {why}", crate::manifest::shorten(warm)),
        ));
    }
    outcome?;
    let vm = vm?;
    Ok(Some(match seed {
        Some(seed) => WarmPlan {
            hostname: seed.hostname.clone(),
            fqdn: seed.fqdn.clone(),
            ssh_keys: seed.ssh_keys.clone(),
        },
        None => WarmPlan { hostname: vm.to_host_name(), fqdn: None, ssh_keys: Vec::new() },
    }))
}

/// The fields of a manifest that a warm start cannot honour, with the reason.
fn fields_without_meaning(manifest: &VirtualMachine) -> Vec<(String, &'static str)> {
    const SEED: &str = "the guest has booted, and reads no cloud-init data";
    let spec = &manifest.spec;
    let mut found = fields_beyond_warm(manifest);
    if let Some(cloud_init) = &spec.cloud_init {
        let given = [
            ("passwordHash", cloud_init.password_hash.is_some()),
            ("sshPwauth", cloud_init.ssh_pwauth.is_some()),
            ("sshPasswordAuth", cloud_init.ssh_password_auth.is_some()),
            ("rawUserData", cloud_init.raw_user_data.is_some()),
            ("userData", cloud_init.user_data.is_some()),
            ("networkConfig", cloud_init.network_config.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        found.extend(given.map(|(field, _)| (format!("spec.cloudInit.{field}"), SEED)));
    }
    found
}

/// The fields that neither a warm image nor a VM from one can have.
fn fields_beyond_warm(manifest: &VirtualMachine) -> Vec<(String, &'static str)> {
    const DHCP: &str = "the guest was booted before it had this interface, and asks DHCP for everything";
    const DEVICE: &str = "saved memory has no other devices than those it was saved with";
    let spec = &manifest.spec;
    let mut found = Vec::new();
    for (index, nic) in spec.network_interfaces.iter().enumerate() {
        let given = [
            ("ip", nic.ip.is_some()),
            ("addresses", !nic.addresses.is_empty()),
            ("gateway", nic.gateway.is_some()),
            ("gateway6", nic.gateway6.is_some()),
            ("onLink", nic.on_link.is_some()),
            ("dnsServers", !nic.dns_servers.is_empty()),
            ("searchDomains", !nic.search_domains.is_empty()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        found.extend(given.map(|(field, _)| (format!("spec.networkInterfaces[{index}].{field}"), DHCP)));
    }
    let devices = [
        ("spec.dataDisks", !spec.data_disks.is_empty()),
        ("spec.graphics", spec.graphics.is_some()),
        ("spec.xmlPatch", !spec.xml_patch.is_empty()),
    ];
    found
        .extend(devices.into_iter().filter(|(_, is_given)| *is_given).map(|(path, _)| (path.into(), DEVICE)));
    found
}

/// Returns the field of a plan that no warm image can be made with, and why; `None` if it can.
pub fn find_warm_conflict(plan: &VmPlan) -> Option<(String, &'static str)> {
    let found = fields_beyond_warm(&plan.manifest).into_iter().next();
    found.or_else(|| {
        let why = match (&plan.boot_disk.source, &plan.warm, plan.boot_disk.format) {
            (_, Some(_), _) => "it is itself a VM from a warm image",
            (BootSource::Empty, ..) => "an empty disk has nothing that boots",
            (_, _, super::DiskFormat::Raw) => "a warm image has the format qcow2",
            (BootSource::Image(_), None, super::DiskFormat::Qcow2) => return None,
        };
        Some(("spec.bootDisk".to_owned(), why))
    })
}

impl VmPlan {
    /// Returns the fields in which a VM from a warm image differs from the manifest of that image, each with both
    /// values: the saved memory fits no other machine.
    pub fn differences_from_warm(&self, image: &Self) -> Vec<(&'static str, String, String)> {
        let pairs = [
            ("spec.vcpus", self.vcpus.to_string(), image.vcpus.to_string()),
            ("spec.memoryGiB", self.memory.to_string(), image.memory.to_string()),
            ("spec.resources.maxVcpus", self.max_vcpus.to_string(), image.max_vcpus.to_string()),
            ("spec.resources.maxMemoryGiB", self.max_memory.to_string(), image.max_memory.to_string()),
            ("spec.cpuMode", format!("{:?}", self.cpu_mode), format!("{:?}", image.cpu_mode)),
            ("spec.firmware", describe_firmware(self), describe_firmware(image)),
            ("spec.bootDisk.sizeGiB", self.boot_disk.size.to_string(), image.boot_disk.size.to_string()),
        ];
        pairs.into_iter().filter(|(_, own, images)| own != images).collect()
    }
}

fn describe_firmware(plan: &VmPlan) -> String {
    match plan.firmware {
        super::FirmwarePlan::Bios => "bios".into(),
        super::FirmwarePlan::Efi { secure_boot: true } => "efi with Secure Boot".into(),
        super::FirmwarePlan::Efi { secure_boot: false } => "efi".into(),
    }
}
