//! Checks machine types and firmware.

use super::HostCheck;
use super::facts::{HostFacts, arch_of};
use foundry_core::error::Code;
use foundry_core::plan::Arch;
use foundry_host::GuestMachine;

pub(super) fn check_firmware(facts: &HostFacts) -> Vec<HostCheck> {
    match &facts.guest_machine {
        Ok(machine) => vec![
            HostCheck::ok("machine-type", format!("{} for {}", machine.name, facts.capabilities.arch)),
            check_uefi(machine),
            check_secure_boot(facts, machine),
        ],
        Err(why) => {
            vec![HostCheck::problem("machine-type", why.clone()).with_code(Code::QemuMissing).add_advice(
                match arch_of(&facts.capabilities) {
                    Some(Arch::X86_64) => {
                        "apt install qemu-system-x86 (Fedora: dnf install qemu-kvm), then restart libvirtd"
                    }
                    Some(Arch::Aarch64) => {
                        "apt install qemu-system-arm (Fedora: dnf install qemu-kvm), then restart libvirtd"
                    }
                    None => {
                        "use another host (--connect), or set spec.arch to an architecture that this host emulates"
                    }
                },
            )]
        }
    }
}

/// VMs boot with UEFI unless their manifest says otherwise.
fn check_uefi(machine: &GuestMachine) -> HostCheck {
    const NAME: &str = "firmware";
    if machine.firmware.iter().any(|kind| kind == "efi") {
        return HostCheck::ok(NAME, "UEFI");
    }
    HostCheck::problem(NAME, "no UEFI firmware; VMs need it unless spec.firmware.type is bios").with_code(Code::FirmwareMissing).add_advice(
        "apt install ovmf (aarch64: qemu-efi-aarch64; Fedora: dnf install edk2-ovmf), then restart libvirtd",
    )
}

/// libvirt reports it from 12.1 on; for an older one, the firmware descriptors on this machine are read.
fn check_secure_boot(facts: &HostFacts, machine: &GuestMachine) -> HostCheck {
    const NAME: &str = "secure-boot";
    match machine.secure_boot.or(facts.local.as_ref().and_then(|local| local.secure_boot)) {
        Some(true) => HostCheck::ok(NAME, "available"),
        Some(false) => HostCheck::warning(
            NAME,
            "no firmware supports it: VMs with spec.firmware.secureBoot cannot be created",
        )
        .add_advice("apt install ovmf (Fedora: dnf install edk2-ovmf)"),
        None => HostCheck::unknown(NAME, "libvirt reports it from 12.1 on"),
    }
}
