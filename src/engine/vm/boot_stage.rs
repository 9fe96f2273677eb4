//! Reads from a VM's console how far its boot has come.

use foundry_core::text::strip_terminal_sequences;

/// A stage of a boot that a console shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BootStage {
    /// The firmware runs.
    Firmware,
    /// The firmware itself crashed.
    FirmwareCrashed,
    /// The firmware found no system on the disks.
    NothingToBoot,
    /// The boot loader runs.
    BootLoader,
    /// The kernel starts.
    Kernel,
    /// The kernel gave up.
    KernelPanic,
    /// The initial RAM disk did not find the root file system.
    InitramfsShell,
    /// systemd gave up and asks for the root password.
    EmergencyMode,
    /// systemd starts services.
    Services,
    /// A stage of cloud-init runs: `init-local`, `init`, `modules:config` or `modules:final`.
    CloudInit(String),
    /// cloud-init printed its final message.
    CloudInitDone,
    /// The console asks for a login.
    Login,
}

impl BootStage {
    /// The last stage that the console shows; `None` if it shows none that is known.
    pub(crate) fn read(console: &str) -> Option<Self> {
        console.lines().rev().map(strip_terminal_sequences).find_map(|line| Self::of_line(line.trim()))
    }

    fn of_line(line: &str) -> Option<Self> {
        let has = |parts: &[&str]| parts.iter().any(|part| line.contains(part));
        // The order matters: a line of cloud-init has the kernel's time before it.
        Some(match line {
            _ if has(&["Kernel panic - not syncing"]) => Self::KernelPanic,
            _ if has(&["You are in emergency mode", "Give root password for maintenance"]) => {
                Self::EmergencyMode
            }
            _ if line.starts_with("(initramfs)") => Self::InitramfsShell,
            _ if line.ends_with("login:") => Self::Login,
            _ if has(&["Cloud-init v."]) && has(&[" finished at "]) => Self::CloudInitDone,
            _ if has(&["Cloud-init v."]) => Self::CloudInit(cloud_init_stage(line)?.to_owned()),
            // systemd's status lines; their marks are coloured, and the colour is stripped.
            _ if has(&["[  OK  ]", "[FAILED]", "[DEPEND]", "systemd[1]:"]) => Self::Services,
            _ if has(&["Linux version "]) || has_kernel_time(line) => Self::Kernel,
            _ if has(&["GNU GRUB", "Loading Linux", "Loading initial ramdisk", "Booting `"]) => {
                Self::BootLoader
            }
            _ if has(&["No bootable option or device was found", "No bootable device"]) => {
                Self::NothingToBoot
            }
            // EDK2's exception handler.
            _ if has(&["Exception Type - ", "!!!! Find image based on IP"]) => Self::FirmwareCrashed,
            _ if has(&["BdsDxe: ", "SeaBIOS (version"]) => Self::Firmware,
            _ => return None,
        })
    }

    /// The stage as a sentence about the guest, without a full stop.
    pub(crate) fn to_sentence(&self) -> String {
        match self {
            Self::Firmware => "its firmware is running".into(),
            Self::FirmwareCrashed => "its firmware crashed".into(),
            Self::NothingToBoot => "its firmware finds nothing to boot".into(),
            Self::BootLoader => "its boot loader is running".into(),
            Self::Kernel => "its kernel is starting".into(),
            Self::KernelPanic => "its kernel panicked".into(),
            Self::InitramfsShell => "its initial RAM disk does not find the root file system".into(),
            Self::EmergencyMode => "its systemd is in emergency mode".into(),
            Self::Services => "its services are starting".into(),
            Self::CloudInit(stage) => format!("its cloud-init is at stage '{stage}'"),
            Self::CloudInitDone => "its cloud-init is done".into(),
            Self::Login => "its console asks for a login".into(),
        }
    }

    /// A remedy, if the stage suggests one.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::FirmwareCrashed => {
                "UEFI firmware needs more memory than a very small VM has; try memoryGiB: 0.25"
            }
            Self::NothingToBoot => {
                "is the image bootable, for this architecture, and made for this firmware? try firmware: {type: bios}"
            }
            Self::KernelPanic | Self::InitramfsShell => {
                "the image or its kernel does not fit this machine; its console shows why"
            }
            Self::EmergencyMode => {
                "a file system that the guest mounts is missing or damaged; its console shows which"
            }
            Self::Login => {
                "the guest is up: see whether its network is configured and its SSH server installed"
            }
            _ => return None,
        })
    }
}

/// The stage in `Cloud-init v. 24.4 running 'modules:final' at …` (cloud-init's `util.log_time` and `main.welcome`).
fn cloud_init_stage(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" running '")?;
    rest.split_once('\'').map(|(stage, _)| stage)
}

/// Whether the line begins with the kernel's time: `[    1.234567] `.
fn has_kernel_time(line: &str) -> bool {
    let Some((time, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    let time = time.trim();
    time.contains('.') && time.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_finds_the_last_stage() {
        let cloud_init = |stage: &str| Some(BootStage::CloudInit(stage.into()));
        for (line, stage) in [
            ("BdsDxe: loading Boot0001 \"UEFI QEMU HARDDISK\" from PciRoot(0x0)", Some(BootStage::Firmware)),
            ("SeaBIOS (version 1.16.3-debian-1.16.3-2)", Some(BootStage::Firmware)),
            (
                "!!!! X64 Exception Type - 0E(#PF - Page-Fault)  CPU Apic ID - 00000000 !!!!",
                Some(BootStage::FirmwareCrashed),
            ),
            ("BdsDxe: No bootable option or device was found.", Some(BootStage::NothingToBoot)),
            ("No bootable device.", Some(BootStage::NothingToBoot)),
            ("Loading initial ramdisk ...", Some(BootStage::BootLoader)),
            ("[    0.000000] Linux version 6.1.0-18-amd64", Some(BootStage::Kernel)),
            ("[   12.345678] random: crng init done", Some(BootStage::Kernel)),
            (
                "[    1.9] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---",
                Some(BootStage::KernelPanic),
            ),
            ("(initramfs) ", Some(BootStage::InitramfsShell)),
            ("You are in emergency mode. After logging in, type", Some(BootStage::EmergencyMode)),
            (
                "[\u{1b}[0;32m  OK  \u{1b}[0m] Started \u{1b}[0;1;39mssh.service\u{1b}[0m",
                Some(BootStage::Services),
            ),
            ("[    7.1] systemd[1]: Detected virtualization qemu.", Some(BootStage::Services)),
            (
                "[   12.0] cloud-init[412]: Cloud-init v. 24.4 running 'init-local' at Fri, 02 Jan 2026",
                cloud_init("init-local"),
            ),
            (
                "[   12.0] cloud-init[412]: Cloud-init v. 24.4 running 'modules:final' at Fri",
                cloud_init("modules:final"),
            ),
            (
                "cloud-init[412]: Cloud-init v. 24.4 finished at Fri, 02 Jan 2026. Datasource NoCloud",
                Some(BootStage::CloudInitDone),
            ),
            ("web login: ", Some(BootStage::Login)),
            ("words of no stage", None),
            ("[not a time] x", None),
        ] {
            assert_eq!(BootStage::read(line), stage, "{line}");
            let earlier = format!("BdsDxe: starting\n{line}\nwords of no stage\n\n");
            assert_eq!(BootStage::read(&earlier), stage.or(Some(BootStage::Firmware)), "{line}");
        }
        assert_eq!(BootStage::read(""), None);
    }
}
