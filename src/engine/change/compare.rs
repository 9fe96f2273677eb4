//! Compares a manifest with the one that was applied last, the persistent definition and the running VM.
//!
//! Pure. libvirt changes what it is given, so each field has its own rule: memory is rounded up to MiB; the balloon moves
//! a running guest's memory by itself; `host-model` becomes a list of features in a running VM.

use std::collections::BTreeSet;

use foundry_core::domain_xml::{VirtType, cpu_mode};
use foundry_core::plan::{FirmwarePlan, SeedPlan, VmPlan};
use foundry_core::units::Bytes;
use foundry_host::libvirt_xml::DomainDescription;

use super::compare_devices::{compare_disks, compare_interfaces};
use super::compare_patch::compare_patch;
use super::field::FieldDiff;
use super::sides::{Differences, FIRST_BOOT, Ruling, Sides, Values, gib_text, round_up};

/// All fields that are not the same on all sides, in the order of the manifest.
pub(crate) fn compare(sides: &Sides<'_>) -> Vec<FieldDiff> {
    let mut differences = Differences::default();
    compare_metadata(sides, &mut differences);
    compare_size(sides, &mut differences);
    compare_platform(sides, &mut differences);
    compare_disks(sides, &mut differences);
    compare_interfaces(sides, &mut differences);
    compare_seed(sides, &mut differences);
    compare_patch(sides, &mut differences);
    differences.into_fields()
}

fn compare_metadata(sides: &Sides<'_>, differences: &mut Differences) {
    let of =
        |plan: &VmPlan| (plan.manifest.metadata.labels.clone(), plan.manifest.metadata.annotations.clone());
    let ((labels, notes), (old_labels, old_notes)) = (of(sides.wanted), of(sides.recorded));
    for (kind, new, old) in [("labels", labels, old_labels), ("annotations", notes, old_notes)] {
        let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
        for key in keys {
            let values = Values::recorded(new.get(key).cloned(), old.get(key).cloned());
            differences.add(format!("metadata.{kind}.{key}"), values, Ruling::LIVE);
        }
    }
}

fn compare_size(sides: &Sides<'_>, differences: &mut Differences) {
    let Sides { wanted, recorded, next, live, .. } = sides;
    let number = |n: u32| Some(n.to_string());
    let vcpus = Values {
        wanted: number(wanted.vcpus),
        recorded: number(recorded.vcpus),
        persistent: Some(number(next.vcpus)),
        live: live.map(|live| number(live.vcpus)),
    };
    // A guest releases a CPU only if it supports that; libvirt waits for it and may never know.
    let is_plug = live.is_some_and(|live| live.vcpus < wanted.vcpus && wanted.vcpus <= live.max_vcpus);
    differences.add("spec.vcpus", vcpus, if is_plug { Ruling::LIVE } else { Ruling::NEXT_START });
    let has_room = [(wanted.max_vcpus, wanted.vcpus), (recorded.max_vcpus, recorded.vcpus)]
        .into_iter()
        .chain([(next.max_vcpus, next.vcpus)])
        .chain(live.map(|live| (live.max_vcpus, live.vcpus)))
        .any(|(most, now)| most != now);
    if has_room {
        let most = Values {
            wanted: number(wanted.max_vcpus),
            recorded: number(recorded.max_vcpus),
            persistent: Some(number(next.max_vcpus)),
            live: live.map(|live| number(live.max_vcpus)),
        };
        differences.add("spec.resources.maxVcpus", most, Ruling::NEXT_START);
    }
    compare_memory(sides, differences);
    let flag = |on: bool| Some(on.to_string());
    let autostart = Values {
        wanted: flag(wanted.autostart),
        recorded: flag(recorded.autostart),
        persistent: Some(flag(sides.autostart)),
        live: None,
    };
    differences.add("spec.autostart", autostart, Ruling::LIVE);
}

/// Memory is defined to the KiB and rounded up to MiB when the VM starts. What a running guest has at the moment is its
/// balloon's affair, so only the maximum of a running VM is compared.
fn compare_memory(sides: &Sides<'_>, differences: &mut Differences) {
    let Sides { wanted, recorded, next, live, .. } = sides;
    let has_room = wanted.memory != wanted.max_memory;
    let text = |size: Bytes| Some(gib_text(round_up(size)));
    let memory = Values {
        wanted: text(wanted.memory),
        recorded: text(recorded.memory),
        persistent: Some(text(next.current_memory)),
        live: live.filter(|_| !has_room).map(|live| text(live.memory)),
    };
    let is_within = live.is_some_and(|live| has_room && round_up(wanted.memory) <= live.memory);
    differences.add("spec.memoryGiB", memory, if is_within { Ruling::LIVE } else { Ruling::NEXT_START });
    let rooms = [(wanted.max_memory, wanted.memory), (recorded.max_memory, recorded.memory)];
    let mut rooms = rooms.into_iter().chain([(next.memory, next.current_memory)]);
    if rooms.any(|(most, now)| round_up(most) != round_up(now)) {
        let most = Values {
            wanted: text(wanted.max_memory),
            recorded: text(recorded.max_memory),
            persistent: Some(text(next.memory)),
            live: live.filter(|_| has_room).map(|live| text(live.memory)),
        };
        differences.add("spec.resources.maxMemoryGiB", most, Ruling::NEXT_START);
    }
}

fn compare_platform(sides: &Sides<'_>, differences: &mut Differences) {
    let Sides { wanted, recorded, next, .. } = sides;
    let virt_type = if next.domain_type == "kvm" { VirtType::Kvm } else { VirtType::Qemu };
    let mode = |plan: &VmPlan| Some(cpu_mode(plan.cpu_mode, virt_type, sides.native).to_owned());
    let is_patched = recorded.xml_patch.iter().any(|entry| entry.is_below(&["domain", "cpu"]));
    let cpu = Values {
        wanted: mode(wanted),
        recorded: mode(recorded),
        persistent: (!is_patched).then(|| next.cpu_mode.clone()),
        live: None,
    };
    let ruling = if is_patched { Ruling::refused("spec.xmlPatch sets the CPU") } else { Ruling::NEXT_START };
    differences.add("spec.cpuMode", cpu, ruling);
    let word = |plan: &VmPlan| {
        Some(if matches!(plan.firmware, FirmwarePlan::Bios) { "bios" } else { "efi" }.to_owned())
    };
    let has_efi = next.firmware.as_deref() == Some("efi") || next.nvram.is_some();
    let firmware = Values {
        wanted: word(wanted),
        recorded: word(recorded),
        persistent: Some(Some(if has_efi { "efi" } else { "bios" }.to_owned())),
        live: None,
    };
    let other_firmware = "the guest was installed for the firmware that it has";
    differences.add("spec.firmware.type", firmware, Ruling::refused(other_firmware));
    let secure =
        |plan: &VmPlan| Some(matches!(plan.firmware, FirmwarePlan::Efi { secure_boot: true }).to_string());
    let secure_boot = Values {
        wanted: secure(wanted),
        recorded: secure(recorded),
        persistent: next.secure_boot.map(|on| Some(on.to_string())),
        live: None,
    };
    let other_variables = "its EFI variables belong to the firmware that it has";
    differences.add("spec.firmware.secureBoot", secure_boot, Ruling::refused(other_variables));
    // Without a word it is the host's, and that is the one that the domain has.
    let named = |plan: &VmPlan| plan.arch.map(|arch| arch.as_str().to_owned()).or_else(|| next.arch.clone());
    let arches = Values {
        wanted: named(wanted),
        recorded: named(recorded),
        persistent: Some(next.arch.clone()),
        live: None,
    };
    differences.add(
        "spec.arch",
        arches,
        Ruling::refused("the guest was installed for the architecture that it has"),
    );
    compare_graphics(sides, differences);
    let pool = sides.volumes.first().map(|volume| volume.pool.clone());
    if let (Some(asked), Some(pool)) = (&wanted.manifest.spec.storage_pool, pool) {
        let values = Values::recorded(Some(asked.trim().to_owned()), Some(pool));
        differences.add("spec.storagePool", values, Ruling::refused("its disks stay where they are"));
    }
}

/// A screen that the patch added is the patch's. Only a start can add or remove one.
fn compare_graphics(sides: &Sides<'_>, differences: &mut Differences) {
    let Sides { wanted, recorded, next, live, .. } = sides;
    let is_patched = recorded.xml_patch.iter().any(|entry| {
        entry.is_below(&["domain", "devices", "graphics"]) || entry.count_added_devices("graphics") > 0
    });
    let planned = |plan: &VmPlan| plan.graphics.map(|listen| format!("vnc on {}", listen.as_str()));
    let described = |of: &DomainDescription| of.graphics.as_ref().map(ToString::to_string);
    let values = Values {
        wanted: planned(wanted),
        recorded: planned(recorded),
        persistent: (!is_patched).then(|| described(next)),
        live: live.filter(|_| !is_patched).map(described),
    };
    let ruling =
        if is_patched { Ruling::refused("spec.xmlPatch sets the screen") } else { Ruling::NEXT_START };
    differences.add("spec.graphics", values, ruling);
}

fn compare_seed(sides: &Sides<'_>, differences: &mut Differences) {
    let ruling = || Ruling::repave(FIRST_BOOT);
    let (wanted, recorded) = match (&sides.wanted.seed, &sides.recorded.seed) {
        (Some(wanted), Some(recorded)) => (wanted, recorded),
        (None, None) => return,
        (wanted, recorded) => {
            let given = |seed: &Option<SeedPlan>| seed.is_some().then(|| "given".to_owned());
            return differences.add(
                "spec.cloudInit",
                Values::recorded(given(wanted), given(recorded)),
                ruling(),
            );
        }
    };
    let fqdn = Values::recorded(wanted.fqdn.clone(), recorded.fqdn.clone());
    differences.add("spec.cloudInit.fqdn", fqdn, ruling());
    let keys = |seed: &SeedPlan| (!seed.ssh_keys.is_empty()).then(|| seed.ssh_keys.join(", "));
    let values = Values::recorded(keys(wanted), keys(recorded));
    differences.add("spec.cloudInit.sshAuthorizedKeys", values, ruling());
    let flag = |seed: &SeedPlan| Some(seed.ssh_password_auth.to_string());
    differences.add("spec.cloudInit.sshPwauth", Values::recorded(flag(wanted), flag(recorded)), ruling());
    for path in sides.changed_secrets {
        let values = Values::recorded(Some("(another secret)".into()), Some("(secret)".into()));
        differences.add(path.clone(), values, ruling());
    }
}
