//! Checks KVM: whether guests can use it, nested virtualization, and device passthrough.

use super::HostCheck;
use super::facts::{HostFacts, Probe};
use super::permission::qemu_user;
use crate::kvm_device::ClosedKvm;
use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Advice, Code, Verb};
use foundry_host::diagnosis::advice::OPEN_KVM;
use foundry_host::local::LocalFacts;
use foundry_host::local::UnixPermissions;

const NAME: &str = "kvm";

pub(super) fn check_kvm(facts: &HostFacts) -> Vec<HostCheck> {
    vec![check_offer(facts), check_probe(facts)]
}

fn check_offer(facts: &HostFacts) -> HostCheck {
    let arch = &facts.capabilities.arch;
    let offered = facts.capabilities.guests.get(arch).is_some_and(|types| types.iter().any(|t| t == "kvm"));
    match (facts.settings.virt_type, offered) {
        (Some(VirtType::Qemu), _) => not_used(facts, offered),
        (_, true) => offered_here(facts),
        (wanted, false) => not_offered(facts, wanted == Some(VirtType::Kvm)),
    }
}

/// If QEMU's user cannot open the device, libvirt is slow even if no VM uses KVM.
fn not_used(facts: &HostFacts, offered: bool) -> HostCheck {
    const WHY: &str = "not used: --virt-type is qemu, which is many times slower";
    let device = facts.local.as_ref().and_then(|local| Some((local, local.kvm_device.as_ref()?)));
    match device.and_then(|(local, device)| closed_device(facts, local, device)).filter(|_| offered) {
        Some(closed) => with_advice(
            &closed,
            HostCheck::warning(NAME, format!("{}; {WHY}", closed.describe_with_effect())),
        ),
        None => HostCheck::warning(NAME, WHY)
            .add_advice(Advice::from(Verb::DoctorProbe { virt_type: Some("kvm") }).text(" tests it")),
    }
}

/// libvirt reports what it found when it started. Whether QEMU's user can open the device is checked here.
fn offered_here(facts: &HostFacts) -> HostCheck {
    let Some(local) = &facts.local else { return HostCheck::ok(NAME, "libvirt offers it") };
    let Some(device) = &local.kvm_device else {
        return HostCheck::problem(NAME, "libvirt offers it, but /dev/kvm is gone")
            .with_code(Code::NoKvm)
            .add_advice("modprobe kvm_intel (or kvm_amd)")
            .add_advice("systemctl restart libvirtd (or virtqemud)");
    };
    if let Some(closed) = closed_device(facts, local, device) {
        return with_advice(
            &closed,
            HostCheck::problem(NAME, closed.describe_with_effect()).with_code(Code::NoKvm),
        );
    }
    if is_pvm_only(local) {
        return HostCheck::warning(
            NAME,
            "libvirt offers it, but through PVM, without hardware support; few guests run on it",
        )
        .add_advice(Advice::from(Verb::DoctorProbe { virt_type: None }).text(" tests whether one runs"))
        .add_advice("if not: --virt-type qemu, or FOUNDRY_VIRT_TYPE=qemu");
    }
    HostCheck::ok(NAME, "libvirt offers it, and guests may open /dev/kvm")
}

/// A device with an access control list is not judged, because the list may permit the user.
fn closed_device(facts: &HostFacts, local: &LocalFacts, device: &UnixPermissions) -> Option<ClosedKvm> {
    ClosedKvm::of(&qemu_user(facts)?, &local.accounts, device)
}

/// Adds the commands that give QEMU's user access.
fn with_advice(closed: &ClosedKvm, check: HostCheck) -> HostCheck {
    closed.commands_to_open().into_iter().fold(check, HostCheck::add_advice)
}

fn is_pvm_only(local: &LocalFacts) -> bool {
    let has = |module: &str| local.kvm_modules.iter().any(|m| m == module);
    has("kvm_pvm") && !has("kvm_intel") && !has("kvm_amd")
}

fn not_offered(facts: &HostFacts, is_wanted: bool) -> HostCheck {
    let consequence =
        if is_wanted { "--virt-type is kvm" } else { "guests are many times slower without it" };
    let found = match &facts.local {
        None => "libvirt does not offer it".to_owned(),
        Some(local) => format!("libvirt does not offer it: {}", why_not(local).0),
    };
    let found = format!("{found}; {consequence}");
    let check = if is_wanted {
        HostCheck::problem(NAME, found).with_code(Code::NoKvm)
    } else {
        HostCheck::warning(NAME, found)
    };
    // libvirt looked while the device was missing and remembers that. QEMU's user could not open it now either.
    let device = facts.local.as_ref().and_then(|local| Some((local, local.kvm_device.as_ref()?)));
    if let Some(closed) = device.and_then(|(local, device)| closed_device(facts, local, device)) {
        let found = format!("libvirt does not offer it: {}; {consequence}", closed.describe_access());
        return with_advice(&closed, HostCheck { found, ..check });
    }
    let todo = facts.local.as_ref().map(|local| why_not(local).1);
    check.add_advice(todo.unwrap_or("ls -l /dev/kvm there; without it, see the machine's firmware settings"))
}

/// Why this machine has no KVM, and what to do about it.
fn why_not(local: &LocalFacts) -> (&'static str, &'static str) {
    match (&local.kvm_device, local.virtualization) {
        (Some(_), _) => (
            "/dev/kvm appeared after libvirt started, or QEMU was built without KVM",
            "systemctl restart libvirtd (or virtqemud); on Fedora also: dnf install qemu-kvm",
        ),
        (None, true) => ("its kernel module is not loaded", "modprobe kvm_intel (or kvm_amd)"),
        (None, false) => (
            "the processor offers no virtualization",
            "enable it in the machine's firmware (VT-x, AMD-V); if this is a VM, enable nesting on its host",
        ),
    }
}

fn check_probe(facts: &HostFacts) -> HostCheck {
    const NAME: &str = "guest";
    let how = |virt_type: &VirtType| match virt_type {
        VirtType::Kvm => "KVM",
        VirtType::Qemu => "emulated",
    };
    match &facts.probe {
        Probe::NotRun => HostCheck::unknown(NAME, "not tested").add_advice(
            Advice::from(Verb::DoctorProbe { virt_type: None })
                .text(" runs a diskless test guest for two seconds"),
        ),
        Probe::Impossible(why) => HostCheck::unknown(NAME, format!("not tested: {why}"))
            .add_advice(Advice::from(Verb::CreateAndWait).text(" tests it, too")),
        Probe::Refused(why) => HostCheck::problem(NAME, format!("the test guest cannot be started: {why}"))
            .add_advice(probe_log_advice(facts))
            .add_advice("--virt-type qemu runs guests without KVM"),
        Probe::Stopped(VirtType::Kvm) => HostCheck::problem(
            NAME,
            "the test guest starts with KVM and crashes at once: KVM does not work here",
        )
        .with_code(Code::NoKvm)
        .add_advice("--virt-type qemu, or FOUNDRY_VIRT_TYPE=qemu, runs guests without KVM"),
        Probe::Stopped(VirtType::Qemu) => {
            HostCheck::problem(NAME, "the test guest starts, and QEMU stops it")
                .add_advice(probe_log_advice(facts))
        }
        Probe::Ran(virt_type) => HostCheck::ok(NAME, format!("test guest ran ({})", how(virt_type))),
    }
}

fn probe_log_advice(facts: &HostFacts) -> &'static str {
    if facts.is_session {
        "see ~/.cache/libvirt/qemu/log/foundry-doctor.log"
    } else {
        "see /var/log/libvirt/qemu/foundry-doctor.log on the host"
    }
}

/// Nested virtualization and device passthrough. Few VMs need them, so their absence is never a problem.
pub(super) fn check_devices(facts: &HostFacts) -> Vec<HostCheck> {
    vec![check_nesting(facts), check_iommu(facts)]
}

fn check_nesting(facts: &HostFacts) -> HostCheck {
    const NAME: &str = "nesting";
    let modules = facts.local.as_ref().map(|local| local.kvm_modules.as_slice()).unwrap_or_default();
    let module = if modules.iter().any(|m| m == "kvm_amd") { "kvm_amd" } else { "kvm_intel" };
    let by_model = facts.guest_machine.as_ref().map(|machine| machine.nested).ok();
    match facts.local.as_ref().and_then(|local| local.nested).or(by_model) {
        Some(true) => HostCheck::ok(NAME, "guests can run guests with KVM"),
        Some(false) => HostCheck::ok(NAME, "guests cannot run guests with KVM")
            .add_advice(format!("to enable it: echo 'options {module} nested=1' | sudo tee /etc/modprobe.d/foundry-nested-kvm.conf, for the next boot")),
        None => HostCheck::unknown(NAME, "reported neither by the kernel nor by libvirt"),
    }
}

fn check_iommu(facts: &HostFacts) -> HostCheck {
    const NAME: &str = "iommu";
    match facts.machine.as_ref().map(|machine| machine.iommu) {
        Ok(Some(true)) => HostCheck::ok(NAME, "host devices can be passed to guests"),
        Ok(Some(false)) => HostCheck::ok(
            NAME,
            "host devices cannot be passed to guests (foundry does not do that)",
        )
        .add_advice(
            "to enable it: intel_iommu=on on the kernel command line, and VT-d or AMD-Vi in the firmware",
        ),
        Ok(None) => HostCheck::unknown(NAME, "libvirt does not report it"),
        Err(why) => HostCheck::unknown(NAME, why.clone()),
    }
}

/// The checks that need no libvirt.
pub(super) fn check_without_libvirt(local: &LocalFacts) -> Vec<HostCheck> {
    vec![match &local.kvm_device {
        Some(device) if device.is_only_roots() => HostCheck::warning(
            NAME,
            "/dev/kvm exists, but only root may open it, and guests run as another user",
        )
        .add_advice(OPEN_KVM),
        Some(_) => HostCheck::ok(NAME, "/dev/kvm exists"),
        None => HostCheck::warning(NAME, format!("there is no /dev/kvm: {}", why_not(local).0))
            .add_advice(why_not(local).1),
    }]
}
