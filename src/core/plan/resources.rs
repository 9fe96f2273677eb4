//! CPUs, memory, firmware, architecture and screen.

use super::judge::{Judge, Judged};
use super::{Arch, CpuMode, FirmwarePlan, VncListen};
use crate::error::Code;
use crate::manifest::{self, Number};
use crate::units::Bytes;

/// Maximum number of virtual CPUs of a QEMU machine (the present `max_cpus` of q35).
const MAX_VCPUS: u64 = 4096;
/// Minimum memory: 64 MiB. With less, neither UEFI nor a Linux kernel boots.
const MIN_MEMORY_GIB: f64 = 0.0625;
/// Maximum memory: 4 PiB, the 52 bits of a physical address on x86-64.
const MAX_MEMORY_GIB: f64 = 4_194_304.0;

/// Judges `spec.vcpus`.
pub(super) fn judge_vcpus(judge: &mut Judge, number: Option<Number>) -> Judged<u32> {
    const PATH: &str = "spec.vcpus";
    let Some(number) = number else {
        return Err(judge.reject_missing(PATH, "is required: the number of virtual CPUs, such as 2"));
    };
    let whole = judge.check_whole_number(PATH, number, (1, MAX_VCPUS), "")?;
    u32::try_from(whole).map_err(|_| judge.reject_value(Code::NumberUnfit, PATH, number, "is too large"))
}

/// Judges `spec.memoryGiB`. Decimals are allowed; the result is the nearest whole KiB.
pub(super) fn judge_memory(judge: &mut Judge, number: Option<Number>) -> Judged<Bytes> {
    const PATH: &str = "spec.memoryGiB";
    let Some(number) = number else {
        return Err(judge.reject_missing(PATH, "is required: the memory in GiB, such as 4 or 0.5"));
    };
    read_memory(judge, PATH, number)
}

fn read_memory(judge: &mut Judge, path: &str, number: Number) -> Judged<Bytes> {
    // A comparison with not-a-number is false, so it is refused here, too.
    if !(MIN_MEMORY_GIB..=MAX_MEMORY_GIB).contains(&number.to_f64()) {
        let message = format!("must be from {MIN_MEMORY_GIB} (64 MiB) to {MAX_MEMORY_GIB} (4 PiB)");
        return Err(judge.reject_value(Code::NumberUnfit, path, number, message));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range: checked above")]
    let kib = (number.to_f64() * f64::from(1 << 20)).round() as u64;
    Ok(Bytes(kib * 1024))
}

/// Judges `spec.resources`: the most CPUs and memory while the VM runs.
pub(super) fn judge_room(
    judge: &mut Judge,
    room: Option<&manifest::Resources>,
    vcpus: Judged<u32>,
    memory: Judged<Bytes>,
) -> (Judged<u32>, Judged<Bytes>) {
    const CPUS: &str = "spec.resources.maxVcpus";
    const MEMORY: &str = "spec.resources.maxMemoryGiB";
    let manifest::Resources { max_vcpus, max_memory_gib } = room.cloned().unwrap_or_default();
    let most_cpus = match max_vcpus {
        None => vcpus,
        Some(number) => judge.check_whole_number(CPUS, number, (1, MAX_VCPUS), "").and_then(|most| {
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            if vcpus.is_ok_and(|vcpus| most < vcpus) {
                return Err(judge.reject_value(Code::NumberUnfit, CPUS, number, "is less than spec.vcpus"));
            }
            Ok(most)
        }),
    };
    let most_memory = match max_memory_gib {
        None => memory,
        Some(number) => read_memory(judge, MEMORY, number).and_then(|most| {
            if memory.is_ok_and(|memory| most < memory) {
                return Err(judge.reject_value(
                    Code::NumberUnfit,
                    MEMORY,
                    number,
                    "is less than spec.memoryGiB",
                ));
            }
            Ok(most)
        }),
    };
    (most_cpus, most_memory)
}

/// Judges `spec.cpuMode`.
pub(super) fn judge_cpu_mode(judge: &mut Judge, word: Option<&str>) -> Judged<CpuMode> {
    let known = [("host-model", CpuMode::HostModel), ("host-passthrough", CpuMode::HostPassthrough)];
    judge.choose_word("spec.cpuMode", word, &known, CpuMode::HostModel)
}

/// Judges `spec.graphics`.
pub(super) fn judge_graphics(
    judge: &mut Judge,
    graphics: Option<&manifest::Graphics>,
) -> Judged<Option<VncListen>> {
    let Some(manifest::Graphics { kind, listen }) = graphics else { return Ok(None) };
    let kind = judge.choose_word("spec.graphics.type", kind.as_deref(), &[("vnc", ())], ());
    let known = VncListen::ALL.map(|listen| (listen.as_str(), listen));
    let listen = judge.choose_word("spec.graphics.listen", listen.as_deref(), &known, VncListen::Socket);
    kind.and(listen).map(Some)
}

/// Judges `spec.firmware` and `spec.arch` together, because ARM has no BIOS.
pub(super) fn judge_platform(
    judge: &mut Judge,
    firmware: Option<&manifest::Firmware>,
    arch: Option<&str>,
) -> (Judged<FirmwarePlan>, Judged<Option<Arch>>) {
    let firmware = self::judge_firmware(judge, firmware);
    let arch = self::judge_arch(judge, arch);
    if (firmware, arch) == (Ok(FirmwarePlan::Bios), Ok(Some(Arch::Aarch64))) {
        let message = "does not exist on aarch64; use efi, or leave it out";
        return (Err(judge.reject_value(Code::FirmwareUnfit, "spec.firmware.type", "bios", message)), arch);
    }
    (firmware, arch)
}

fn judge_firmware(judge: &mut Judge, firmware: Option<&manifest::Firmware>) -> Judged<FirmwarePlan> {
    let manifest::Firmware { kind, secure_boot } = firmware.cloned().unwrap_or_default();
    let secure_boot = secure_boot.unwrap_or_default();
    let known = [("efi", FirmwarePlan::Efi { secure_boot }), ("bios", FirmwarePlan::Bios)];
    let firmware = judge.choose_word("spec.firmware.type", kind.as_deref(), &known, known[0].1)?;
    if firmware == FirmwarePlan::Bios && secure_boot {
        return Err(judge.reject_value(
            Code::FirmwareUnfit,
            "spec.firmware.secureBoot",
            true,
            "needs firmware type efi; a BIOS has no Secure Boot",
        ));
    }
    Ok(firmware)
}

fn judge_arch(judge: &mut Judge, word: Option<&str>) -> Judged<Option<Arch>> {
    let known = Arch::ALL.map(|arch| (arch.as_str(), Some(arch)));
    judge.choose_word("spec.arch", word, &known, None)
}
