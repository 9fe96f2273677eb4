//! What guests run on: KVM, versions, machine types, firmware, confinement, memory.

use super::*;

#[test]
fn kvm_not_offered_names_reason() {
    let without = |act: fn(&mut LocalFacts)| {
        let mut facts = local_but(act);
        facts.capabilities.guests.insert("x86_64".into(), vec!["qemu".into()]);
        facts
    };
    let no_device = without(|l| l.kvm_device = None);
    assert_only(&no_device, "kvm", CheckState::Warning, &["not loaded", "modprobe"]);
    let no_processor = without(|l| (l.kvm_device, l.virtualization) = (None, false));
    assert_only(&no_processor, "kvm", CheckState::Warning, &["offers no virtualization", "firmware"]);
    let closed = without(|l| l.kvm_device = Some(rights(0, 0, 0o600)));
    assert_only(
        &closed,
        "kvm",
        CheckState::Warning,
        &["may not open /dev/kvm", "sudo chgrp kvm /dev/kvm && sudo chmod 0660"],
    );
    let mut wanted = without(|_| ());
    wanted.settings.virt_type = Some(VirtType::Kvm);
    assert_only(&wanted, "kvm", CheckState::Problem, &["--virt-type is kvm", "restart libvirtd"]);
}

#[test]
fn kvm_offered_but_unusable_is_found() {
    let closed = local_but(|l| l.accounts.users[2].2 = 64055);
    assert_only(&closed, "kvm", CheckState::Problem, &["libvirt-qemu", "sudo usermod -aG kvm libvirt-qemu"]);
    for mode in [0o600, 0o660, 0o640] {
        let only_roots = local_but(|l| l.kvm_device = Some(rights(0, 0, mode)));
        let (title, state, text) = only_finding(&only_roots);
        assert_eq!((title.as_str(), state), ("kvm", CheckState::Problem), "{mode:o}: {text}");
        assert!(text.ends_with("\nsudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm"), "{mode:o}: {text}");
        assert!(
            text.contains("at every call") && text.contains(&format!("group 0, mode {mode:o}")),
            "{text}"
        );
        assert!(!text.contains("usermod"), "{text}");
        // Nobody wants KVM, and every call is slow anyway.
        let unused = healthy_but(|f| {
            f.settings.virt_type = Some(VirtType::Qemu);
            f.local.as_mut().unwrap().kvm_device = Some(rights(0, 0, mode));
        });
        assert_only(&unused, "kvm", CheckState::Warning, &["at every call", "sudo chgrp kvm /dev/kvm"]);
    }
    // QEMU's user is in no group kvm: it joins that one, and not the one that the device is of.
    let stranger = local_but(|l| {
        l.accounts.users[2].2 = 64055;
        l.kvm_device = Some(rights(0, 6, 0o660));
        l.accounts.groups.push(("disk".into(), 6, vec![]));
    });
    let (_, _, text) = only_finding(&stranger);
    assert!(
        text.contains("sudo chgrp kvm /dev/kvm") && text.contains("usermod -aG kvm libvirt-qemu"),
        "{text}"
    );
    assert!(!text.contains("usermod -aG disk"), "{text}");
    let gone = local_but(|l| l.kvm_device = None);
    assert_only(&gone, "kvm", CheckState::Problem, &["/dev/kvm is gone"]);
    let pvm = local_but(|l| l.kvm_modules = vec!["kvm_pvm".into()]);
    assert_only(&pvm, "kvm", CheckState::Warning, &["PVM", "[DoctorProbe"]);
    let unused = healthy_but(|f| f.settings.virt_type = Some(VirtType::Qemu));
    assert_only(&unused, "kvm", CheckState::Warning, &["many times slower"]);
}

#[test]
fn probe_result_sets_state() {
    for (probe, state, words) in [
        (Probe::NotRun, CheckState::Unknown, "[DoctorProbe"),
        (Probe::Impossible("why".into()), CheckState::Unknown, "why"),
        (
            Probe::Refused("QEMU ended".into()),
            CheckState::Problem,
            "QEMU ended\nsee /var/log/libvirt/qemu/foundry-doctor.log",
        ),
        (Probe::Stopped(VirtType::Kvm), CheckState::Problem, "FOUNDRY_VIRT_TYPE=qemu"),
        (Probe::Stopped(VirtType::Qemu), CheckState::Problem, "foundry-doctor.log"),
    ] {
        assert_only(&healthy_but(|f| f.probe = probe), "guest", state, &[words]);
    }
}

#[test]
fn old_versions_name_missing_features() {
    let libvirt = |version| healthy_but(|f| f.capabilities.libvirt_version = version);
    assert_only(
        &libvirt(9_000_000),
        "libvirt",
        CheckState::Warning,
        &["9.0.0", "VLAN tags on Linux bridges", "11.0.0"],
    );
    assert_only(&libvirt(7_000_000), "libvirt", CheckState::Problem, &["firmware selection by features"]);
    assert_only(&libvirt(11_003_000), "libvirt-fault", CheckState::Warning, &["11.3.0", "vol-upload"]);
    let qemu = healthy_but(|f| f.machine.as_mut().unwrap().hypervisor_version = 2_008_000);
    assert_only(&qemu, "qemu", CheckState::Problem, &["2.8.0", "2.9.0", "2.10.0"]);
}

#[test]
fn machine_type_or_firmware_missing_is_found() {
    let none = healthy_but(|f| f.guest_machine = Err("unsupported machine type".into()));
    assert_only(
        &none,
        "machine-type",
        CheckState::Problem,
        &["unsupported machine type", "apt install qemu-system-x86"],
    );
    let firmware = |act: fn(&mut GuestMachine)| healthy_but(|f| act(f.guest_machine.as_mut().unwrap()));
    assert_only(&firmware(|m| m.firmware.clear()), "firmware", CheckState::Problem, &["apt install ovmf"]);
    assert_only(
        &firmware(|m| m.secure_boot = Some(false)),
        "secure-boot",
        CheckState::Warning,
        &["secureBoot"],
    );
    assert_only(&firmware(|m| m.secure_boot = None), "secure-boot", CheckState::Unknown, &["12.1"]);
    let mut described = firmware(|m| m.secure_boot = None);
    described.local.as_mut().unwrap().secure_boot = Some(true);
    assert_eq!(findings(&described), [], "this machine's own files say it");
}

#[test]
fn confinement_blocks_pool_directories() {
    let model = |name: &str| SecurityModel { name: name.into(), label: None };
    let at = |name: &'static str, target: &'static str| {
        healthy_but(move |f| {
            f.capabilities.security.insert(0, model(name));
            f.pools.as_mut().unwrap().push(pool("x", target));
        })
    };
    assert_eq!(findings(&at("apparmor", "/srv/x")), []);
    assert_only(&at("apparmor", "/etc/x"), "confinement x", CheckState::Problem, &["/etc/x", "elsewhere"]);
    let selinux: Vec<String> = findings(&at("selinux", "/srv/it's"))
        .iter()
        .filter(|c| c.object.as_deref() == Some("x"))
        .flat_map(advice_lines)
        .collect();
    assert_eq!(
        selinux,
        [r"semanage fcontext -a -t virt_image_t '/srv/it\'\''s(/.*)?' && restorecon -R '/srv/it'\''s'"]
    );
    let mut permissive = at("selinux", "/srv/x");
    permissive.local.as_mut().unwrap().selinux_enforces = Some(false);
    assert_eq!(findings(&permissive), []);
    let idle = local_but(|l| l.apparmor = true);
    assert_only(&idle, "confinement", CheckState::Warning, &["security_driver"]);
}

#[test]
fn memory_overcommit_is_a_warning() {
    let with = |memory, state, autostart, free| {
        healthy_but(move |f| {
            let machine: &mut Machine = f.machine.as_mut().unwrap();
            (machine.memory, machine.free_memory) = (Bytes(8 * GIB), Bytes(free));
            f.domains = Ok(vec![Domain {
                memory: Bytes(memory),
                state,
                autostart,
                record: None,
                ..vm("br0", false)
            }]);
        })
    };
    assert_eq!(findings(&with(8 * GIB, DomainState::Running, true, GIB)), []);
    assert_only(
        &with(9 * GIB, DomainState::Paused, false, GIB),
        "memory",
        CheckState::Warning,
        &["running VMs are assigned 9 GiB"],
    );
    assert_only(
        &with(9 * GIB, DomainState::ShutOff, true, GIB),
        "memory",
        CheckState::Warning,
        &["start with the host"],
    );
    assert_eq!(findings(&with(9 * GIB, DomainState::ShutOff, false, GIB)), []);
    assert_only(
        &with(GIB, DomainState::Running, true, 1 << 20),
        "memory",
        CheckState::Warning,
        &["1 MiB of 8 GiB free"],
    );
}
