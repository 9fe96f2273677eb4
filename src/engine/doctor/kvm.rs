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

/// A device that is closed to QEMU's user makes libvirt slow also where nobody wants KVM.
fn not_used(facts: &HostFacts, offered: bool) -> HostCheck {
    const WHY: &str = "not used: --virt-type says qemu, whose guests are many times slower";
    let device = facts.local.as_ref().and_then(|local| Some((local, local.kvm_device.as_ref()?)));
    match device.and_then(|(local, device)| closed_device(facts, local, device)).filter(|_| offered) {
        Some(closed) => with_advice(
            &closed,
            HostCheck::warning(NAME, format!("{}; {WHY}", closed.describe_with_effect())),
        ),
        None => HostCheck::warning(NAME, WHY)
            .add_advice(Advice::from(Verb::DoctorProbe { virt_type: Some("kvm") }).text(" tries it")),
    }
}

/// libvirt offers what it found when it started; whether QEMU's user gets to the device is another matter.
fn offered_here(facts: &HostFacts) -> HostCheck {
    let Some(local) = &facts.local else { return HostCheck::ok(NAME, "libvirt offers it") };
    let Some(device) = &local.kvm_device else {
        return HostCheck::problem(NAME, "libvirt offers it, and there is no /dev/kvm any more")
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
            "libvirt offers it; it is PVM, which has no hardware and few guests run on it",
        )
        .add_advice(Advice::from(Verb::DoctorProbe { virt_type: None }).text(" shows whether one does"))
        .add_advice("if not: --virt-type qemu, or FOUNDRY_VIRT_TYPE=qemu");
    }
    HostCheck::ok(NAME, "libvirt offers it, and guests may open /dev/kvm")
}

/// An access list may let it in: of a device that has one, nothing is said.
fn closed_device(facts: &HostFacts, local: &LocalFacts, device: &UnixPermissions) -> Option<ClosedKvm> {
    ClosedKvm::of(&qemu_user(facts)?, &local.accounts, device)
}

/// What of it is wrong, and what opens it.
fn with_advice(closed: &ClosedKvm, check: HostCheck) -> HostCheck {
    closed.commands_to_open().into_iter().fold(check, HostCheck::add_advice)
}

fn is_pvm_only(local: &LocalFacts) -> bool {
    let has = |module: &str| local.kvm_modules.iter().any(|m| m == module);
    has("kvm_pvm") && !has("kvm_intel") && !has("kvm_amd")
}

fn not_offered(facts: &HostFacts, is_wanted: bool) -> HostCheck {
    let consequence = if is_wanted { "--virt-type says kvm" } else { "guests are many times slower without" };
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
    // Found out while there was no device, and kept since: QEMU's user would not get to it either.
    let device = facts.local.as_ref().and_then(|local| Some((local, local.kvm_device.as_ref()?)));
    if let Some(closed) = device.and_then(|(local, device)| closed_device(facts, local, device)) {
        let found = format!("libvirt does not offer it: {}; {consequence}", closed.describe_access());
        return with_advice(&closed, HostCheck { found, ..check });
    }
    let todo = facts.local.as_ref().map(|local| why_not(local).1);
    check.add_advice(todo.unwrap_or("ls -l /dev/kvm there; without it, see the machine's firmware settings"))
}

/// What stands in its way on this machine, and what to do.
fn why_not(local: &LocalFacts) -> (&'static str, &'static str) {
    match (&local.kvm_device, local.virtualization) {
        (Some(_), _) => (
            "there is /dev/kvm, which was not there when libvirt started, or QEMU has no KVM",
            "systemctl restart libvirtd (or virtqemud); on Fedora also: dnf install qemu-kvm",
        ),
        (None, true) => ("its module is not loaded", "modprobe kvm_intel (or kvm_amd)"),
        (None, false) => (
            "the processor offers no virtualization",
            "turn it on in the machine's firmware (VT-x, AMD-V); if this is a VM, have its host allow nesting",
        ),
    }
}

fn check_probe(facts: &HostFacts) -> HostCheck {
    const NAME: &str = "guest";
    let how = |virt_type: &VirtType| match virt_type {
        VirtType::Kvm => "KVM",
        VirtType::Qemu => "QEMU's translator",
    };
    match &facts.probe {
        Probe::NotRun => {
            HostCheck::unknown(NAME, "not tried: that one really runs shows only when it is started")
                .add_advice(
                    Advice::from(Verb::DoctorProbe { virt_type: None })
                        .text(" starts one without disks for two seconds"),
                )
        }
        Probe::Impossible(why) => HostCheck::unknown(NAME, format!("not tried: {why}"))
            .add_advice(Advice::from(Verb::CreateAndWait).text(" shows it, too")),
        Probe::Refused(why) => HostCheck::problem(NAME, format!("none can be started: {why}"))
            .add_advice(probe_log_advice(facts))
            .add_advice("--virt-type qemu does without KVM"),
        Probe::Stopped(VirtType::Kvm) => HostCheck::problem(
            NAME,
            "one starts with KVM, and dies at its first instructions: KVM does not work here",
        )
        .with_code(Code::NoKvm)
        .add_advice("--virt-type qemu, or FOUNDRY_VIRT_TYPE=qemu, does without KVM"),
        Probe::Stopped(VirtType::Qemu) => {
            HostCheck::problem(NAME, "one starts, and QEMU stops it").add_advice(probe_log_advice(facts))
        }
        Probe::Ran(virt_type) => HostCheck::ok(NAME, format!("one runs by {}", how(virt_type))),
    }
}

fn probe_log_advice(facts: &HostFacts) -> &'static str {
    if facts.is_session {
        "see ~/.cache/libvirt/qemu/log/foundry-doctor.log"
    } else {
        "see /var/log/libvirt/qemu/foundry-doctor.log on the host"
    }
}

/// What few need, and who needs it looks for in vain: nothing of it is a fault.
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
            .add_advice(format!("if they shall: echo 'options {module} nested=1' | sudo tee /etc/modprobe.d/foundry-nested-kvm.conf, for the next boot")),
        None => HostCheck::unknown(NAME, "neither the kernel nor libvirt says"),
    }
}

fn check_iommu(facts: &HostFacts) -> HostCheck {
    const NAME: &str = "iommu";
    match facts.machine.as_ref().map(|machine| machine.iommu) {
        Ok(Some(true)) => HostCheck::ok(NAME, "devices of the host can be given to guests"),
        Ok(Some(false)) => HostCheck::ok(
            NAME,
            "devices of the host cannot be given to guests, which foundry does not do",
        )
        .add_advice(
            "if they shall: intel_iommu=on on the kernel's command line, and VT-d or AMD-Vi in the firmware",
        ),
        Ok(None) => HostCheck::unknown(NAME, "libvirt does not say"),
        Err(why) => HostCheck::unknown(NAME, why.clone()),
    }
}

/// What can be said before libvirt answers.
pub(super) fn check_without_libvirt(local: &LocalFacts) -> Vec<HostCheck> {
    vec![match &local.kvm_device {
        Some(device) if device.is_only_roots() => HostCheck::warning(
            NAME,
            "there is /dev/kvm, which nobody but root may open: guests run as another user",
        )
        .add_advice(OPEN_KVM),
        Some(_) => HostCheck::ok(NAME, "there is /dev/kvm"),
        None => HostCheck::warning(NAME, format!("there is no /dev/kvm: {}", why_not(local).0))
            .add_advice(why_not(local).1),
    }]
}
