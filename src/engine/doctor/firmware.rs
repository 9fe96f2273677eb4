//! Checks machine types and firmware.

use super::Check;
use super::facts::{Facts, arch_of};
use foundry_core::error::Code;
use foundry_core::plan::Arch;
use foundry_host::GuestMachine;

pub(super) fn check(facts: &Facts) -> Vec<Check> {
    match &facts.guest_machine {
        Ok(machine) => vec![
            Check::ok("machine-type", format!("{} for {}", machine.name, facts.capabilities.arch)),
            efi(machine),
            secure_boot(facts, machine),
        ],
        Err(why) => {
            vec![Check::problem("machine-type", why.clone()).known_as(Code::QemuMissing).todo(match arch_of(
                &facts.capabilities,
            ) {
                Some(Arch::X86_64) => {
                    "apt install qemu-system-x86 (Fedora: dnf install qemu-kvm), then restart libvirtd"
                }
                Some(Arch::Aarch64) => {
                    "apt install qemu-system-arm (Fedora: dnf install qemu-kvm), then restart libvirtd"
                }
                None => "--connect names another host; VMs of other architectures can be made with spec.arch",
            })]
        }
    }
}

/// VMs have UEFI unless their manifest says otherwise.
fn efi(machine: &GuestMachine) -> Check {
    const NAME: &str = "firmware";
    if machine.firmware.iter().any(|kind| kind == "efi") {
        return Check::ok(NAME, "UEFI");
    }
    Check::problem(NAME, "no UEFI, which VMs boot with unless spec.firmware.type is bios").known_as(Code::FirmwareMissing).todo(
        "apt install ovmf (aarch64: qemu-efi-aarch64; Fedora: dnf install edk2-ovmf), then restart libvirtd",
    )
}

/// libvirt says it from 12.1 on; else the files on this machine do.
fn secure_boot(facts: &Facts, machine: &GuestMachine) -> Check {
    const NAME: &str = "secure-boot";
    match machine.secure_boot.or(facts.local.as_ref().and_then(|local| local.secure_boot)) {
        Some(true) => Check::ok(NAME, "there is firmware with it"),
        Some(false) => {
            Check::warning(NAME, "no firmware has it: VMs with spec.firmware.secureBoot cannot be made")
                .todo("apt install ovmf (Fedora: dnf install edk2-ovmf)")
        }
        None => Check::unknown(NAME, "libvirt says it from 12.1 on"),
    }
}
