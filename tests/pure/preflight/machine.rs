//! Architecture, virtualization and size of the machine.

use super::{NOTHING, assert_finds, found, old_libvirt};
use crate::support::bench::{Bench, host_with_neighbours};
use crate::support::manifests::{WEB, plan, plan_with};
use foundry::domain_xml::VirtType;
use foundry::host::memory::MemoryHost;
use foundry::host::{Capabilities, GuestMachine, HostInfo};
use foundry::operations::preflight::preflight;
use foundry::plan::{Arch, VmPlan};
use foundry::{Code, Kind};

#[test]
fn how_the_guest_runs_follows_the_host() {
    let ready = |bench: &Bench, plan: &VmPlan| preflight(&bench.context(), plan).unwrap();
    let bench = Bench::new();
    assert_eq!(ready(&bench, &plan(WEB)).virt_type, VirtType::Kvm);
    assert_eq!(bench.told.warnings(), NOTHING);
    let arm = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  arch: aarch64")]);
    let ready_arm = ready(&bench, &arm);
    assert_eq!(
        (ready_arm.virt_type, ready_arm.arch, ready_arm.native),
        (VirtType::Qemu, Arch::Aarch64, false)
    );
    assert!(bench.told.warnings()[0].contains("the host offers no KVM"), "{:?}", bench.told.warnings());

    let mut bench = Bench::new();
    bench.settings.virt_type = Some(VirtType::Qemu);
    let passthrough = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  cpuMode: host-passthrough")]);
    assert_eq!(ready(&bench, &passthrough).virt_type, VirtType::Qemu);
    assert_eq!(bench.told.warnings().len(), 1, "who chooses qemu knows that it is slow");
    assert!(bench.told.warnings()[0].starts_with("spec.cpuMode: host-passthrough needs KVM"));
    bench.settings.virt_type = Some(VirtType::Kvm);
    assert_finds(&bench, &arm, Kind::Vm, "the host cannot run aarch64 guests with kvm; it offers qemu");
}

#[test]
fn an_arm_host_has_no_bios() {
    let capabilities = MemoryHost::new().capabilities().unwrap();
    let guests = [("aarch64".to_owned(), vec!["kvm".to_owned()])].into();
    let host = host_with_neighbours().with_capabilities(Capabilities {
        arch: "aarch64".into(),
        guests,
        ..capabilities
    });
    let bios = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  firmware: {type: bios}")]);
    let bench = Bench::on(host);
    assert_finds(&bench, &bios, Kind::Vm, "spec.firmware.type: aarch64 machines have no BIOS");
    let ready = preflight(&bench.context(), &plan(WEB)).unwrap();
    assert_eq!((ready.arch, ready.virt_type, ready.native), (Arch::Aarch64, VirtType::Kvm, true));
}

/// FACTS 37: nothing about the machine is fixed.
#[test]
fn a_host_of_a_kind_that_foundry_does_not_know_says_so() {
    let capabilities = MemoryHost::new().capabilities().unwrap();
    let host = host_with_neighbours().with_capabilities(Capabilities {
        arch: "riscv64".into(),
        guests: [].into(),
        ..capabilities
    });
    let bench = Bench::on(host);
    assert_finds(
        &bench,
        &plan(WEB),
        Kind::Vm,
        "the host's architecture riscv64 is not supported\n    set spec.arch",
    );
    let arm = plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  arch: aarch64")]);
    assert_finds(&bench, &arm, Kind::Vm, "the host cannot run aarch64 guests; it offers nothing");
}

#[test]
fn a_vm_larger_than_the_machine_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let vm = plan_with(WEB, &[("memoryGiB: 4", "memoryGiB: 1048576")]);
    assert_eq!(found(&bench, &vm).code(), Code::OutOfMemory);
    assert_finds(
        &bench,
        &vm,
        Kind::Vm,
        "spec.memoryGiB: the VM needs 1 PiB of memory, but the host has only 64 GiB",
    );
    let cpus = |count: u32| plan_with(WEB, &[("vcpus: 2", &format!("vcpus: {count}"))]);
    assert_finds(
        &bench,
        &cpus(289),
        Kind::Vm,
        "spec.vcpus: a q35 machine of this host has at most 288 CPUs, not 289",
    );
    assert_eq!(found(&bench, &cpus(4096)).code(), Code::TooManyCpus);
    preflight(&bench.context(), &cpus(288)).unwrap();
    let old = Bench::on(old_libvirt(9_000_000));
    assert_finds(&old, &cpus(256), Kind::Vm, "more than 255 CPUs need an IOMMU");
    preflight(&old.context(), &cpus(255)).unwrap();
    let silent = Bench::on(host_with_neighbours().with_guest_machine(GuestMachine::default()));
    preflight(&silent.context(), &cpus(4096)).unwrap();
}

#[test]
fn what_the_guest_will_not_do_is_a_warning() {
    let warnings = |from: &str, to: &str| {
        let bench = Bench::new();
        preflight(&bench.context(), &plan_with(WEB, &[(from, to)])).unwrap();
        bench.told.warnings().join("\n")
    };
    assert_eq!(warnings("vcpus: 2", "vcpus: 2"), "");
    let told = warnings("device: vdc", "device: vdf");
    assert!(told.contains("the guest's kernel calls 'vdf' /dev/vdc"), "{told}");
}

#[test]
fn a_screen_needs_a_vnc_server() {
    let screen = || plan_with(WEB, &[("vcpus: 2", "vcpus: 2\n  graphics: {}")]);
    preflight(&Bench::new().context(), &screen()).unwrap();
    let without = Bench::on(host_with_neighbours().with_guest_machine(GuestMachine::default()));
    assert_eq!(found(&without, &screen()).code(), Code::GraphicsUnsupported);
}
