//! Checks KVM: whether guests can use it, nested virtualization, and device passthrough.

use super::Check;
use super::facts::{Facts, Trial};
use super::local::Local;
use super::permission::qemu_user;
use crate::kvm_device::ClosedKvm;
use crate::rights::Rights;
use foundry_core::domain_xml::VirtType;
use foundry_core::error::{Advice, Code, Verb};
use foundry_host::diagnosis::advice::OPEN_KVM;

const NAME: &str = "kvm";

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    vec![offer(facts), trial(facts)]
}

fn offer(facts: &Facts) -> Check {
    let arch = &facts.capabilities.arch;
    let offered = facts.capabilities.guests.get(arch).is_some_and(|types| types.iter().any(|t| t == "kvm"));
    match (facts.settings.virt_type, offered) {
        (Some(VirtType::Qemu), _) => not_used(facts, offered),
        (_, true) => offered_here(facts),
        (wanted, false) => not_offered(facts, wanted == Some(VirtType::Kvm)),
    }
}

/// A device that is closed to QEMU's user makes libvirt slow also where nobody wants KVM.
fn not_used(facts: &Facts, offered: bool) -> Check {
    const WHY: &str = "not used: --virt-type says qemu, whose guests are many times slower";
    let device = facts.local.as_ref().and_then(|local| Some((local, local.kvm_device.as_ref()?)));
    match device.and_then(|(local, device)| closed(facts, local, device)).filter(|_| offered) {
        Some(closed) => told(&closed, Check::warning(NAME, format!("{}; {WHY}", closed.found()))),
        None => Check::warning(NAME, WHY)
            .todo(Advice::from(Verb::DoctorProbe { virt_type: Some("kvm") }).text(" tries it")),
    }
}

/// libvirt offers what it found when it started; whether QEMU's user gets to the device is another matter.
fn offered_here(facts: &Facts) -> Check {
    let Some(local) = &facts.local else { return Check::ok(NAME, "libvirt offers it") };
    let Some(device) = &local.kvm_device else {
        return Check::problem(NAME, "libvirt offers it, and there is no /dev/kvm any more")
            .known_as(Code::NoKvm)
            .todo("modprobe kvm_intel (or kvm_amd)")
            .todo("systemctl restart libvirtd (or virtqemud)");
    };
    if let Some(closed) = closed(facts, local, device) {
        return told(&closed, Check::problem(NAME, closed.found()).known_as(Code::NoKvm));
    }
    if is_pvm_only(local) {
        return Check::warning(
            NAME,
            "libvirt offers it; it is PVM, which has no hardware and few guests run on it",
        )
        .todo(Advice::from(Verb::DoctorProbe { virt_type: None }).text(" shows whether one does"))
        .todo("if not: --virt-type qemu, or FOUNDRY_VIRT_TYPE=qemu");
    }
    Check::ok(NAME, "libvirt offers it, and guests may open /dev/kvm")
}

/// An access list may let it in: of a device that has one, nothing is said.
fn closed(facts: &Facts, local: &Local, device: &Rights) -> Option<ClosedKvm> {
    ClosedKvm::of(&qemu_user(facts)?, &local.accounts, device)
}

/// What of it is wrong, and what opens it.
fn told(closed: &ClosedKvm, check: Check) -> Check {
    closed.todo().into_iter().fold(check, Check::todo)
}

fn is_pvm_only(local: &Local) -> bool {
    let has = |module: &str| local.kvm_modules.iter().any(|m| m == module);
    has("kvm_pvm") && !has("kvm_intel") && !has("kvm_amd")
}

fn not_offered(facts: &Facts, is_wanted: bool) -> Check {
    let consequence = if is_wanted { "--virt-type says kvm" } else { "guests are many times slower without" };
    let found = match &facts.local {
        None => "libvirt does not offer it".to_owned(),
        Some(local) => format!("libvirt does not offer it: {}", why_not(local).0),
    };
    let found = format!("{found}; {consequence}");
    let check = if is_wanted {
        Check::problem(NAME, found).known_as(Code::NoKvm)
    } else {
        Check::warning(NAME, found)
    };
    // Found out while there was no device, and kept since: QEMU's user would not get to it either.
    let device = facts.local.as_ref().and_then(|local| Some((local, local.kvm_device.as_ref()?)));
    if let Some(closed) = device.and_then(|(local, device)| closed(facts, local, device)) {
        let found = format!("libvirt does not offer it: {}; {consequence}", closed.sentence());
        return told(&closed, Check { found, ..check });
    }
    let todo = facts.local.as_ref().map(|local| why_not(local).1);
    check.todo(todo.unwrap_or("ls -l /dev/kvm there; without it, see the machine's firmware settings"))
}

/// What stands in its way on this machine, and what to do.
fn why_not(local: &Local) -> (&'static str, &'static str) {
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

fn trial(facts: &Facts) -> Check {
    const NAME: &str = "guest";
    let how = |virt_type: &VirtType| match virt_type {
        VirtType::Kvm => "KVM",
        VirtType::Qemu => "QEMU's translator",
    };
    match &facts.trial {
        Trial::NotTried => {
            Check::unknown(NAME, "not tried: that one really runs shows only when it is started").todo(
                Advice::from(Verb::DoctorProbe { virt_type: None })
                    .text(" starts one without disks for two seconds"),
            )
        }
        Trial::Impossible(why) => Check::unknown(NAME, format!("not tried: {why}"))
            .todo(Advice::from(Verb::CreateAndWait).text(" shows it, too")),
        Trial::Refused(why) => Check::problem(NAME, format!("none can be started: {why}"))
            .todo(log_of_trial(facts))
            .todo("--virt-type qemu does without KVM"),
        Trial::Stopped(VirtType::Kvm) => Check::problem(
            NAME,
            "one starts with KVM, and dies at its first instructions: KVM does not work here",
        )
        .known_as(Code::NoKvm)
        .todo("--virt-type qemu, or FOUNDRY_VIRT_TYPE=qemu, does without KVM"),
        Trial::Stopped(VirtType::Qemu) => {
            Check::problem(NAME, "one starts, and QEMU stops it").todo(log_of_trial(facts))
        }
        Trial::Ran(virt_type) => Check::ok(NAME, format!("one runs by {}", how(virt_type))),
    }
}

fn log_of_trial(facts: &Facts) -> &'static str {
    if facts.is_session {
        "see ~/.cache/libvirt/qemu/log/foundry-doctor.log"
    } else {
        "see /var/log/libvirt/qemu/foundry-doctor.log on the host"
    }
}

/// What few need, and who needs it looks for in vain: nothing of it is a fault.
pub(super) fn devices(facts: &Facts) -> Vec<Check> {
    vec![nested(facts), iommu(facts)]
}

fn nested(facts: &Facts) -> Check {
    const NAME: &str = "nesting";
    let modules = facts.local.as_ref().map(|local| local.kvm_modules.as_slice()).unwrap_or_default();
    let module = if modules.iter().any(|m| m == "kvm_amd") { "kvm_amd" } else { "kvm_intel" };
    let by_model = facts.guest_machine.as_ref().map(|machine| machine.nested).ok();
    match facts.local.as_ref().and_then(|local| local.nested).or(by_model) {
        Some(true) => Check::ok(NAME, "guests can run guests with KVM"),
        Some(false) => Check::ok(NAME, "guests cannot run guests with KVM")
            .todo(format!("if they shall: echo 'options {module} nested=1' | sudo tee /etc/modprobe.d/foundry-nested-kvm.conf, for the next boot")),
        None => Check::unknown(NAME, "neither the kernel nor libvirt says"),
    }
}

fn iommu(facts: &Facts) -> Check {
    const NAME: &str = "iommu";
    match facts.machine.as_ref().map(|machine| machine.iommu) {
        Ok(Some(true)) => Check::ok(NAME, "devices of the host can be given to guests"),
        Ok(Some(false)) => Check::ok(
            NAME,
            "devices of the host cannot be given to guests, which foundry does not do",
        )
        .todo(
            "if they shall: intel_iommu=on on the kernel's command line, and VT-d or AMD-Vi in the firmware",
        ),
        Ok(None) => Check::unknown(NAME, "libvirt does not say"),
        Err(why) => Check::unknown(NAME, why.clone()),
    }
}

/// What can be said before libvirt answers.
pub(super) fn without_libvirt(local: &Local) -> Vec<Check> {
    vec![match &local.kvm_device {
        Some(device) if device.is_only_roots() => Check::warning(
            NAME,
            "there is /dev/kvm, which nobody but root may open: guests run as another user",
        )
        .todo(OPEN_KVM),
        Some(_) => Check::ok(NAME, "there is /dev/kvm"),
        None => {
            Check::warning(NAME, format!("there is no /dev/kvm: {}", why_not(local).0)).todo(why_not(local).1)
        }
    }]
}
