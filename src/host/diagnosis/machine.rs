//! Causes in the hypervisor: KVM, machine types, firmware, memory, leftovers of a domain.

use super::advice::OPEN_KVM;
use super::words::{has_any, named_after, text_between};
use super::{Diagnosis, Evidence};
use foundry_core::error::{Advice, Code, Verb};
use foundry_core::text::quote_for_shell;

/// A helper daemon that libvirt needs to start a guest.
pub(super) fn helper_down(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let socket = named_after(text, "Failed to connect socket to ")?;
    let daemon = socket.rsplit('/').next()?.strip_suffix("-sock")?;
    // A failure of the main daemon is a connection error.
    let is_helper = [
        "virtlogd",
        "virtlockd",
        "virtnetworkd",
        "virtnodedevd",
        "virtnwfilterd",
        "virtsecretd",
        "virtstoraged",
    ]
    .contains(&daemon);
    (is_helper && has_any(text, &["No such file", "Connection refused"])).then(|| {
        Diagnosis::new(
            Code::HelperDown,
            format!("no libvirt daemon listens there: '{socket}' does not exist, or nothing listens there"),
        )
        .hint(format!("systemctl enable --now {daemon}.socket (without systemd: {daemon} -d)"))
    })
}

pub(super) fn no_kvm(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let lower = text.to_lowercase();
    let refused = ["could not access kvm", "failed to initialize kvm", "invalid accelerator kvm"];
    let not_there = ["does not support virt type 'kvm'", "domain requires kvm", "for domaintype=kvm"];
    let broken = ["kvm_buf_set_msrs", "failed to set msr", "kvm internal error", "kvm run failed"];
    let (cause, hint) = if has_any(&lower, &refused) {
        ("QEMU cannot use KVM on this host", why_refused(&lower))
    } else if has_any(&lower, &not_there) {
        (
            "the host offers no KVM",
            Advice::from(Verb::Doctor)
                .text(" shows why; --virt-type qemu works without it, many times slower"),
        )
    } else if has_any(&lower, &broken) {
        (
            "KVM on this host does not run this guest",
            "--virt-type qemu works without KVM, many times slower".into(),
        )
    } else {
        return None;
    };
    Some(Diagnosis::new(Code::NoKvm, cause).hint(hint))
}

/// The hint by the errno of opening /dev/kvm.
fn why_refused(lower: &str) -> Advice {
    if lower.contains("permission denied") {
        Advice::from(format!(
            "QEMU's user may not open /dev/kvm, which the group kvm should own: {OPEN_KVM} on the host; "
        ))
        .run(Verb::Doctor)
        .text(" there shows whether that user is in the group")
    } else if lower.contains("no such file") {
        Advice::from("there is no /dev/kvm: modprobe kvm_intel (or kvm_amd); ")
            .run(Verb::Doctor)
            .text(" shows more; --virt-type qemu works without it")
    } else if lower.contains("resource busy") {
        "another hypervisor, for example VirtualBox, uses the processor's virtualization: end its VMs; --virt-type qemu works without it".into()
    } else {
        Advice::from(Verb::DoctorProbe { virt_type: None })
            .text(" shows whether any guest runs with it; --virt-type qemu works without it")
    }
}

/// A machine type that this QEMU was built without, or a domain older than the machine types that QEMU still has.
pub(super) fn machine_unknown(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let machine = named_after(text, "does not support machine type ")
        .or_else(|| text_between(text, "unsupported machine type: \"", "\""))
        .or_else(|| text_between(text, "nsupported machine type '", "'"))?;
    let emulator = named_after(text, "Emulator ").unwrap_or("QEMU");
    Some(
        Diagnosis::new(
            Code::MachineUnknown,
            format!("{emulator} on the host has no machine type '{machine}'"),
        )
        .hint(format!(
            "{} -machine help lists those that it has; a newer QEMU may have it",
            if emulator == "QEMU" { "qemu-system-x86_64".into() } else { quote_for_shell(emulator) }
        )),
    )
}

pub(super) fn arch_unsupported(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let arch = named_after(text, "No emulator found for arch ")
        .or_else(|| text_between(text, "could not find capabilities for arch=", " "))
        .or_else(|| text.split_once("could not find capabilities for arch=").map(|(_, arch)| arch.trim()))?;
    Some(
        Diagnosis::new(Code::ArchUnsupported, format!("the host has no QEMU for {arch}"))
            .hint(emulator_hint(arch)),
    )
}

/// How to get a QEMU for an architecture (package names of Debian and Fedora).
pub fn emulator_hint(arch: &str) -> String {
    let (debian, fedora) = match arch {
        "aarch64" | "armv7l" => ("qemu-system-arm", "qemu-system-aarch64"),
        "x86_64" | "i686" => ("qemu-system-x86", "qemu-system-x86"),
        _ => ("qemu-system-misc", "qemu"),
    };
    format!(
        "apt install {debian} there (Fedora: dnf install {fedora}), then systemctl restart libvirtd (or virtqemud)"
    )
}

pub(super) fn qemu_missing(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let emulator =
        named_after(text, "Cannot check QEMU binary ").or_else(|| named_after(text, "QEMU binary "));
    let emulator =
        emulator.filter(|_| has_any(text, &["No such file", "is not executable", "doesn't exist"]))?;
    Some(
        Diagnosis::new(Code::QemuMissing, format!("there is no QEMU at '{emulator}' on the host")).hint(
            "apt install qemu-system-x86 there (Fedora: dnf install qemu-kvm), then systemctl restart libvirtd (or virtqemud)",
        ),
    )
}

pub(super) fn cpu_unknown(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let refused = [
        "CPU is incompatible with host CPU",
        "guest and host CPU are not compatible",
        "Host CPU does not provide required features",
        "guest CPU doesn't match specification",
        "unable to find CPU definition",
    ];
    has_any(text, &refused).then(|| {
        Diagnosis::new(Code::CpuUnknown, "the host's QEMU cannot provide the CPU that the guest asks for")
            .hint("spec.cpuMode: host-model, or leave it out")
    })
}

/// EFI variables of an earlier domain of that name that do not fit this firmware; or EFI variables that keep a domain
/// from being undefined.
pub(super) fn nvram_in_the_way(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    if text.contains("cannot undefine domain with nvram") {
        return Some(
            Diagnosis::new(
                Code::NvramInTheWay,
                "the domain has EFI variables, which undefining must keep or delete",
            )
            .hint(format!(
                "virsh undefine --keep-nvram {} leaves them where they are",
                quote_for_shell(&evidence.asked.vm)
            )),
        );
    }
    let is_flash = has_any(text, &["system firmware block device", "cfi.pflash01 device"])
        && has_any(text, &["has invalid size", "block backend provides", "doesn't fit"]);
    // A full or broken disk, or a lock, is no reason to delete them.
    let is_other = has_any(text, &["Is a directory", "Image is not in qcow2 format"]);
    let opened = named_after(text, "Could not open ").filter(|path| is_variables(path) && is_other);
    if !is_flash && opened.is_none() {
        return None;
    }
    let file = opened.map_or("the file with the VM's EFI variables".to_owned(), |path| format!("'{path}'"));
    let cause = format!(
        "{file} contains no EFI variables for this firmware; an earlier VM of that name may have left it"
    );
    // Rollback deletes the file, if libvirt can delete it.
    Some(
        Diagnosis::new(Code::NvramInTheWay, cause).hint(match opened {
            Some(path) => {
                let word = quote_for_shell(path);
                format!("if it is still there: mv {word} {word}.old; then the same command again").into()
            }
            None => Advice::from("run the same command again, since the file was removed with the VM; ")
                .run(Verb::GcDryRun)
                .text(" lists such files that stay"),
        }),
    )
}

/// Whether the path is a VM's variables file (libvirt's `qemuDomainNVRAMPathFormat`). The firmware's own templates are
/// elsewhere.
fn is_variables(path: &str) -> bool {
    path.contains("/qemu/nvram/") && (path.ends_with("_VARS.fd") || path.ends_with("_VARS.qcow2"))
}

pub(super) fn firmware_missing(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    let unknown = [
        "Unable to find any firmware to satisfy 'efi'",
        "Unable to find 'efi' firmware",
        "unable to find any master var store",
    ];
    let image = named_after(text, "Could not open ")
        .or_else(|| named_after(text, "Failed to open file "))
        .filter(|path| is_firmware(path) && text.contains("No such file"));
    if !has_any(text, &unknown) && image.is_none() {
        return None;
    }
    const INSTALL: &str = "apt install ovmf there (Fedora: dnf install edk2-ovmf; for aarch64 guests qemu-efi-aarch64, edk2-aarch64)";
    Some(if evidence.asked.secure_boot {
        Diagnosis::new(Code::SecureBootMissing, "the host has no UEFI firmware with Secure Boot for this VM")
            .hint(format!("{INSTALL}; or spec.firmware.secureBoot: false"))
    } else {
        Diagnosis::new(Code::FirmwareMissing, "the host has no UEFI firmware for this VM")
            .hint(format!("{INSTALL}; or spec.firmware.type: bios"))
    })
}

fn is_firmware(path: &str) -> bool {
    path.starts_with("/usr/") && has_any(path, &["/OVMF", "/AAVMF", "/edk2", "/qemu-efi", "_CODE"])
}

pub(super) fn out_of_memory(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let no_huge_pages =
        has_any(text, &["hugetlbfs filesystem is not mounted", "unable to map backing store for guest RAM"]);
    if no_huge_pages {
        return Some(
            Diagnosis::new(Code::OutOfMemory, "the host does not have enough huge pages for it")
                .hint("grep Huge /proc/meminfo there; sysctl vm.nr_hugepages=N reserves some"),
        );
    }
    has_any(text, &["annot set up guest memory", "Cannot allocate memory", "Out of memory: Killed process"])
        .then(|| {
            Diagnosis::new(Code::OutOfMemory, "the host does not have enough memory for it").hint(
                Advice::from("free -h there shows what is left, ")
                    .run(Verb::ListWide)
                    .text(" what the VMs have; a smaller spec.memoryGiB needs less"),
            )
        })
}

pub(super) fn snapshot_in_the_way(text: &str, evidence: &Evidence) -> Option<Diagnosis> {
    let refused = [
        "cannot delete inactive domain with",
        "Can't resize an image which has snapshots",
        "cannot be resized, because it has internal snapshots",
    ];
    has_any(text, &refused).then(|| {
        let vm = quote_for_shell(&evidence.asked.vm);
        let hint = if evidence.asked.vm.is_empty() {
            "virsh snapshot-list VM lists them; if nobody needs it, virsh snapshot-delete VM SNAPSHOT removes one".to_owned()
        } else {
            format!("virsh snapshot-list {vm} lists them; if nobody needs it, virsh snapshot-delete {vm} SNAPSHOT removes one")
        };
        Diagnosis::new(Code::SnapshotInTheWay, "the domain has snapshots, which need its disks as they are")
            .hint(hint)
    })
}
